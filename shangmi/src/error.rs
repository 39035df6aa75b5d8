//! What the crate refuses.

use core::fmt;

/// Why an operation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The tag does not fit key, nonce, associated data and ciphertext.
    Authentication,
    /// The sequence number was opened before.
    Replayed {
        /// The number.
        sequence: u64,
    },
    /// The sequence number lies before the replay window: whether it was opened cannot be told any more.
    BehindWindow {
        /// The number.
        sequence: u64,
        /// The first number of the window.
        first: u64,
    },
    /// The key has sealed or opened as much as it may; a new session is due.
    NoncesExhausted,
    /// More bytes than the mode or the derivation allows.
    TooLong,
    /// Not a key of the algorithm.
    InvalidKey,
    /// Not a signature by the key, under the distinguishing id, over the message.
    InvalidSignature,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authentication => f.write_str("the tag is wrong"),
            Self::Replayed { sequence } => write!(f, "sequence number {sequence} was opened before"),
            Self::BehindWindow { sequence, first } => {
                write!(f, "sequence number {sequence} lies before the replay window, which starts at {first}")
            }
            Self::NoncesExhausted => f.write_str("the key has no unused nonce left"),
            Self::TooLong => f.write_str("too many bytes"),
            Self::InvalidKey => f.write_str("not a key of the algorithm"),
            Self::InvalidSignature => f.write_str("the signature is wrong"),
        }
    }
}

impl core::error::Error for Error {}
