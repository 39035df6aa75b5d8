//! HTTP/2 on the same port: `POST /session` carries the byte stream of `cip22/2`, `POST /auth/challenge` one ticket.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cip22_wire::DeviceId;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug};

use super::link::{Binding, Link};
use crate::clock::SharedClock;
use crate::net::Stream;
use crate::pipeline::accept::SessionHost;

/// The only content type of either path.
pub const CONTENT_TYPE: &str = "application/cip22";

/// Limits of an HTTP/2 connection.
#[derive(Debug, Clone, Copy)]
pub struct Http2Limits {
    /// Largest body of `POST /auth/challenge`, bytes.
    pub request_bytes_max: usize,
    /// Time for the HTTP/2 preface and for one request of the challenge path.
    pub request_timeout: Duration,
    /// A connection without an open stream for this long is closed.
    pub idle_timeout: Duration,
}

/// What the streams of a connection share.
struct Connection {
    host: Arc<dyn SessionHost>,
    clock: SharedClock,
    limits: Http2Limits,
    device_id: DeviceId,
    peer: SocketAddr,
}

/// Serves a connection until its peer leaves, it idles, or `stop` is cancelled and its streams have ended.
pub async fn serve(
    stream: impl Stream + 'static,
    device_id: DeviceId,
    peer: SocketAddr,
    host: Arc<dyn SessionHost>,
    clock: SharedClock,
    limits: Http2Limits,
    stop: CancellationToken,
) -> Result<(), h2::Error> {
    let this = Arc::new(Connection { host, clock, limits, device_id, peer });
    let mut connection = tokio::select! {
        connection = builder().handshake::<_, Bytes>(stream) => connection?,
        () = this.clock.sleep(limits.request_timeout) => return Ok(()),
        () = stop.cancelled() => return Ok(()),
    };
    let mut streams = JoinSet::new();
    let mut session: Option<tokio::task::AbortHandle> = None;
    let mut draining = false;
    let ended = loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                None => break Ok(()),
                Some(Err(error)) => break Err(error),
                Some(Ok((request, respond))) => {
                    let taken = session.as_ref().is_some_and(|task| !task.is_finished());
                    let is_session = this.clone().route(request, respond, taken, &mut streams);
                    session = is_session.or(session);
                }
            },
            Some(_) = streams.join_next(), if !streams.is_empty() => {}
            // A peer that was told to go has the time of a request to do so.
            () = this.clock.sleep(if draining { limits.request_timeout } else { limits.idle_timeout }), if streams.is_empty() => {
                if draining {
                    break Ok(());
                }
                draining = true;
                connection.graceful_shutdown();
            }
            () = stop.cancelled(), if !draining => {
                draining = true;
                connection.graceful_shutdown();
            }
        }
    };
    // With the connection gone, each stream sees its body end and finishes by itself.
    drop(connection);
    while streams.join_next().await.is_some() {}
    ended
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(2 * WINDOW_BYTES)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX);
    builder
}

impl Connection {
    /// Starts what a request asks for; returns its task if it is a session.
    fn route(
        self: Arc<Self>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        session_taken: bool,
        streams: &mut JoinSet<()>,
    ) -> Option<tokio::task::AbortHandle> {
        let is_session = match check(&request, session_taken) {
            Ok(path) => matches!(path, Path::Session),
            Err(status) => {
                refuse(&mut respond, status);
                return None;
            }
        };
        let span = tracing::Span::current();
        let body = request.into_body();
        if is_session {
            return Some(streams.spawn(self.session(body, respond).instrument(span)));
        }
        streams.spawn(self.challenge(body, respond).instrument(span));
        None
    }

    /// Bridges the bodies of a `POST /session` to a [`Link`].
    async fn session(self: Arc<Self>, body: RecvStream, mut respond: SendResponse<Bytes>) {
        let Ok(send) = respond.send_response(response(StatusCode::OK), false) else { return };
        let (near, far) = tokio::io::duplex(BRIDGE_BYTES);
        let (reader, writer) = tokio::io::split(near);
        let link = Link {
            device_id: self.device_id,
            binding: Binding::Http2,
            peer: self.peer,
            reader: Box::new(reader),
            writer: Box::new(writer),
        };
        let mut pump = pin!(pump(body, send, far));
        let mut session = pin!(self.host.clone().serve(link));
        tokio::select! {
            // The peer left: the session reads the end and finishes in its own way.
            () = &mut pump => session.await,
            // The session ended: what it wrote last still leaves, if the peer reads it.
            () = &mut session => tokio::select! {
                () = &mut pump => {}
                () = self.clock.sleep(self.limits.request_timeout) => {}
            },
        }
    }

