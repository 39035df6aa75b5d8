use core::fmt;

use crate::{codes::NackCode, message::Nack};

/// The stream is unsynchronised: answer with [`FrameError::nack`] and close (§2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The first byte is not the magic.
    Magic,
    /// The codec byte is not this layout's.
    Codec,
    /// The version byte is not 2.0's.
    Version,
    /// The flags are not zero.
    Flags,
    /// The header states more payload than `limit` bytes.
    PayloadTooLong {
        /// What the receiver takes, bytes.
        limit: u16,
    },
    /// The checksum differs.
    Crc,
}

impl FrameError {
    /// The code that tells the peer.
    #[must_use]
    pub const fn code(&self) -> NackCode {
        match self {
            Self::Magic | Self::Codec | Self::Flags => NackCode::MalformedHeader,
            Self::Version => NackCode::UnsupportedVersion,
            Self::PayloadTooLong { .. } => NackCode::PayloadTooLong,
            Self::Crc => NackCode::BadCrc,
        }
    }

    /// The NACK to send; `frame_type` is 0 where the header cannot be trusted.
    #[must_use]
    pub fn nack(&self, frame_type: u8) -> Nack {
        let limit = match self {
            Self::PayloadTooLong { limit } => Some(u32::from(*limit)),
            _ => None,
        };
        Nack { frame_type, code: self.code().code(), field: None, limit, retry_ms: None }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("the frame does not begin with the magic"),
            Self::Codec => f.write_str("the frame states another codec"),
            Self::Version => f.write_str("the frame states another version"),
            Self::Flags => f.write_str("the flags of the frame are not zero"),
            Self::PayloadTooLong { limit } => write!(f, "the payload is longer than {limit} bytes"),
            Self::Crc => f.write_str("the checksum of the frame differs"),
        }
    }
}

impl core::error::Error for FrameError {}

/// One frame is refused: answer with [`DecodeError::nack`]; the session goes on (§2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// No message has this type.
    UnknownType,
    /// A field is cut short, or tags do not increase.
    MalformedTlv,
    /// An even tag that the message does not have.
    UnknownField {
        /// Its tag.
        field: u8,
    },
    /// A required field is absent.
    MissingField {
        /// Its tag.
        field: u8,
    },
    /// A field has another length than it may have.
    FieldLength {
        /// Its tag.
        field: u8,
        /// The only length, or the longest, bytes.
        limit: u16,
    },
}

impl DecodeError {
    /// The code that tells the peer.
    #[must_use]
    pub const fn code(&self) -> NackCode {
        match self {
            Self::UnknownType => NackCode::UnknownType,
            Self::MalformedTlv => NackCode::MalformedTlv,
            Self::UnknownField { .. } => NackCode::UnknownField,
            Self::MissingField { .. } => NackCode::MissingField,
            Self::FieldLength { .. } => NackCode::FieldLength,
        }
    }

    /// The NACK to send for a frame of `frame_type`.
    #[must_use]
    pub fn nack(&self, frame_type: u8) -> Nack {
        let (field, limit) = match self {
            Self::UnknownType | Self::MalformedTlv => (None, None),
            Self::UnknownField { field } | Self::MissingField { field } => (Some(*field), None),
            Self::FieldLength { field, limit } => (Some(*field), Some(u32::from(*limit))),
        };
        Nack { frame_type, code: self.code().code(), field, limit, retry_ms: None }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType => f.write_str("no message has this type"),
            Self::MalformedTlv => f.write_str("the payload is no sequence of fields with increasing tags"),
            Self::UnknownField { field } => write!(f, "field {field} is not known"),
            Self::MissingField { field } => write!(f, "field {field} is missing"),
            Self::FieldLength { field, limit } => {
                write!(f, "field {field} has another length than {limit} bytes allow")
            }
        }
    }
}

impl core::error::Error for DecodeError {}

/// The caller asked for a frame that cannot be written; nothing of `out` may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// `out` is shorter than the frame.
    BufferTooSmall,
    /// A byte string has a length that its field may not have.
    FieldLength {
        /// Its tag.
        field: u8,
        /// The longest, bytes.
        limit: u16,
    },
    /// The payload is longer than the length field can state.
    PayloadTooLong,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferTooSmall => f.write_str("the buffer is shorter than the frame"),
            Self::FieldLength { field, limit } => {
                write!(f, "field {field} has another length than {limit} bytes allow")
            }
            Self::PayloadTooLong => f.write_str("the payload is longer than a frame carries"),
        }
    }
}

impl core::error::Error for EncodeError {}
