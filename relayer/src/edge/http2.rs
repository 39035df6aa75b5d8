//! HTTP/2 on the same port: `POST /session` carries the byte stream of `cip22/2`, `POST /auth/challenge` one ticket.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cip22_wire::DeviceId;
use h2::server::{Builder, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug};

use super::body::{BodyReader, BodyWriter};
use super::link::{Binding, Link};
use crate::clock::SharedClock;
use crate::net::Stream;
use crate::pipeline::accept::SessionHost;
use crate::session::allowance::Bucket;

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
    /// A PING is sent so often.
    pub ping_interval: Duration,
    /// Time for its answer; past it the peer is gone.
    pub ping_timeout: Duration,
    /// Time for the streams to end and the peer to go, once it was told GOAWAY.
    pub drain_timeout: Duration,
    /// Requests a second on average.
    pub requests_per_second_max: u32,
    /// Requests at once.
    pub request_burst_max: u32,
}

/// How a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Ended {
    /// The peer closed it.
    ByPeer,
    /// It was told to go, by a stop or for idleness, and went.
    Drained,
    /// It was told to go and did not in time.
    DrainTimeout,
    /// No HTTP/2 preface in time.
    NoPreface,
    /// A PING was not answered.
    PingTimeout,
    /// It made more requests than it may.
    TooManyRequests,
    /// The protocol was broken, or the connection.
    Error(h2::Error),
}

impl Ended {
    /// Label for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::ByPeer => "by_peer",
            Self::Drained => "drained",
            Self::DrainTimeout => "drain_timeout",
            Self::NoPreface => "no_preface",
            Self::PingTimeout => "ping_timeout",
            Self::TooManyRequests => "too_many_requests",
            Self::Error(error) if error.reason() == Some(Reason::ENHANCE_YOUR_CALM) => "enhance_your_calm",
            Self::Error(error) if error.is_io() => "lost",
            Self::Error(_) => "protocol_error",
        }
    }
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
///
/// A connection ends in two stages: GOAWAY with the largest stream id, so that requests on their way are still served; then,
/// once the peer has shown by answering a PING that it knows, GOAWAY with the last stream served.
pub async fn serve(
    stream: impl Stream + 'static,
    device_id: DeviceId,
    peer: SocketAddr,
    host: Arc<dyn SessionHost>,
    clock: SharedClock,
    limits: Http2Limits,
    stop: CancellationToken,
) -> Ended {
    let this = Arc::new(Connection { host, clock, limits, device_id, peer });
    let mut connection = tokio::select! {
        connection = builder().handshake::<_, Bytes>(stream) => match connection {
            Ok(connection) => connection,
            Err(error) => return Ended::Error(error),
        },
        () = this.clock.sleep(limits.request_timeout) => return Ended::NoPreface,
        () = stop.cancelled() => return Ended::Drained,
    };
    let mut streams = JoinSet::new();
    let ended = drive(&this, &mut connection, &mut streams, &stop).await;
    // With the connection gone, each stream sees its body end and finishes by itself.
    drop(connection);
    while streams.join_next().await.is_some() {}
    ended
}

type Http2<S> = h2::server::Connection<S, Bytes>;

async fn drive<S: Stream>(
    this: &Arc<Connection>,
    connection: &mut Http2<S>,
    streams: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Ended {
    let Connection { clock, limits, .. } = &**this;
    let mut requests =
        Bucket::full(limits.requests_per_second_max, limits.request_burst_max, clock.monotonic_ms());
    let mut session: Option<tokio::task::AbortHandle> = None;
    let mut unanswered = pin!(ping_unanswered(connection.ping_pong(), clock, limits));
    let mut idle = None;
    let mut draining: Option<Draining<'_>> = None;
    loop {
        if !streams.is_empty() {
            idle = None;
        } else if idle.is_none() {
            idle = Some(clock.sleep(limits.idle_timeout));
        }
        tokio::select! {
            accepted = connection.accept() => match accepted {
                None => return draining.map_or(Ended::ByPeer, |draining| draining.ended),
                Some(Err(error)) => return Ended::Error(error),
                Some(Ok((request, respond))) => {
                    if requests.take(clock.monotonic_ms()).is_err() {
                        // Opening and resetting streams is cheap for the peer and not for us.
                        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                        draining = Some(Draining::new(clock, limits, Ended::TooManyRequests));
                        continue;
                    }
                    let taken = session.as_ref().is_some_and(|task| !task.is_finished());
                    let is_session = this.clone().route(request, respond, taken, streams);
                    session = is_session.or(session);
                }
            },
            Some(_) = streams.join_next(), if !streams.is_empty() => {}
            () = &mut unanswered => return Ended::PingTimeout,
            () = async { if let Some(idle) = &mut idle { idle.await } }, if idle.is_some() && draining.is_none() => {
                connection.graceful_shutdown();
                draining = Some(Draining::new(clock, limits, Ended::Drained));
            }
            () = stop.cancelled(), if draining.is_none() => {
                connection.graceful_shutdown();
                draining = Some(Draining::new(clock, limits, Ended::Drained));
            }
            () = async { if let Some(draining) = &mut draining { (&mut draining.timeout).await } }, if draining.is_some() => {
                return match draining {
                    Some(Draining { ended: Ended::TooManyRequests, .. }) => Ended::TooManyRequests,
                    _ => Ended::DrainTimeout,
                };
            }
        }
    }
}

/// A connection that was told to go.
struct Draining<'a> {
    timeout: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
    ended: Ended,
}

impl<'a> Draining<'a> {
    fn new(clock: &'a SharedClock, limits: &Http2Limits, ended: Ended) -> Self {
        Self { timeout: clock.sleep(limits.drain_timeout), ended }
    }
}

/// Sends PINGs for as long as they are answered in time.
async fn ping_unanswered(pings: Option<PingPong>, clock: &SharedClock, limits: &Http2Limits) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        clock.sleep(limits.ping_interval).await;
        tokio::select! {
            pong = pings.ping(Ping::opaque()) => if pong.is_err() {
                // The connection is gone; whoever drives it learns why.
                return std::future::pending().await;
            },
            () = clock.sleep(limits.ping_timeout) => return,
        }
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(WINDOW_BYTES)
        // Every stream's window at once: one that is not read leaves the others theirs.
        .initial_connection_window_size(STREAMS_MAX * WINDOW_BYTES)
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

    /// Serves a `POST /session`: the session reads the request body and writes the response body.
    async fn session(self: Arc<Self>, body: RecvStream, mut respond: SendResponse<Bytes>) {
        let Ok(send) = respond.send_response(response(StatusCode::OK), false) else { return };
        let link = Link {
            device_id: self.device_id,
            binding: Binding::Http2,
            peer: self.peer,
            reader: Box::new(BodyReader::new(body)),
            writer: Box::new(BodyWriter::new(send)),
        };
        self.host.clone().serve(link).await;
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

/// Streams of a connection at a time: one session and a few challenges.
const STREAMS_MAX: u32 = 8;
/// What a stream may send before its session has read any of it; no more is ever held.
const WINDOW_BYTES: u32 = 32_768;
const HEADERS_BYTES_MAX: u32 = 8_192;
/// Little, because what is in it can no longer be overtaken by what is more urgent.
const SEND_BUFFER_BYTES_MAX: usize = 4_096;
const RESET_STREAMS_MAX: usize = 8;
