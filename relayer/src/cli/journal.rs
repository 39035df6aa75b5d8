//! `relayer journal inspect | verify | export | backup | restore | compact`. All but a backup work on a file that no relayer has open: the
//! journal of a relayer that is stopped, or a backup, named by `--file`.

use std::error::Error;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cip22_wire::{DeviceId, Sid};
use clap::Subcommand;

use crate::admin::request::Request;
use crate::config::Config;
use crate::error::JournalError;
use crate::journal::Journal;
use crate::journal::examine::{self, Inspection};
use crate::journal::export::{self, Filter};
use crate::journal::files;
use crate::journal::redb_log::{RedbLog, decode};

#[derive(Debug, Subcommand)]
pub(super) enum JournalCommand {
    /// Count records by kind, with sizes, owner and cursors.
    Inspect {
        /// This file instead of `journal.path`.
        #[arg(long)]
        file: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check every page, record and position; say what is wrong and where. Fails if anything is.
    Verify {
        /// This file instead of `journal.path`.
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// Print records as JSON, a line each, without secrets.
    Export {
        /// This file instead of `journal.path`.
        #[arg(long)]
        file: Option<PathBuf>,
        /// Only records that name this device: 64 hex digits.
        #[arg(long, value_parser = hex_bytes::<32>)]
        device: Option<DeviceId>,
        /// Only records that name this ticket: 32 hex digits.
        #[arg(long, value_parser = hex_bytes::<16>)]
        sid: Option<Sid>,
        /// Only records that name this epoch.
        #[arg(long)]
        epoch: Option<u32>,
    },
    /// Write a consistent copy to a new file. A running relayer is asked to, over its socket.
    Backup {
        /// The new file.
        destination: PathBuf,
    },
    /// Put a copy in the place of `journal.path`. Refused if a relayer has that open, or if it has records that the copy lacks.
    Restore {
        /// The copy.
        source: PathBuf,
    },
    /// Give the file's free pages back to the file system.
    Compact,
}

pub(super) fn run(config: &Config, command: &JournalCommand) -> Result<ExitCode, Box<dyn Error>> {
    let configured = &config.journal.path;
    match command {
        JournalCommand::Inspect { file, json } => {
            let inspection = examine::inspect(&RedbLog::open_existing(file.as_ref().unwrap_or(configured))?)?;
            if *json {
                println!("{}", serde_json::to_string(&inspection)?);
            } else {
                print!("{}", for_people(&inspection));
            }
        }
        JournalCommand::Verify { file } => return Ok(verify(file.as_ref().unwrap_or(configured))),
        JournalCommand::Export { file, device, sid, epoch } => {
            let filter = Filter { device_id: *device, sid: *sid, epoch: *epoch };
            return export(&RedbLog::open_existing(file.as_ref().unwrap_or(configured))?, &filter);
        }
        JournalCommand::Backup { destination } => println!("{}", backup(config, destination)?),
        JournalCommand::Restore { source } => {
            let newest = files::restore(source, configured)?;
            println!("{} restored up to record {newest}", configured.display());
        }
        JournalCommand::Compact => {
            let mut log = RedbLog::open_existing(configured)?;
            let before = log.bytes()?;
            log.compact()?;
            drop(log);
            let after = std::fs::metadata(configured)?.len();
            println!("{} had {before} bytes, has {after}", configured.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(path: &Path) -> ExitCode {
    let (records, problems) = examine::verify(path);
    for problem in &problems {
        match problem.lsn {
            Some(lsn) => println!("record {lsn}: {}", problem.what),
            None => println!("{}", problem.what),
        }
    }
    println!("{records} records read, {} problems", problems.len());
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn export(log: &RedbLog, filter: &Filter) -> Result<ExitCode, Box<dyn Error>> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut outcome: Result<(), Box<dyn Error>> = Ok(());
    log.visit_stored(0, &mut |lsn, bytes| {
        outcome = decode(lsn, bytes).map_err(Into::into).and_then(|record| {
            if filter.takes(&record) {
                writeln!(out, "{}", export::to_json(lsn, &record))?;
            }
            Ok(())
        });
        outcome.is_ok()
    })?;
    match outcome.and_then(|()| Ok(out.flush()?)) {
        // Whoever reads has seen enough.
        Err(error)
            if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) =>
        {
            Ok(ExitCode::SUCCESS)
        }
        other => other.map(|()| ExitCode::SUCCESS),
    }
}

/// A journal that no relayer has open is copied here; otherwise the relayer copies its own.
fn backup(config: &Config, destination: &Path) -> Result<String, Box<dyn Error>> {
    match RedbLog::open_existing(&config.journal.path) {
        Ok(log) => {
            let newest = log.backup(destination)?;
            Ok(format!("{} holds everything up to record {newest}", destination.display()))
        }
        Err(error @ JournalError::Open { .. }) => {
            let destination = std::path::absolute(destination)?.display().to_string();
            let request = Request::JournalBackup { destination: destination.clone() };
            let answer = super::ask(config, &request).map_err(|asked| {
                format!("{}; and no relayer makes the copy: {asked}", crate::error::with_causes(&error))
            })?;
            let newest = answer.get("newest").cloned().unwrap_or_default();
            Ok(format!("{destination} holds everything up to record {newest}"))
        }
        Err(error) => Err(error.into()),
    }
}

fn for_people(inspection: &Inspection) -> String {
    let Inspection { first, last, header, epochs, kinds } = inspection;
    let epochs = epochs.map_or("none".to_owned(), |(low, high)| format!("{low} to {high}"));
    let mut text = format!(
        "records      {first} to {last}\nepochs       {epochs}\nowner        {} (token {})\nformat       {}\n",
        header.owner, header.token, header.format
    );
    for (name, value) in &header.cursors {
        text.push_str(&format!("cursor       {name} = {value}\n"));
    }
    text.push_str(&format!(
        "file         {} bytes, of them records {}, free {}\n\n{:22}{:>10}{:>14}{:>12}{:>12}\n",
        header.file_bytes,
        header.record_bytes,
        header.free_bytes,
        "kind",
        "records",
        "bytes",
        "first",
        "last"
    ));
    for (name, kind) in kinds {
        let (records, bytes) = (kind.records, kind.bytes);
        text.push_str(&format!("{name:22}{records:>10}{bytes:>14}{:>12}{:>12}\n", kind.first, kind.last));
    }
    text
}

fn hex_bytes<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)
        .map_err(|_| format!("it has to be {} hex digits", 2 * N))?;
    Ok(bytes)
}
