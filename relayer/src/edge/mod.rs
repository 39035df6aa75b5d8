//! The edge: TLS, certificates, bindings.

pub mod link;
