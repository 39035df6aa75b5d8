//! Tests of the public interface.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[cfg(feature = "chain")]
mod chain;
mod derivation;
mod session;
mod signature;
mod sm4_gcm;
mod vectors;
