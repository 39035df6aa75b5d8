//! What the board gives the session: durable records, a clock, randomness.

/// Durable records of bounded size, one per [`Slot`]; flash, EEPROM or a file.
pub trait Storage {
    /// Replaces the record of `slot`. At return the record is durable; a power cut leaves the old record or the new one, whole.
    ///
    /// # Errors
    /// The record may be the old one or the new one.
    fn store(&mut self, slot: Slot, record: &[u8]) -> Result<(), StorageError>;

    /// Reads the record of `slot` to the start of `record` and returns its length, bytes; 0 if none was ever stored.
    /// `record` is [`RECORD_BYTES_MAX`](crate::RECORD_BYTES_MAX) long, which no stored record exceeds.
    ///
    /// # Errors
    /// The record cannot be read.
    fn load(&mut self, slot: Slot, record: &mut [u8]) -> Result<usize, StorageError>;
}

/// A monotonic clock.
pub trait Clock {
    /// Milliseconds since any fixed moment; never decreases while the pile runs.
    fn now_ms(&self) -> u64;
}

/// A cryptographically secure source of random bytes.
pub trait Entropy {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// The source failed its health test or is not seeded; `bytes` must not be used.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// Which record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Slot {
    /// The open epoch and the statement chain in it.
    Chain,
    /// The newest checkpoint signed for each of the last batteries.
    Checkpoints,
    /// The charge under way.
    Charge,
    /// A policy, first place.
    Policy0,
    /// A policy, second place.
    Policy1,
    /// A policy, third place.
    Policy2,
    /// A policy, fourth place.
    Policy3,
    /// The last closed epochs and the root signed of each; used with a BLS key only.
    Closed,
}

impl Slot {
    /// Every slot.
    pub const ALL: [Self; 8] = [
        Self::Chain,
        Self::Checkpoints,
        Self::Charge,
        Self::Policy0,
        Self::Policy1,
        Self::Policy2,
        Self::Policy3,
        Self::Closed,
    ];

    /// Places for policies.
    pub(crate) const POLICIES: [Self; 4] = [Self::Policy0, Self::Policy1, Self::Policy2, Self::Policy3];

    /// A number below `ALL.len()`, the same in every version.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Chain => 0,
            Self::Checkpoints => 1,
            Self::Charge => 2,
            Self::Policy0 => 3,
            Self::Policy1 => 4,
            Self::Policy2 => 5,
            Self::Policy3 => 6,
            Self::Closed => 7,
        }
    }
}

/// The storage failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageError;

/// The entropy source failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntropyError;
