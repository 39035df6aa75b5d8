//! Tests of the wire: against the golden vectors at `tests/vectors/`, and of properties that hold for any input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod batches;
mod digests;
mod frames;
mod properties;
mod samples;
mod sealed_bodies;
mod session_keys;
mod tariffs;
mod telemetry;
mod vectors;
