//! The two bodies of an HTTP/2 stream as a reader and a writer. Flow-control credit is the backpressure: the peer gets back
//! what was read, not what arrived, and a writer waits for the peer's window without holding up other streams.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The request body. Its end is the end of the body; a reset is an error.
#[derive(Debug)]
pub struct BodyReader {
    body: RecvStream,
    chunk: Bytes,
}

impl BodyReader {
    /// Takes over a body.
    pub fn new(body: RecvStream) -> Self {
        Self { body, chunk: Bytes::new() }
    }
}

impl AsyncRead for BodyReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.chunk.is_empty() {
            match ready!(this.body.poll_data(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(chunk)) => this.chunk = chunk,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let count = this.chunk.len().min(buffer.remaining());
        buffer.put_slice(this.chunk.get(..count).unwrap_or_default());
        this.chunk.advance(count);
        Poll::Ready(this.body.flow_control().release_capacity(count).map_err(io::Error::other))
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        // What nobody will read any more would be missing from the connection's window for good.
        let _ = self.body.flow_control().release_capacity(self.chunk.len());
    }
}

/// The response body.
#[derive(Debug)]
pub struct BodyWriter {
    body: SendStream<Bytes>,
    ended: bool,
}

impl BodyWriter {
    /// Takes over a body.
    pub fn new(body: SendStream<Bytes>) -> Self {
        Self { body, ended: false }
    }
}

impl AsyncWrite for BodyWriter {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        this.body.reserve_capacity(bytes.len());
        let mut capacity = this.body.capacity();
        while capacity == 0 {
            capacity = match ready!(this.body.poll_capacity(context)) {
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                Some(Ok(capacity)) => capacity,
            };
        }
        let part = bytes.get(..capacity.min(bytes.len())).unwrap_or_default();
        this.body.send_data(Bytes::copy_from_slice(part), false).map_err(io::Error::other)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's own task writes what it was handed.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.ended = true;
        Poll::Ready(this.body.send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if !self.ended {
            self.body.send_reset(Reason::CANCEL);
        }
    }
}
