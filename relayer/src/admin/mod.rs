//! The operator's doors: a local socket for `relayer status`, HTTP for metrics and probes.

pub mod http;
pub mod socket;
