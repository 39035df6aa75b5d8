//! The journal: an append-only log of what happened, durable before anything depends on it.
//!
//! Its records are facts; [`crate::state::State`] is what they add up to, rebuilt by replay at start.

pub mod appender;
pub mod record;
pub mod redb_log;

use std::fmt::Debug;

pub use record::Record;

use crate::error::JournalError;

/// Position of a record in the journal; the first is 1.
pub type Lsn = u64;

/// A durable log with one owner. Implementations: [`redb_log::RedbLog`].
///
/// `append` and `set_cursor` carry the fencing token that [`Journal::acquire`] gave, so that a second process that
/// took over makes the first one's writes fail instead of interleaving with its own.
pub trait Journal: Debug + Send + Sync {
    /// Takes ownership; every earlier token is void afterwards.
    fn acquire(&self, owner: &str) -> Result<u64, JournalError>;
    /// Appends the records in order in one transaction and returns the position of the last, after fsync.
    fn append(&self, token: u64, records: &[Record]) -> Result<Lsn, JournalError>;
    /// Calls `visit` for each record from position `from` on, in order.
    fn replay(&self, from: Lsn, visit: &mut dyn FnMut(Lsn, Record)) -> Result<(), JournalError>;
    /// A named cursor, 0 if never set.
    fn cursor(&self, name: &str) -> Result<u64, JournalError>;
    /// Sets a named cursor, durably.
    fn set_cursor(&self, token: u64, name: &str, value: u64) -> Result<(), JournalError>;
    /// Position of the newest record, 0 if empty.
    fn last(&self) -> Result<Lsn, JournalError>;
}
