//! The command line. `status`, `devices`, `policy`, `why` and `tx` ask the running relayer.
//!
//! Exit codes: 0 done, 1 failed, 2 used wrongly.

mod check;
mod devices;
mod journal;
mod policy;
mod table;
mod tx;
mod why;

use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value;
use tracing_subscriber::EnvFilter;

use crate::admin::client;
use crate::admin::request::Request;
use crate::config::{Config, LogConfig, LogFormat};
use crate::disk::SystemDisk;
use crate::error::with_causes;

#[derive(Debug, Parser)]
#[command(name = "relayer", version, about = "The CIP-22 gateway daemon")]
struct Arguments {
    /// Configuration file.
    #[arg(long, global = true, env = "RELAYER_CONFIG", default_value = "relayer.toml")]
    config: PathBuf,
    /// Accept key files that others may read. For development only.
    #[arg(long, global = true)]
    dev: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relayer until SIGTERM or SIGINT.
    Serve,
    /// Check configuration, keys, certificates, journal, endpoints, deployment and funds, without starting.
    Check {
        /// Do not ask the chain.
        #[arg(long)]
        offline: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look at the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Look at transactions under way, and mend them.
    Tx {
        #[command(subcommand)]
        command: tx::TxCommand,
    },
    /// Ask the running relayer how it is doing.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask it about devices: connected, what they hold and owe.
    Devices {
        /// Print JSON.
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        command: devices::DevicesCommand,
    },
    /// Ask it about policies: from when they are in force, and who acknowledged them.
    Policy {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look after the journal.
    Journal {
        #[command(subcommand)]
        command: journal::JournalCommand,
    },
    /// Ask it where a message is, who holds it up, and what is tried next. Fails if it knows no such message.
    Why {
        /// The ticket: 32 hex digits.
        sid: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the effective configuration, without secrets.
    Show,
    /// Check file and environment.
    Check,
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    // Clap itself exits with 2 on wrong usage, 0 on --help and --version.
    match execute(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("relayer: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let config = Config::load(&SystemDisk, &arguments.config, arguments.dev)?;
    match &arguments.command {
        Command::Serve => {
            start_log(&config.log)?;
            runtime()?.block_on(crate::supervisor::serve(config))?;
        }
        Command::Check { json, offline } => {
            let findings = runtime()?.block_on(check::all(&SystemDisk, &config, *offline));
            print(&check::to_json(&findings), *json, |_| check::for_people(&findings));
            if check::has_failures(&findings) {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Config { command: ConfigCommand::Show } => print!("{}", config.to_toml()),
        Command::Config { command: ConfigCommand::Check } => {
            println!("{} is valid", arguments.config.display());
        }
        Command::Tx { command } => print!("{}", tx::run(command, |request| ask(&config, request))?),
        Command::Status { json } => {
            let status = ask(&config, &Request::Status)?;
            print(&status, *json, table::leaves);
        }
        Command::Devices { json, command } => {
            let answer = ask(&config, &command.request())?;
            print(&answer, *json, |answer| command.for_people(answer));
        }
        Command::Policy { json } => print(&ask(&config, &Request::Policy)?, *json, policy::for_people),
        Command::Journal { command } => return journal::run(&config, command),
        Command::Why { sid, json } => {
            let answer = ask(&config, &Request::Why { sid: sid.clone() })?;
            print(&answer, *json, why::for_people);
            if !why::is_known(&answer) {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the running relayer answers.
fn ask(config: &Config, request: &Request) -> Result<Value, Box<dyn Error>> {
    Ok(runtime()?.block_on(client::ask(&config.admin.socket, request))?)
}

fn print(answer: &Value, json: bool, for_people: impl Fn(&Value) -> String) {
    if json {
        println!("{answer}");
    } else {
        print!("{}", for_people(answer));
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn start_log(log: &LogConfig) -> Result<(), Box<dyn Error>> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(log.filter.parse::<EnvFilter>()?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| -> Box<dyn Error> { error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_flags_may_follow_the_command() {
        let arguments =
            Arguments::try_parse_from(["relayer", "check", "--dev", "--config", "x.toml"]).unwrap();
        assert!(arguments.dev && arguments.config.as_os_str() == "x.toml");
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        let error = Arguments::try_parse_from(["relayer", "srve"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
