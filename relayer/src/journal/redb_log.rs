//! The journal on redb: one file, one process, one fsync a group.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend,
    TableDefinition, TableHandle,
};

use super::{Journal, Lease, Lsn, Record};
use crate::error::JournalError;

/// Version of the record format. Recorded in the file; a file of another version is refused by name.
pub const FORMAT_VERSION: u64 = 1;

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
const OWNERS: TableDefinition<'_, u64, &str> = TableDefinition::new("owners");
const TOKEN: &str = "token";
const FORMAT: &str = "format";
const CURSOR_PREFIX: &str = "cursor/";
/// Of a group's lease: the token of who took it, and its last block.
const LEASE_PREFIX: &str = "lease/";
/// Records in one transaction of a copy.
const COPY_RECORDS: usize = 4_096;

/// A journal in one redb file. redb locks the file: a second process cannot open it.
pub struct RedbLog {
    database: Database,
    path: PathBuf,
}

/// What is in a journal's file beside its records.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Header {
    /// Format of the records.
    pub format: u64,
    /// Token of the present owner.
    pub token: u64,
    /// The present owner, as it named itself.
    pub owner: String,
    /// Cursors by name.
    pub cursors: Vec<(String, u64)>,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of records, encoded.
    pub record_bytes: u64,
    /// Bytes of the file that hold neither records nor their index: free for records to come, until the file is compacted.
    pub free_bytes: u64,
}

