#![doc = include_str!("../README.md")]
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

mod authorize;
#[cfg(feature = "bls")]
mod batch;
#[cfg(feature = "bls")]
pub mod bls;
mod charge;
mod checkpoint;
#[cfg(feature = "bls")]
mod closed;
mod dispatch;
mod epoch;
mod error;
mod event;
mod hal;
mod keep_alive;
mod policy;
mod provision;
mod reconnect;
mod record;
mod retransmit;
mod session;
pub mod sign;
mod telemetry;

pub use cip22_wire as wire;
pub use error::Error;
pub use event::Event;
pub use hal::{Clock, Entropy, EntropyError, Slot, Storage, StorageError};
pub use keep_alive::KeepAlive;
pub use provision::{EPOCH_SLACK, Provisioning, Settings};
pub use reconnect::Reconnect;
pub use record::RECORD_BYTES_MAX;
pub use session::{Charge, FRAME_BYTES_MAX, METER_BYTES_MAX, Session, WORKSPACE_BYTES, Workspace};
pub use telemetry::{Sample, TELEMETRY_WINDOW};
