//! Simulated piles on `device-sdk`, for the demo and as load; development certificates; and a report that counts what happened
//! from the piles' own logs and the chain alone, without the relayer.
#![deny(missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "simulated piles live on the real clock, disk and network; the seams are device-sdk's traits"
)]

pub mod battery;
pub mod bench_grant;
pub mod client;
pub mod clock;
pub mod deployment;
mod error;
pub mod exchange;
pub mod files;
mod frame_json;
pub mod frames;
pub mod journal;
pub mod link;
pub mod manifest;
pub mod misbehave;
pub mod pile;
pub mod pki;
pub mod possess;
pub mod provision;
pub mod report;
pub mod run;
pub mod stats;
pub mod storage;

pub use error::FleetError;
