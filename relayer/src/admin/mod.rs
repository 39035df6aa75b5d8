//! The operator's doors: a local socket for the commands of `relayer`, HTTP for metrics and probes.
//!
//! A command is a variant of [`request::Request`], a handler in a file of its own here, an arm in [`operator::Operator`], and its
//! output for people in `cli`.

pub mod backup;
pub mod client;
pub mod devices;
pub mod http;
pub mod operator;
pub mod policy;
pub mod request;
pub mod socket;
pub mod tx;
pub mod why;
