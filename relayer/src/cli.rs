//! The command line: `relayer serve | check | config show | config check | status`.
//!
//! Exit codes: 0 done, 1 failed, 2 used wrongly.

mod check;

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
    /// Check configuration, keys, certificates, deployment file and journal, without starting.
    Check,
    /// Look at the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Ask the running relayer how it is doing.
    Status {
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
        Command::Check => {
            let mut failed = false;
            for (name, outcome) in check::all(&SystemDisk, &config) {
                match outcome {
                    Ok(detail) => println!("ok      {name}: {detail}"),
                    Err(error) => {
                        failed = true;
                        println!("failed  {name}: {}", with_causes(error.as_ref()));
                    }
                }
            }
            if failed {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Config { command: ConfigCommand::Show } => print!("{}", config.to_toml()),
        Command::Config { command: ConfigCommand::Check } => {
            println!("{} is valid", arguments.config.display());
        }
        Command::Status { json } => {
            let status = ask(&config, &Request::Status)?;
            if *json {
                println!("{status}");
            } else {
                print!("{}", for_people(&status));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the running relayer answers.
fn ask(config: &Config, request: &Request) -> Result<Value, Box<dyn Error>> {
    Ok(runtime()?.block_on(client::ask(&config.admin.socket, request))?)
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

/// One `name  value` line for each leaf of a JSON object, names joined by dots.
fn for_people(status: &Value) -> String {
    let mut leaves = Vec::new();
    collect(String::new(), status, &mut leaves);
    let width = leaves.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    leaves.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

fn collect(name: String, value: &Value, leaves: &mut Vec<(String, String)>) {
    let child = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| collect(child(key), value, leaves)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| collect(child(&at.to_string()), value, leaves));
        }
        Value::String(text) => leaves.push((name, text.clone())),
        other => leaves.push((name, other.to_string())),
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // Transparent errors repeat their source's text.
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn status_for_people_has_a_line_for_each_leaf() {
        let status = json!({ "sessions": 3, "chain": { "safe_block": 7, "policies": ["a"] } });
        assert_eq!(for_people(&status), "chain.policies.0  a\nchain.safe_block  7\nsessions          3\n");
    }
}
