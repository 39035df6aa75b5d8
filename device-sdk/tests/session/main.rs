//! The session against a scripted gateway: whole flows, each rule for refusing, power cuts, arbitrary input.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod arbitrary_input;
#[cfg(feature = "bls")]
mod batches;
mod board;
mod charge;
mod epochs;
mod flow;
mod gateway;
mod link;
mod policies;
mod power_cut;
mod telemetry;
mod tickets;
mod vectors;
