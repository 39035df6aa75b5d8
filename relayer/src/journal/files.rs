//! Journal files as a whole: copies that appear complete or not at all, and a copy taken back.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::redb_log::RedbLog;
use super::{Journal, Lsn};
use crate::error::JournalError;

/// Makes a file that is not there yet: `fill` gets a scratch file beside it, which takes its name once it is complete and durable.
pub(super) fn write_new<T>(
    destination: &Path,
    fill: impl FnOnce(&Path) -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    let failed = |source: io::Error| JournalError::Write {
        path: destination.display().to_string(),
        source: Box::new(source),
    };
    if destination.exists() {
        return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file already")));
    }
    let scratch = beside(destination);
    // Of a copy that was broken off.
    match fs::remove_file(&scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&scratch).map_err(failed)?;
    let filled = fill(&scratch);
    let placed = filled.and_then(|value| {
        File::open(&scratch).and_then(|file| file.sync_all()).map_err(failed)?;
        // A link fails where a rename would overwrite.
        fs::hard_link(&scratch, destination).map_err(failed)?;
        Ok(value)
    });
    let _ = fs::remove_file(&scratch);
    let value = placed?;
    sync_folder(destination).map_err(failed)?;
    Ok(value)
}

/// Puts the journal `source` in the place of `destination`, and makes every owner so far unable to write it. The place has to be empty, or
/// hold a journal that no process has open and that has nothing `source` lacks; returns the newest record's position.
pub fn restore(source: &Path, destination: &Path) -> Result<Lsn, JournalError> {
    let copy = RedbLog::open_existing(source)?;
    let newest = copy.last()?;
    let mut token = copy.header()?.token;
    // Held until the end: no relayer starts on it meanwhile.
    let present = if destination.exists() {
        let present = RedbLog::open_existing(destination)?;
        let found = present.last()?;
        if found > newest {
            return Err(JournalError::Newer { path: destination.display().to_string(), found, newest });
        }
        token = token.max(present.header()?.token);
        Some(present)
    } else {
        None
    };
    let restored = beside(destination).with_extension("restored");
    let _ = fs::remove_file(&restored);
    copy.backup(&restored)?;
    let fenced = RedbLog::open_existing(&restored)?.raise_token(token, "relayer journal restore");
    let placed = fenced.and_then(|_| {
        fs::rename(&restored, destination).and_then(|()| sync_folder(destination)).map_err(|source| {
            JournalError::Write { path: destination.display().to_string(), source: Box::new(source) }
        })
    });
    if placed.is_err() {
        let _ = fs::remove_file(&restored);
    }
    drop(present);
    placed.map(|()| newest)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    path.with_file_name(name)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::journal::Record;

    fn acked(byte: u8) -> Record {
        Record::AuthAcked { sid: [byte; 16], a: [byte; 32] }
    }

    /// A journal that is open, and where a copy of it may go.
    struct Opened {
        folder: tempfile::TempDir,
        path: PathBuf,
        copy: PathBuf,
        log: RedbLog,
        token: u64,
    }

    fn opened() -> Opened {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("journal.redb"), folder.path().join("copy.redb"));
        let log = RedbLog::open(&path).unwrap();
        let token = log.acquire("first").unwrap();
        Opened { folder, path, copy, log, token }
    }

    fn records(log: &RedbLog) -> Vec<(Lsn, Record)> {
        log.read(1, 100).unwrap()
    }

    #[test]
    fn a_backup_taken_while_records_are_appended_is_a_consistent_copy_that_never_overwrites() {
        let Opened { folder, copy, log, token, .. } = opened();
        log.append(token, &[acked(1), acked(2)]).unwrap();
        log.set_cursor(token, "scanned_to", 9).unwrap();
        assert_eq!(log.backup(&copy).unwrap(), 2);
        log.append(token, &[acked(3)]).unwrap();
        assert!(matches!(log.backup(&copy), Err(JournalError::Write { .. })), "there is one already");
        let copied = RedbLog::open_existing(&copy).unwrap();
        assert_eq!(records(&copied), [(1, acked(1)), (2, acked(2))]);
        assert_eq!((copied.cursor("scanned_to").unwrap(), copied.header().unwrap().token), (9, token));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
    }

    #[test]
    fn a_restored_journal_is_fenced_against_every_owner_before() {
        let Opened { folder: _folder, path, copy, log, token } = opened();
        log.append(token, &[acked(1)]).unwrap();
        log.backup(&copy).unwrap();
        let later = log.acquire("second").unwrap();
        drop(log);
        assert_eq!(restore(&copy, &path).unwrap(), 1);
        let restored = RedbLog::open(&path).unwrap();
        for old in [token, later] {
            assert!(matches!(restored.append(old, &[acked(2)]), Err(JournalError::Fenced { .. })));
        }
        let next = restored.acquire("third").unwrap();
        assert!(next > later + 1);
        assert_eq!(restored.append(next, &[acked(2)]).unwrap(), 2);
    }

    #[test]
    fn a_restore_refuses_a_journal_that_is_open_or_knows_more() {
        let Opened { folder: _folder, path, copy, log, token } = opened();
        log.append(token, &[acked(1)]).unwrap();
        log.backup(&copy).unwrap();
        assert!(matches!(restore(&copy, &path), Err(JournalError::Open { .. })), "it is open");
        log.append(token, &[acked(2)]).unwrap();
        drop(log);
        assert!(matches!(restore(&copy, &path), Err(JournalError::Newer { found: 2, newest: 1, .. })));
        let log = RedbLog::open(&path).unwrap();
        assert_eq!(records(&log), [(1, acked(1)), (2, acked(2))], "untouched");
    }

    #[test]
    fn a_journal_is_restored_to_an_empty_place() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("journal.redb"), folder.path().join("copy.redb"));
        let log = RedbLog::open(&copy).unwrap();
        let token = log.acquire("first").unwrap();
        log.append(token, &[acked(1)]).unwrap();
        drop(log);
        assert_eq!(restore(&copy, &path).unwrap(), 1);
        assert_eq!(records(&RedbLog::open(&path).unwrap()), [(1, acked(1))]);
        assert!(matches!(restore(&folder.path().join("none"), &path), Err(JournalError::Open { .. })));
    }
}
