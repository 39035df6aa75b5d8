//! The edge: who may connect, TLS, certificates, bindings.

pub mod admission;
pub mod body;
pub mod handshake;
pub mod http2;
pub mod identity;
pub mod link;
pub mod paced;
pub mod tls;