impl std::fmt::Debug for RedbLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbLog").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RedbLog {
    /// Opens or creates the journal at `path`, checks every page of it, and its format. What a crash left unfinished after the last
    /// commit is rolled back; anything else that is damaged is an error.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let database = builder().create(path).map_err(open_failed(path))?;
        Self::checked(database, path)
    }

    /// Opens a journal that exists, as [`RedbLog::open`].
    pub fn open_existing(path: &Path) -> Result<Self, JournalError> {
        let database = builder().open(path).map_err(open_failed(path))?;
        Self::checked(database, path)
    }

    /// A journal on another storage; `path` only names it.
    pub fn on(backend: impl StorageBackend, path: &Path) -> Result<Self, JournalError> {
        let database = builder().create_with_backend(backend).map_err(open_failed(path))?;
        Self::checked(database, path)
    }

    fn checked(database: Database, path: &Path) -> Result<Self, JournalError> {
        let log = Self { database, path: path.to_owned() };
        let found = log.ensure_tables()?;
        if found != FORMAT_VERSION {
            let what = format!("its format is {found}, this program reads {FORMAT_VERSION}");
            return Err(JournalError::Open { path: path.display().to_string(), source: what.into() });
        }
        Ok(log)
    }

    /// Owner, cursors and sizes.
    pub fn header(&self) -> Result<Header, JournalError> {
        let transaction = self.database.begin_read().map_err(read)?;
        let log = transaction.open_table(LOG).map_err(read)?.stats().map_err(read)?;
        let mut header =
            Header { file_bytes: self.bytes()?, record_bytes: log.stored_bytes(), ..Header::default() };
        let held = log.stored_bytes() + log.metadata_bytes() + log.fragmented_bytes();
        header.free_bytes = header.file_bytes.saturating_sub(held);
        for entry in transaction.open_table(NUMBERS).map_err(read)?.iter().map_err(read)? {
            let (name, value) = entry.map_err(read)?;
            match name.value() {
                FORMAT => header.format = value.value(),
                TOKEN => header.token = value.value(),
                name if name.starts_with(LEASE_PREFIX) => {}
                name => {
                    let name = name.strip_prefix(CURSOR_PREFIX).unwrap_or(name).to_owned();
                    header.cursors.push((name, value.value()));
                }
            }
        }
        let owners = transaction.open_table(OWNERS).map_err(read)?;
        if let Some(owner) = owners.get(header.token).map_err(read)? {
            header.owner = owner.value().to_owned();
        }
        Ok(header)
    }

    /// Calls `visit` for each record as it is stored, from position `from` on, in order, until it says to stop.
    pub fn visit_stored(
        &self,
        from: Lsn,
        visit: &mut dyn FnMut(Lsn, &[u8]) -> bool,
    ) -> Result<(), JournalError> {
        let transaction = self.database.begin_read().map_err(read)?;
        let log = transaction.open_table(LOG).map_err(read)?;
        for entry in log.range(from..).map_err(read)? {
            let (lsn, bytes) = entry.map_err(read)?;
            if !visit(lsn.value(), bytes.value()) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Gives free pages at the end of the file back to the file system, after moving what is in the way. Needs the journal alone.
    pub fn compact(&mut self) -> Result<bool, JournalError> {
        let mut moved = false;
        while self.database.compact().map_err(write(&self.path))? {
            moved = true;
        }
        Ok(moved)
    }

    /// Makes every token given so far void, and no smaller one be given again.
    pub fn raise_token(&self, above: u64, owner: &str) -> Result<u64, JournalError> {
        let transaction = self.database.begin_write().map_err(write(&self.path))?;
        let token = {
            let mut numbers = transaction.open_table(NUMBERS).map_err(write(&self.path))?;
            let current = numbers.get(TOKEN).map_err(write(&self.path))?.map_or(0, |value| value.value());
            let token = current.max(above).saturating_add(1);
            numbers.insert(TOKEN, token).map_err(write(&self.path))?;
            let mut owners = transaction.open_table(OWNERS).map_err(write(&self.path))?;
            owners.insert(token, owner).map_err(write(&self.path))?;
            token
        };
        transaction.commit().map_err(write(&self.path))?;
        Ok(token)
    }

    fn ensure_tables(&self) -> Result<u64, JournalError> {
        let failed = open_failed(&self.path);
        let transaction = self.database.begin_read().map_err(read)?;
        let known: Vec<String> =
            transaction.list_tables().map_err(read)?.map(|table| table.name().to_owned()).collect();
        drop(transaction);
        if known.iter().any(|name| name == NUMBERS.name()) {
            return self.number(FORMAT);
        }
        let transaction = self.database.begin_write().map_err(write(&self.path))?;
        transaction.open_table(LOG).map_err(write(&self.path))?;
        transaction.open_table(OWNERS).map_err(write(&self.path))?;
        let mut numbers = transaction.open_table(NUMBERS).map_err(write(&self.path))?;
        numbers.insert(FORMAT, FORMAT_VERSION).map_err(write(&self.path))?;
        drop(numbers);
        transaction.commit().map_err(failed)?;
        Ok(FORMAT_VERSION)
    }

    fn number(&self, key: &str) -> Result<u64, JournalError> {
        let transaction = self.database.begin_read().map_err(read)?;
        let numbers = transaction.open_table(NUMBERS).map_err(read)?;
        Ok(numbers.get(key).map_err(read)?.map_or(0, |value| value.value()))
    }

    /// Copies one snapshot of everything into `copy`, which is empty.
    fn copy_into(&self, copy: &Self) -> Result<Lsn, JournalError> {
        let snapshot = self.database.begin_read().map_err(read)?;
        let transaction = copy.database.begin_write().map_err(write(&copy.path))?;
        {
            let mut numbers = transaction.open_table(NUMBERS).map_err(write(&copy.path))?;
            for entry in snapshot.open_table(NUMBERS).map_err(read)?.iter().map_err(read)? {
                let (name, value) = entry.map_err(read)?;
                numbers.insert(name.value(), value.value()).map_err(write(&copy.path))?;
            }
            let mut owners = transaction.open_table(OWNERS).map_err(write(&copy.path))?;
            for entry in snapshot.open_table(OWNERS).map_err(read)?.iter().map_err(read)? {
                let (token, owner) = entry.map_err(read)?;
                owners.insert(token.value(), owner.value()).map_err(write(&copy.path))?;
            }
        }
        transaction.commit().map_err(write(&copy.path))?;
        let source = snapshot.open_table(LOG).map_err(read)?;
        let mut last = 0;
        let mut range = source.range::<u64>(..).map_err(read)?.peekable();
        while range.peek().is_some() {
            let transaction = copy.database.begin_write().map_err(write(&copy.path))?;
            {
                let mut log = transaction.open_table(LOG).map_err(write(&copy.path))?;
                for entry in range.by_ref().take(COPY_RECORDS) {
                    let (lsn, bytes) = entry.map_err(read)?;
                    last = lsn.value();
                    log.insert(last, bytes.value()).map_err(write(&copy.path))?;
                }
            }
            transaction.commit().map_err(write(&copy.path))?;
        }
        Ok(last)
    }
}

impl Journal for RedbLog {
    fn acquire(&self, owner: &str) -> Result<u64, JournalError> {
        self.raise_token(0, owner)
    }

    fn append(&self, token: u64, records: &[Record]) -> Result<Lsn, JournalError> {
        let transaction = self.database.begin_write().map_err(write(&self.path))?;
        let last = {
            self.check_token(&transaction, token)?;
            let mut log = transaction.open_table(LOG).map_err(write(&self.path))?;
            let mut last = log.last().map_err(write(&self.path))?.map_or(0, |(lsn, _)| lsn.value());
            for record in records {
                last = last.saturating_add(1);
                let bytes = postcard::to_allocvec(record).map_err(write(&self.path))?;
                log.insert(last, bytes.as_slice()).map_err(write(&self.path))?;
            }
            last
        };
        transaction.commit().map_err(write(&self.path))?;
        Ok(last)
    }

    fn replay(&self, from: Lsn, visit: &mut dyn FnMut(Lsn, Record)) -> Result<(), JournalError> {
        let mut outcome = Ok(());
        let mut expected = None;
        self.visit_stored(from, &mut |lsn, bytes| {
            if let Some(expected) = expected.filter(|expected| *expected != lsn) {
                outcome = Err(JournalError::Gap { expected, found: lsn });
                return false;
            }
            expected = Some(lsn.saturating_add(1));
            match decode(lsn, bytes) {
                Ok(record) => visit(lsn, record),
                Err(error) => outcome = Err(error),
            }
            outcome.is_ok()
        })?;
        outcome
    }

    fn read(&self, from: Lsn, records_max: usize) -> Result<Vec<(Lsn, Record)>, JournalError> {
        let mut records = Vec::new();
        let mut outcome = Ok(());
        self.visit_stored(from, &mut |lsn, bytes| {
            match decode(lsn, bytes) {
                Ok(record) => records.push((lsn, record)),
                Err(error) => outcome = Err(error),
            }
            outcome.is_ok() && records.len() < records_max
        })?;
        outcome.map(|()| records)
    }

    fn truncate(&self, token: u64, before: Lsn, records_max: usize) -> Result<u64, JournalError> {
        let transaction = self.database.begin_write().map_err(write(&self.path))?;
        let mut removed = 0;
        {
            self.check_token(&transaction, token)?;
            let mut log = transaction.open_table(LOG).map_err(write(&self.path))?;
            while removed < records_max as u64 {
                let Some(first) = log.first().map_err(write(&self.path))?.map(|(lsn, _)| lsn.value()) else {
                    break;
                };
                if first >= before {
                    break;
                }
                log.remove(first).map_err(write(&self.path))?;
                removed += 1;
            }
        }
        transaction.commit().map_err(write(&self.path))?;
        Ok(removed)
    }

    fn cursor(&self, name: &str) -> Result<u64, JournalError> {
        self.number(&format!("{CURSOR_PREFIX}{name}"))
    }

    fn set_cursor(&self, token: u64, name: &str, value: u64) -> Result<(), JournalError> {
        let transaction = self.database.begin_write().map_err(write(&self.path))?;
        {
            self.check_token(&transaction, token)?;
            let mut numbers = transaction.open_table(NUMBERS).map_err(write(&self.path))?;
            numbers.insert(format!("{CURSOR_PREFIX}{name}").as_str(), value).map_err(write(&self.path))?;
        }
        transaction.commit().map_err(write(&self.path))
    }

    fn lease(&self, token: u64, group: u32, now: u64, until: u64) -> Result<Lease, JournalError> {
        let (holder, last) = (format!("{LEASE_PREFIX}{group}/token"), format!("{LEASE_PREFIX}{group}/until"));
        let transaction = self.database.begin_write().map_err(write(&self.path))?;
        {
            self.check_token(&transaction, token)?;
            let owners = transaction.open_table(OWNERS).map_err(write(&self.path))?;
            let name = |token: u64| {
                let name = owners.get(token).map_err(write(&self.path))?;
                Ok::<_, JournalError>(name.map_or_else(String::new, |name| name.value().to_owned()))
            };
            let mut numbers = transaction.open_table(NUMBERS).map_err(write(&self.path))?;
            let number = |key: &str| {
                let number = numbers.get(key).map_err(write(&self.path))?;
                Ok::<_, JournalError>(number.map(|number| number.value()))
            };
            if let (Some(holder), Some(until)) = (number(&holder)?, number(&last)?) {
                let owner = name(holder)?;
                if now <= until && owner != name(token)? {
                    return Ok(Lease::Theirs { owner, until });
                }
            }
            numbers.insert(holder.as_str(), token).map_err(write(&self.path))?;
            numbers.insert(last.as_str(), until).map_err(write(&self.path))?;
        }
        transaction.commit().map_err(write(&self.path))?;
        Ok(Lease::Ours { until })
    }

    fn first(&self) -> Result<Lsn, JournalError> {
        let transaction = self.database.begin_read().map_err(read)?;
        let log = transaction.open_table(LOG).map_err(read)?;
        Ok(log.first().map_err(read)?.map_or(0, |(lsn, _)| lsn.value()))
    }

    fn last(&self) -> Result<Lsn, JournalError> {
        let transaction = self.database.begin_read().map_err(read)?;
        let log = transaction.open_table(LOG).map_err(read)?;
        Ok(log.last().map_err(read)?.map_or(0, |(lsn, _)| lsn.value()))
    }

    fn bytes(&self) -> Result<u64, JournalError> {
        std::fs::metadata(&self.path).map(|metadata| metadata.len()).map_err(read)
    }

    fn backup(&self, destination: &Path) -> Result<Lsn, JournalError> {
        super::files::write_new(destination, |scratch| self.copy_into(&Self::open(scratch)?))
    }
}

impl RedbLog {
    fn check_token(&self, transaction: &redb::WriteTransaction, ours: u64) -> Result<(), JournalError> {
        let numbers = transaction.open_table(NUMBERS).map_err(write(&self.path))?;
        let current = numbers.get(TOKEN).map_err(write(&self.path))?.map_or(0, |value| value.value());
        if current == ours { Ok(()) } else { Err(JournalError::Fenced { current, ours }) }
    }
}

/// Decodes a stored record.
pub fn decode(lsn: Lsn, bytes: &[u8]) -> Result<Record, JournalError> {
    let (record, rest) =
        postcard::take_from_bytes(bytes).map_err(|e| JournalError::Corrupt { lsn, source: Box::new(e) })?;
    if !rest.is_empty() {
        let source = format!("{} bytes follow it", rest.len()).into();
        return Err(JournalError::Corrupt { lsn, source });
    }
    Ok(record)
}

/// Calls `visit` for each record that can be read from a file that may be damaged, without changing the file.
pub(super) fn for_each_readable(path: &Path, visit: &mut dyn FnMut(Lsn, &[u8])) -> Result<(), JournalError> {
    let database = Database::builder().open_read_only(path).map_err(open_failed(path))?;
    let transaction = database.begin_read().map_err(read)?;
    let log = transaction.open_table(LOG).map_err(read)?;
    for entry in log.range::<u64>(..).map_err(read)? {
        let (lsn, bytes) = entry.map_err(read)?;
        visit(lsn.value(), bytes.value());
    }
    Ok(())
}

/// Every opening checks every page, also after a stop in good order: a file that was altered since is refused instead of read.
fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_check_integrity_on_open(true);
    let told = AtomicU32::new(0);
    builder.set_repair_callback(move |session| {
        let tenth = (session.progress() * 10.0) as u32;
        if told.swap(tenth, Ordering::Relaxed) != tenth {
            tracing::info!(
                percent = tenth * 10,
                "the journal is checked after a stop that was not in good order"
            );
        }
    });
    builder
}

