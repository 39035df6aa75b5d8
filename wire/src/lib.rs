//! The wire of CIP-22 version 2.0: bytes on one side, types on the other, and the digests that get signed.
//!
//! `docs/protocol.md` is the normative text; each module names the section it implements. The crate is `no_std`, does not
//! allocate, holds no state and signs nothing. Every decoder is total: any bytes give a value or an error, never a panic.
//!
//! ```
//! use cip22_wire::{Body, Message, frame, message::Heartbeat};
//!
//! let mut buf = [0u8; 64];
//! let sent = Heartbeat { counter: 7, time_ms: 1_700_000_000_000 };
//! let len = sent.encode(&mut buf)?;
//! if let Some(parsed) = frame::parse(&buf[..len], 512)? {
//!     assert_eq!(Message::decode(parsed.frame_type, parsed.payload)?, Message::Heartbeat(sent));
//!     assert_eq!(parsed.consumed, len);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

pub mod batch_tree;
pub mod body;
mod codes;
mod crc;
pub mod digest;
mod error;
pub mod frame;
pub mod limits;
pub mod message;
pub mod sealed;
pub mod session_keys;
pub mod statement;
pub mod tariff;
pub mod telemetry;
mod tlv;

pub use codes::{ClaimKind, DenyReason, EndCause, Level, NackCode, RevokeCause, TrustKind};
pub use crc::crc8_itu;
pub use digest::keccak256;
pub use error::{DecodeError, EncodeError, FrameError};
pub use message::{Body, FrameType, Message};

/// Output of a hash, 32 bytes.
pub type Hash = [u8; 32];
/// Identity of a pile, 32 bytes; also in its certificate (§1).
pub type DeviceId = [u8; 32];
/// Identity of a battery, 32 bytes.
pub type BatteryId = [u8; 32];
/// Session id of one charge, chosen by the gateway, 16 bytes.
pub type Sid = [u8; 16];
/// secp256k1 ECDSA signature, r (32) ‖ yParityAndS (32) as EIP-2098, s in the lower half (§5).
pub type Signature = [u8; 64];
/// secp256k1 public key, SEC 1 compressed, 33 bytes.
pub type PublicKey = [u8; 33];
/// BLS12-381 signature in G1, compressed (ZCash form), 48 bytes.
pub type BlsSignature = [u8; 48];
/// Domain separation tag under which a root is co-signed.
pub const ROOT_DST: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
/// Domain separation tag of a proof of possession.
pub const POSSESSION_DST: &[u8] = b"BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
/// Ethereum address, 20 bytes.
pub type Address = [u8; 20];
