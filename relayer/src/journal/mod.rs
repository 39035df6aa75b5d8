//! The journal: an append-only log of what happened, durable before anything depends on it.
//!
//! Its records are facts; [`crate::state::State`] is what they add up to, rebuilt by replay at start.

pub mod appender;
pub mod examine;
pub mod export;
pub mod files;
pub mod record;
pub mod redb_log;
pub mod retention;

use std::fmt::Debug;
use std::path::Path;

pub use record::Record;

use crate::error::JournalError;

/// Position of a record in the journal; the first is 1.
pub type Lsn = u64;

/// Whose a group's lease is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    /// Ours, up to this block.
    Ours {
        /// Block.
        until: u64,
    },
    /// Another owner's, up to this block.
    Theirs {
        /// The owner, as it named itself.
        owner: String,
        /// Block.
        until: u64,
    },
}

/// A durable log with one owner. Implementations: [`redb_log::RedbLog`].
///
/// `append` and `set_cursor` carry the fencing token that [`Journal::acquire`] gave, so that a second process that
/// took over makes the first one's writes fail instead of interleaving with its own.
pub trait Journal: Debug + Send + Sync {
    /// Takes ownership; every earlier token is void afterwards.
    fn acquire(&self, owner: &str) -> Result<u64, JournalError>;
    /// Appends the records in order in one transaction and returns the position of the last, after fsync.
    fn append(&self, token: u64, records: &[Record]) -> Result<Lsn, JournalError>;
    /// Calls `visit` for each record from position `from` on, in order. A position that is missing between two others is an error.
    fn replay(&self, from: Lsn, visit: &mut dyn FnMut(Lsn, Record)) -> Result<(), JournalError>;
    /// At most `records_max` records from position `from` on, in order.
    fn read(&self, from: Lsn, records_max: usize) -> Result<Vec<(Lsn, Record)>, JournalError>;
    /// Removes records before position `before` from the front, at most `records_max`, in one transaction; returns how many.
    fn truncate(&self, token: u64, before: Lsn, records_max: usize) -> Result<u64, JournalError>;
    /// A named cursor, 0 if never set.
    fn cursor(&self, name: &str) -> Result<u64, JournalError>;
    /// Sets a named cursor, durably.
    fn set_cursor(&self, token: u64, name: &str, value: u64) -> Result<(), JournalError>;
    /// Takes or renews the lease of a group up to the block `until`, durably, if nobody else has it at the block `now`. An owner is known
    /// by its name, so a restart goes on with its own leases.
    fn lease(&self, token: u64, group: u32, now: u64, until: u64) -> Result<Lease, JournalError>;
    /// Position of the oldest record, 0 if empty.
    fn first(&self) -> Result<Lsn, JournalError>;
    /// Position of the newest record, 0 if empty.
    fn last(&self) -> Result<Lsn, JournalError>;
    /// Bytes that it takes on disk.
    fn bytes(&self) -> Result<u64, JournalError>;
    /// Writes a consistent copy of everything to a new file, whole or not at all, while others go on reading and writing. Returns the
    /// position of its newest record.
    fn backup(&self, destination: &Path) -> Result<Lsn, JournalError>;
}

#[cfg(test)]
mod crash_tests;