fn open_failed<E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
) -> impl FnOnce(E) -> JournalError + use<E> {
    let path = path.display().to_string();
    move |source| JournalError::Open { path, source: Box::new(source) }
}

fn read(source: impl std::error::Error + Send + Sync + 'static) -> JournalError {
    JournalError::Read(Box::new(source))
}

fn write<E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
) -> impl FnOnce(E) -> JournalError + use<E> {
    let path = path.display().to_string();
    move |source| JournalError::Write { path, source: Box::new(source) }
}

#[cfg(test)]
impl RedbLog {
    /// Replaces a stored record's bytes, or removes it.
    pub(super) fn damage(&self, lsn: Lsn, bytes: Option<&[u8]>) {
        let transaction = self.database.begin_write().unwrap();
        {
            let mut log = transaction.open_table(LOG).unwrap();
            match bytes {
                Some(bytes) => drop(log.insert(lsn, bytes).unwrap()),
                None => drop(log.remove(lsn).unwrap()),
            }
        }
        transaction.commit().unwrap();
    }
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
    fn a_lease_is_its_owners_until_its_block_is_over_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.redb");
        let log = RedbLog::open(&path).unwrap();
        let first = log.acquire("first").unwrap();
        assert_eq!(log.lease(first, 7, 10, 100).unwrap(), Lease::Ours { until: 100 });
        drop(log);
        let log = RedbLog::open(&path).unwrap();
        let again = log.acquire("first").unwrap();
        assert_eq!(log.lease(again, 7, 60, 160).unwrap(), Lease::Ours { until: 160 }, "its own");
        let second = log.acquire("second").unwrap();
        let theirs = Lease::Theirs { owner: "first".to_owned(), until: 160 };
        assert_eq!(log.lease(second, 7, 160, 260).unwrap(), theirs);
        assert_eq!(log.lease(second, 8, 60, 160).unwrap(), Lease::Ours { until: 160 }, "another group");
        assert!(matches!(log.lease(again, 7, 160, 260), Err(JournalError::Fenced { .. })));
        assert_eq!(log.lease(second, 7, 161, 261).unwrap(), Lease::Ours { until: 261 }, "it ran out");
        let first = log.acquire("first").unwrap();
        let theirs = Lease::Theirs { owner: "second".to_owned(), until: 261 };
        assert_eq!(log.lease(first, 7, 200, 300).unwrap(), theirs);
        assert!(log.header().unwrap().cursors.is_empty());
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
