//! The journal on redb: one file, one process, one fsync a group.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Journal, Lsn, Record};
use crate::error::JournalError;

/// Version of the record format. Recorded in the file; a file of another version is refused by name.
pub const FORMAT_VERSION: u64 = 1;

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
const OWNERS: TableDefinition<'_, u64, &str> = TableDefinition::new("owners");
const TOKEN: &str = "token";
const FORMAT: &str = "format";
const CURSOR_PREFIX: &str = "cursor/";

/// A journal in one redb file. redb locks the file: a second process cannot open it.
pub struct RedbLog {
    database: Database,
}

impl std::fmt::Debug for RedbLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbLog").finish_non_exhaustive()
    }
}

impl RedbLog {
    /// Opens or creates the journal at `path`, and checks its format.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| JournalError::Open {
            path: path.display().to_string(),
            source,
        };
        let database = Database::create(path).map_err(|e| failed(Box::new(e)))?;
        let log = Self { database };
        let found = log.ensure_tables().map_err(|e| failed(Box::new(e)))?;
        if found != FORMAT_VERSION {
            return Err(failed(format!("its format is {found}, this program reads {FORMAT_VERSION}").into()));
        }
        Ok(log)
    }

    fn ensure_tables(&self) -> Result<u64, JournalError> {
        let transaction = self.database.begin_write().map_err(write)?;
        let format = {
            transaction.open_table(LOG).map_err(write)?;
            transaction.open_table(OWNERS).map_err(write)?;
            let mut numbers = transaction.open_table(NUMBERS).map_err(write)?;
            let known = numbers.get(FORMAT).map_err(write)?.map(|value| value.value());
            match known {
                Some(format) => format,
                None => {
                    numbers.insert(FORMAT, FORMAT_VERSION).map_err(write)?;
                    FORMAT_VERSION
                }
            }
        };
        transaction.commit().map_err(write)?;
        Ok(format)
    }

    fn number(&self, key: &str) -> Result<u64, JournalError> {
        let transaction = self.database.begin_read().map_err(read)?;
        let numbers = transaction.open_table(NUMBERS).map_err(read)?;
        Ok(numbers.get(key).map_err(read)?.map_or(0, |value| value.value()))
    }
}

impl Journal for RedbLog {
    fn acquire(&self, owner: &str) -> Result<u64, JournalError> {
        let transaction = self.database.begin_write().map_err(write)?;
        let token = {
            let mut numbers = transaction.open_table(NUMBERS).map_err(write)?;
            let token = numbers.get(TOKEN).map_err(write)?.map_or(0, |value| value.value()).saturating_add(1);
            numbers.insert(TOKEN, token).map_err(write)?;
            let mut owners = transaction.open_table(OWNERS).map_err(write)?;
            owners.insert(token, owner).map_err(write)?;
            token
        };
        transaction.commit().map_err(write)?;
        Ok(token)
    }

    fn append(&self, token: u64, records: &[Record]) -> Result<Lsn, JournalError> {
        let transaction = self.database.begin_write().map_err(write)?;
        let last = {
            check_token(&transaction, token)?;
            let mut log = transaction.open_table(LOG).map_err(write)?;
            let mut last = log.last().map_err(write)?.map_or(0, |(lsn, _)| lsn.value());
            for record in records {
                last = last.saturating_add(1);
                let bytes = postcard::to_allocvec(record).map_err(write)?;
                log.insert(last, bytes.as_slice()).map_err(write)?;
            }
            last
        };
        transaction.commit().map_err(write)?;
        Ok(last)
    }

    fn replay(&self, from: Lsn, visit: &mut dyn FnMut(Lsn, Record)) -> Result<(), JournalError> {
        let transaction = self.database.begin_read().map_err(read)?;
        let log = transaction.open_table(LOG).map_err(read)?;
        for entry in log.range(from..).map_err(read)? {
            let (lsn, bytes) = entry.map_err(read)?;
            let lsn = lsn.value();
            let record = postcard::from_bytes(bytes.value())
                .map_err(|e| JournalError::Corrupt { lsn, source: Box::new(e) })?;
            visit(lsn, record);
        }
        Ok(())
    }

    fn cursor(&self, name: &str) -> Result<u64, JournalError> {
        self.number(&format!("{CURSOR_PREFIX}{name}"))
    }

    fn set_cursor(&self, token: u64, name: &str, value: u64) -> Result<(), JournalError> {
        let transaction = self.database.begin_write().map_err(write)?;
        {
            check_token(&transaction, token)?;
            let mut numbers = transaction.open_table(NUMBERS).map_err(write)?;
            numbers.insert(format!("{CURSOR_PREFIX}{name}").as_str(), value).map_err(write)?;
        }
        transaction.commit().map_err(write)
    }

    fn last(&self) -> Result<Lsn, JournalError> {
        let transaction = self.database.begin_read().map_err(read)?;
        let log = transaction.open_table(LOG).map_err(read)?;
        Ok(log.last().map_err(read)?.map_or(0, |(lsn, _)| lsn.value()))
    }
}

fn check_token(transaction: &redb::WriteTransaction, ours: u64) -> Result<(), JournalError> {
    let numbers = transaction.open_table(NUMBERS).map_err(write)?;
    let current = numbers.get(TOKEN).map_err(write)?.map_or(0, |value| value.value());
    if current == ours { Ok(()) } else { Err(JournalError::Fenced { current, ours }) }
}

fn read(source: impl std::error::Error + Send + Sync + 'static) -> JournalError {
    JournalError::Read(Box::new(source))
}

fn write(source: impl std::error::Error + Send + Sync + 'static) -> JournalError {
    JournalError::Write(Box::new(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acked(byte: u8) -> Record {
        Record::AuthAcked { sid: [byte; 16], a: [byte; 32] }
    }

    #[test]
    fn records_come_back_in_order_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.redb");
        let log = RedbLog::open(&path).unwrap();
        let token = log.acquire("first").unwrap();
        assert_eq!(log.append(token, &[acked(1), acked(2)]).unwrap(), 2);
        assert_eq!(log.append(token, &[acked(3)]).unwrap(), 3);
        log.set_cursor(token, "scanned", 77).unwrap();
        drop(log);
        let log = RedbLog::open(&path).unwrap();
        let mut seen = Vec::new();
        log.replay(2, &mut |lsn, record| seen.push((lsn, record))).unwrap();
        assert_eq!(seen, vec![(2, acked(2)), (3, acked(3))]);
        assert_eq!(log.cursor("scanned").unwrap(), 77);
        assert_eq!(log.cursor("other").unwrap(), 0);
    }

    #[test]
    fn an_earlier_owner_is_fenced_off() {
        let dir = tempfile::tempdir().unwrap();
        let log = RedbLog::open(&dir.path().join("journal.redb")).unwrap();
        let first = log.acquire("first").unwrap();
        let second = log.acquire("second").unwrap();
        assert!(matches!(log.append(first, &[acked(1)]), Err(JournalError::Fenced { .. })));
        assert_eq!(log.last().unwrap(), 0);
        assert_eq!(log.append(second, &[acked(1)]).unwrap(), 1);
    }

    #[test]
    fn a_second_process_cannot_open_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.redb");
        let _first = RedbLog::open(&path).unwrap();
        let error = RedbLog::open(&path).unwrap_err();
        assert!(matches!(error, JournalError::Open { .. }));
    }
}
