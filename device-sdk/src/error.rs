use core::fmt;

use cip22_wire::EncodeError;

use crate::hal::{EntropyError, Slot, StorageError};

/// Why a command or a signature was refused. Nothing was sent or changed unless the variant says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A buffer is full: poll outputs and events, wait for answers, then repeat.
    WouldBlock,
    /// An authorization or a charge is under way already.
    Busy,
    /// No charge is under way.
    NoCharge,
    /// The charge ended with other values; a second CHARGE_END would contradict the first.
    ChargeEnded,
    /// Energy or minutes are below what was reported before.
    MeterDecreased,
    /// No battery was adopted.
    NoBattery,
    /// `time_ms` is below that of the battery's record before.
    TimeDecreased,
    /// A number cannot grow any more.
    Exhausted,
    /// No root of that epoch was signed, or it is kept no more.
    NoRoot,
    /// The meter record is longer than `limit` bytes.
    MeterTooLong {
        /// The longest, bytes.
        limit: u16,
    },
    /// Storage refused; the operation may be repeated.
    Storage,
    /// A stored record is not one that this crate wrote.
    CorruptRecord(Slot),
    /// The entropy source failed.
    Entropy,
    /// A frame does not fit the wire.
    Encode(EncodeError),
    /// The bytes are no secret key.
    InvalidKey,
    /// The bytes are no point of the curve.
    InvalidPoint,
    /// The bytes are no signature, or nobody's over this digest.
    InvalidSignature,
    /// A setting is outside its bounds.
    InvalidSetting,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => f.write_str("a buffer is full"),
            Self::Busy => f.write_str("an authorization or a charge is under way"),
            Self::NoCharge => f.write_str("no charge is under way"),
            Self::ChargeEnded => f.write_str("the charge ended with other values"),
            Self::MeterDecreased => f.write_str("energy or minutes decreased"),
            Self::NoBattery => f.write_str("no battery was adopted"),
            Self::TimeDecreased => f.write_str("time_ms decreased"),
            Self::Exhausted => f.write_str("a number cannot grow any more"),
            Self::NoRoot => f.write_str("no signed root of that epoch is kept"),
            Self::MeterTooLong { limit } => write!(f, "the meter record is longer than {limit} bytes"),
            Self::Storage => f.write_str("storage refused"),
            Self::CorruptRecord(slot) => write!(f, "the record in slot {} is corrupt", slot.number()),
            Self::Entropy => f.write_str("the entropy source failed"),
            Self::Encode(error) => write!(f, "a frame does not fit the wire: {error}"),
            Self::InvalidKey => f.write_str("the bytes are no secret key"),
            Self::InvalidPoint => f.write_str("the bytes are no point of the curve"),
            Self::InvalidSignature => f.write_str("the signature is not valid"),
            Self::InvalidSetting => f.write_str("a setting is outside its bounds"),
        }
    }
}

impl core::error::Error for Error {}

impl From<StorageError> for Error {
    fn from(_: StorageError) -> Self {
        Self::Storage
    }
}

impl From<EntropyError> for Error {
    fn from(_: EntropyError) -> Self {
        Self::Entropy
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}
