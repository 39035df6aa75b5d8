//! Sockets, as the rest of the relayer sees them.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A boxed byte stream.
pub type BoxStream = Box<dyn Stream>;

/// A listening socket.
#[async_trait]
pub trait Listener: Debug + Send + Sync {
    /// Waits for the next connection; returns it with the peer's address. Safe to cancel.
    async fn accept(&self) -> io::Result<(BoxStream, SocketAddr)>;
    /// The address it listens on, with the port that the system chose if 0 was asked for.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A source of sockets.
#[async_trait]
pub trait Net: Debug + Send + Sync {
    /// Listens on `address` (`host:port`).
    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>>;
    /// Connects to `address` (`host:port`).
    async fn connect(&self, address: &str) -> io::Result<BoxStream>;
}

/// A shared network.
pub type SharedNet = Arc<dyn Net>;

/// TCP of the machine. Nagle's algorithm is off: frames are small and their answers are awaited.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

#[async_trait]
#[allow(clippy::disallowed_methods, reason = "this is the adapter that the rule sends everyone to")]
impl Net for Tcp {
    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(TcpListener(tokio::net::TcpListener::bind(address).await?)))
    }

    async fn connect(&self, address: &str) -> io::Result<BoxStream> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

#[derive(Debug)]
struct TcpListener(tokio::net::TcpListener);

#[async_trait]
impl Listener for TcpListener {
    async fn accept(&self) -> io::Result<(BoxStream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        // Fails only for a connection that is gone already; its reader will notice.
        let _ = stream.set_nodelay(true);
        Ok((Box::new(stream), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_cross_a_connection() {
        let listener = Tcp.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (near, far) = tokio::join!(Tcp.connect(&address), listener.accept());
        let (mut near, (mut far, _)) = (near.unwrap(), far.unwrap());
        near.write_all(b"pile").await.unwrap();
        near.shutdown().await.unwrap();
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"pile");
    }
}
