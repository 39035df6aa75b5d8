//! An HTTP/2 client that records what comes over the wire, and the session stream on it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use cip22_wire::{FrameType, frame};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;

use crate::pile::{Pile, tls_stream};

/// A connection of one pile.
#[derive(Debug)]
pub struct Connection {
    /// Opens streams.
    pub requests: SendRequest<Bytes>,
    /// Ends with the connection.
    pub task: JoinHandle<Result<(), h2::Error>>,
    /// Every byte that came, inside TLS.
    pub received: Received,
}

/// Bytes that came.
#[derive(Debug, Clone, Default)]
pub struct Received(Arc<Mutex<Vec<u8>>>);

impl Connection {
    /// Connects with the certificate of `pile`; each stream starts with a window of `window_bytes`.
    pub async fn open(pile: &Pile, address: SocketAddr, window_bytes: u32) -> Self {
        let stream = tls_stream(address, pile.tls(b"h2")).await.expect("the gateway takes the connection");
        let received = Received::default();
        let recorder = Recorder { stream, received: received.clone() };
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window_bytes);
        let (requests, connection) = builder.handshake(recorder).await.expect("HTTP/2 begins");
        Self { requests, task: tokio::spawn(connection), received }
    }

    /// Starts a POST with the content type of CIP-22.
    pub async fn post(&self, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        let request = http::Request::post(format!("https://localhost{path}"))
            .header("content-type", "application/cip22")
            .body(())
            .expect("a request");
        let mut ready = self.requests.clone().ready().await.expect("a stream may be opened");
        ready.send_request(request, false).expect("a stream is opened")
    }

    /// Opens the session stream.
    pub async fn session(&self) -> SessionStream {
        let (response, send) = self.post("/session").await;
        let response = response.await.expect("an answer");
        assert_eq!(response.status(), 200);
        SessionStream { send, frames: Frames { body: response.into_body(), bytes: Vec::new() } }
    }

    /// One request of the challenge path; returns the answer's type and payload.
    pub async fn challenge(&self, request: &[u8]) -> (u8, Vec<u8>) {
        let (response, mut send) = self.post("/auth/challenge").await;
        send.send_data(Bytes::copy_from_slice(request), true).expect("the stream stands");
        let response = response.await.expect("an answer");
        assert_eq!(response.status(), 200);
        let (mut body, mut bytes) = (response.into_body(), Vec::new());
        while let Some(chunk) = body.data().await {
            let chunk = chunk.expect("the stream stands");
            body.flow_control().release_capacity(chunk.len()).expect("credit to give back");
            bytes.extend_from_slice(&chunk);
        }
        let parsed = frame::parse(&bytes, u16::MAX).expect("a frame").expect("a whole frame");
        (parsed.frame_type, parsed.payload.to_vec())
    }
}

impl Received {
    /// Every GOAWAY so far: last stream id and error code.
    pub fn goaways(&self) -> Vec<(u32, u32)> {
        goaways(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Every GOAWAY in a stream of HTTP/2 frames (RFC 9113 §6.8): last stream id and error code.
pub fn goaways(bytes: &[u8]) -> Vec<(u32, u32)> {
    let (mut rest, mut found) = (bytes, Vec::new());
    while let [a, b, c, kind, _flags, _, _, _, _, after @ ..] = rest {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).expect("fits");
        let Some((payload, next)) = after.split_at_checked(length) else { break };
        if *kind == GOAWAY {
            let word = |at: usize| payload.get(at..at + 4).and_then(|word| word.try_into().ok());
            let words = word(0).zip(word(4)).expect("a whole GOAWAY");
            found.push((u32::from_be_bytes(words.0) & MAX_STREAM_ID, u32::from_be_bytes(words.1)));
        }
        rest = next;
    }
    found
}

/// The two bodies of `POST /session`.
#[derive(Debug)]
pub struct SessionStream {
    /// The request body.
    pub send: SendStream<Bytes>,
    /// The response body.
    pub frames: Frames,
}

/// A response body as frames.
#[derive(Debug)]
pub struct Frames {
    body: RecvStream,
    bytes: Vec<u8>,
}

impl SessionStream {
    /// Sends a whole frame, whatever the window; it waits in the client until there is credit.
    pub fn send(&mut self, frame: Vec<u8>) {
        self.send.send_data(frame.into(), false).expect("the stream stands");
    }
}

impl Frames {
    /// The next frame; `None` at the end of the stream. Credit is given back for what is read.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(parsed) = frame::parse(&self.bytes, u16::MAX).expect("well-formed frames") {
                let found = (parsed.frame_type, parsed.payload.to_vec());
                let consumed = parsed.consumed;
                self.bytes.drain(..consumed);
                return Some(found);
            }
            let chunk = self.body.data().await?.ok()?;
            self.body.flow_control().release_capacity(chunk.len()).expect("credit to give back");
            self.bytes.extend_from_slice(&chunk);
        }
    }

    /// The next frame of this type; others are dropped.
    pub async fn expect(&mut self, wanted: FrameType) -> Vec<u8> {
        loop {
            let (found, payload) = self.next().await.expect("the stream goes on");
            if found == wanted.code() {
                return payload;
            }
        }
    }
}

/// Keeps a copy of what is read.
#[derive(Debug)]
struct Recorder<S> {
    stream: S,
    received: Received,
}

impl<S: AsyncRead + Unpin> AsyncRead for Recorder<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        let read = buffer.filled().get(before..).unwrap_or_default();
        this.received.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(read);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Recorder<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// The largest stream id: the first stage of GOAWAY.
pub const MAX_STREAM_ID: u32 = 0x7fff_ffff;
const GOAWAY: u8 = 7;