    /// Answers a `POST /auth/challenge`.
    async fn challenge(self: Arc<Self>, body: RecvStream, mut respond: SendResponse<Bytes>) {
        let answer = async {
            let request = read_all(body, self.limits.request_bytes_max).await?;
            Ok(self.host.challenge_once(self.device_id, &request).await)
        };
        let answer = tokio::select! {
            answer = answer => answer,
            () = self.clock.sleep(self.limits.request_timeout) => Err(StatusCode::REQUEST_TIMEOUT),
        };
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(status) => return refuse(&mut respond, status),
        };
        let mut head = response(StatusCode::OK);
        head.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        let sent = respond.send_response(head, false).and_then(|mut send| send.send_data(bytes.into(), true));
        if let Err(error) = sent {
            debug!(%error, "challenge not delivered");
        }
    }
}

enum Path {
    Session,
    Challenge,
}

fn check(request: &Request<RecvStream>, session_taken: bool) -> Result<Path, StatusCode> {
    let path = match request.uri().path() {
        "/session" => Path::Session,
        "/auth/challenge" => Path::Challenge,
        _ => return Err(StatusCode::NOT_FOUND),
    };
    if request.method() != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    if !is_cip22(request.headers()) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    if matches!(path, Path::Session) && session_taken {
        return Err(StatusCode::CONFLICT);
    }
    Ok(path)
}

fn is_cip22(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let one =
        values.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(CONTENT_TYPE.as_bytes()));
    one && values.next().is_none()
}

fn refuse(respond: &mut SendResponse<Bytes>, status: StatusCode) {
    let mut response = Response::new(());
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    if let Err(error) = respond.send_response(response, true) {
        debug!(%error, %status, "refusal not delivered");
    }
}

fn response(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}

async fn read_all(mut body: RecvStream, bytes_max: usize) -> Result<Vec<u8>, StatusCode> {
    let mut all = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|_| StatusCode::BAD_REQUEST)?;
        if all.len() + chunk.len() > bytes_max {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        all.extend_from_slice(&chunk);
        body.flow_control().release_capacity(chunk.len()).map_err(|_| StatusCode::BAD_REQUEST)?;
    }
    Ok(all)
}

/// Moves bytes between the two bodies and the session's pipe until the response is complete or the stream is reset.
/// Takes the pipe, so that the session sees it closed when this returns.
async fn pump(body: RecvStream, send: SendStream<Bytes>, far: DuplexStream) {
    let (reader, writer) = tokio::io::split(far);
    tokio::select! {
        () = inbound(body, writer) => {}
        () = outbound(reader, send) => {}
    }
}

/// Returns only when the request was reset. Once the body ended, or the session reads no more, the response decides.
async fn inbound(mut body: RecvStream, mut writer: impl tokio::io::AsyncWrite + Unpin) {
    while let Some(chunk) = body.data().await {
        let Ok(chunk) = chunk else { return };
        if writer.write_all(&chunk).await.is_err() {
            return std::future::pending().await;
        }
        // Only what the session's pipe has taken is given back to the peer: that is the backpressure.
        if body.flow_control().release_capacity(chunk.len()).is_err() {
            return;
        }
    }
    // The pipe may be closed already; then there is no one to tell.
    let _ = writer.shutdown().await;
    std::future::pending::<()>().await;
}

/// Returns when the response is complete or the peer takes no more of it.
async fn outbound(mut reader: impl tokio::io::AsyncRead + Unpin, mut send: SendStream<Bytes>) {
    let mut buffer = BytesMut::with_capacity(BRIDGE_BYTES);
    loop {
        let read = tokio::select! {
            read = reader.read_buf(&mut buffer) => read,
            _ = poll_fn(|context| send.poll_reset(context)) => return,
        };
        match read {
            Ok(0) | Err(_) => {
                // A stream that is gone needs no end.
                let _ = send.send_data(Bytes::new(), true);
                return;
            }
            Ok(_) => {}
        }
        while !buffer.is_empty() {
            send.reserve_capacity(buffer.len());
            let Some(Ok(capacity)) = poll_fn(|context| send.poll_capacity(context)).await else { return };
            let part = buffer.split_to(capacity.min(buffer.len())).freeze();
            if send.send_data(part, false).is_err() {
                send.send_reset(Reason::CANCEL);
                return;
            }
        }
        buffer.reserve(BRIDGE_BYTES);
    }
}

/// Streams of a connection at a time: one session and a few challenges.
const STREAMS_MAX: u32 = 8;
const WINDOW_BYTES: u32 = 65_535;
const HEADERS_BYTES_MAX: u32 = 8_192;
const SEND_BUFFER_BYTES_MAX: usize = 65_536;
const RESET_STREAMS_MAX: usize = 8;
const BRIDGE_BYTES: usize = 16_384;
