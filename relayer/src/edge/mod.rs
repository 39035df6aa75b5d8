//! The edge: TLS, certificates, bindings.

pub mod http2;
pub mod identity;
pub mod link;
pub mod tls;
