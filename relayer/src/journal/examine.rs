//! What is in a journal's file, and whether all of it is right. The file has to belong to no running relayer; use a backup otherwise.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use cip22_wire::PublicKey;
use cip22_wire::message::{BattTelem, Body, Challenge};
use serde::Serialize;

use super::export::{epoch_of, kind_of};
use super::record::{Record, StatementRecord};
use super::redb_log::{Header, RedbLog, decode, for_each_readable};
use super::{Journal, Lsn};
use crate::error::{JournalError, with_causes};

/// A journal at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Position of the oldest record.
    pub first: Lsn,
    /// Position of the newest record.
    pub last: Lsn,
    /// Owner, cursors, sizes.
    #[serde(flatten)]
    pub header: Header,
    /// Epochs that records name, lowest and highest.
    pub epochs: Option<(u32, u32)>,
    /// By kind of record.
    pub kinds: BTreeMap<&'static str, Kind>,
}

/// Records of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Kind {
    /// How many.
    pub records: u64,
    /// Their bytes, encoded.
    pub bytes: u64,
    /// Position of the oldest.
    pub first: Lsn,
    /// Position of the newest.
    pub last: Lsn,
}

/// Something wrong with a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Position of the record, where it is known.
    pub lsn: Option<Lsn>,
    /// What is wrong.
    pub what: String,
}

/// Counts what is there.
pub fn inspect(log: &RedbLog) -> Result<Inspection, JournalError> {
    let mut kinds: BTreeMap<&'static str, Kind> = BTreeMap::new();
    let mut epochs: Option<(u32, u32)> = None;
    let mut outcome = Ok(());
    log.visit_stored(0, &mut |lsn, bytes| {
        let record = match decode(lsn, bytes) {
            Ok(record) => record,
            Err(error) => {
                outcome = Err(error);
                return false;
            }
        };
        let kind = kinds.entry(kind_of(&record)).or_insert_with(|| Kind { first: lsn, ..Kind::default() });
        kind.records += 1;
        kind.bytes += bytes.len() as u64;
        kind.last = lsn;
        if let Some(epoch) = epoch_of(&record) {
            let (low, high) = epochs.unwrap_or((epoch, epoch));
            epochs = Some((low.min(epoch), high.max(epoch)));
        }
        true
    })?;
    outcome?;
    Ok(Inspection { first: log.first()?, last: log.last()?, header: log.header()?, epochs, kinds })
}

/// Every page against its checksum, every record against its neighbours and its form. Returns how many records were read, and what is wrong.
pub fn verify(path: &Path) -> (u64, Vec<Problem>) {
    match RedbLog::open_existing(path) {
        Ok(log) => {
            let mut records = Records::default();
            let read = log.visit_stored(0, &mut |lsn, bytes| {
                records.take(lsn, bytes);
                true
            });
            if let Err(error) = read {
                records.problems.push(Problem { lsn: Some(records.last + 1), what: with_causes(&error) });
            }
            (records.count, records.problems)
        }
        Err(error) => {
            let mut problems = vec![Problem { lsn: None, what: with_causes(&error) }];
            let (count, damage) = readable(path);
            problems.extend(damage);
            (count, problems)
        }
    }
}

/// What of a damaged file can still be read, without changing it: where reading first fails, and whatever does not decode.
fn readable(path: &Path) -> (u64, Vec<Problem>) {
    let mut records = Records::default();
    let read = catch_unwind(AssertUnwindSafe(|| {
        for_each_readable(path, &mut |lsn, bytes| records.take(lsn, bytes))
    }));
    let stopped = match read {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(with_causes(&error)),
        Err(_) => Some("a page of it makes no sense".to_owned()),
    };
    if let Some(what) = stopped.filter(|_| records.count > 0) {
        let what = format!("reading ends after record {}: {what}", records.last);
        records.problems.push(Problem { lsn: Some(records.last + 1), what });
    }
    (records.count, records.problems)
}

#[derive(Default)]
struct Records {
    count: u64,
    last: Lsn,
    problems: Vec<Problem>,
}

impl Records {
    fn take(&mut self, lsn: Lsn, bytes: &[u8]) {
        if self.count > 0 && lsn != self.last + 1 {
            let what = format!("records {} to {} are missing", self.last + 1, lsn.saturating_sub(1));
            self.problems.push(Problem { lsn: Some(self.last + 1), what });
        }
        self.count += 1;
        self.last = lsn;
        let wrong = match decode(lsn, bytes) {
            Ok(record) => malformed(&record).map(|what| format!("{}: {what}", kind_of(&record))),
            Err(error) => Some(with_causes(&error)),
        };
        self.problems.extend(wrong.map(|what| Problem { lsn: Some(lsn), what }));
    }
}

/// What a replay would stumble over in a record that decodes.
fn malformed(record: &Record) -> Option<&'static str> {
    match record {
        Record::TicketIssued { challenge_payload, device_key } => ticket(challenge_payload, device_key),
        Record::ChargeHeld(charge) => ticket(&charge.challenge_payload, &charge.device_key),
        Record::Statement(statement) => signature(statement),
        Record::BatteryHeld(battery) => {
            battery.pending.iter().find_map(|pending| signature(&pending.statement))
        }
        Record::Telemetry { payload, .. } => {
            BattTelem::decode(payload).is_err().then_some("its payload does not decode")
        }
        _ => None,
    }
}

fn ticket(payload: &[u8], device_key: &[u8]) -> Option<&'static str> {
    if Challenge::decode(payload).is_err() {
        return Some("its ticket does not decode");
    }
    PublicKey::try_from(device_key).is_err().then_some("its device key has the wrong length")
}

fn signature(statement: &StatementRecord) -> Option<&'static str> {
    (statement.signature.len() != 64).then_some("its signature has the wrong length")
}
