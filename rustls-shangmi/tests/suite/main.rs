//! Handshakes in memory: both pairings, resumption, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::result_large_err)]

mod accepted;
mod memory;
mod pki;
mod refused;
mod secrets;
