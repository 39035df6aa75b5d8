//! `cip22-fleet`: simulated piles, their certificates, and the count of what they got.

use std::process::ExitCode;

use cip22_fleet::{FleetError, bench_grant, pki, possess, provision, report, run};
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes development certificates.
    Pki(pki::Arguments),
    /// Makes the keys, identities and certificates of a fleet.
    Provision(provision::Arguments),
    /// Proves for one deployment that the piles hold their BLS keys.
    Possess(possess::Arguments),
    /// Runs the piles of a fleet.
    Run(run::Arguments),
    /// Counts what happened, from pile logs and the chain.
    Report(report::Arguments),
    /// Measures AUTH_RESP sent to AUTH_GRANT received under an open loop.
    BenchGrant(bench_grant::Arguments),
}

fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cip22-fleet: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<(), FleetError> {
    match command {
        Command::Pki(arguments) => pki::run(&arguments),
        Command::Provision(arguments) => provision::run(&arguments),
        Command::Possess(arguments) => {
            possess::run(&arguments).map(|proved| println!("{proved} proofs of possession"))
        }
        Command::Run(arguments) => on_runtime(async { run::run(arguments).await.map(drop) }),
        Command::Report(arguments) => on_runtime(report::run(arguments)),
        Command::BenchGrant(arguments) => on_runtime(bench_grant::run(arguments)),
    }
}

/// TLS is the one part with a process-wide choice: the provider that every connection here uses.
fn on_runtime(work: impl Future<Output = Result<(), FleetError>>) -> Result<(), FleetError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
