//! An authenticated connection of one pile, whatever its binding.

use std::fmt;
use std::net::SocketAddr;

use cip22_wire::DeviceId;
use tokio::io::{AsyncRead, AsyncWrite};

/// How a pile reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// Frames on the TLS stream (`cip22/2`).
    Raw,
    /// `POST /session` on HTTP/2.
    Http2,
}

impl Binding {
    /// Label for spans and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Http2 => "h2",
        }
    }
}

/// A connection whose certificate has been checked. Dropping it closes the connection.
pub struct Link {
    /// The device id of the certificate.
    pub device_id: DeviceId,
    /// Binding.
    pub binding: Binding,
    /// Peer address, for logs.
    pub peer: SocketAddr,
    /// Bytes from the pile.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// Bytes to the pile.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("device_id", &hex::encode(self.device_id))
            .field("binding", &self.binding)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
