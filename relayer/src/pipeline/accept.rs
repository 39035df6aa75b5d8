//! TLS handshake, certificate, binding: from a TCP connection to a [`Link`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cip22_wire::DeviceId;
use metrics::{counter, gauge};
use rustls_shangmi::{Pairing, Server};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, debug, field, info, info_span, warn};

use crate::clock::SharedClock;
use crate::config::Config;
use crate::edge::admission::{Admission, AdmissionLimits, Place};
use crate::edge::handshake::{self, Authenticated, Refused};
use crate::edge::http2::{self, Http2Limits};
use crate::edge::link::{Binding, Link};
use crate::edge::paced::Paced;
use crate::edge::tls;
use crate::error::with_causes;
use crate::gateway::Gateway;
use crate::limits::{CONNECTION_END_TIMEOUT_MS, REQUEST_BURST_MAX, REQUESTS_PER_SECOND_MAX};
use crate::net::{BoxStream, Listener};
use crate::pipeline::challenge;
use crate::session;

/// Whoever serves authenticated piles. [`Gateway`] does.
#[async_trait]
pub trait SessionHost: Send + Sync {
    /// Serves a session until it ends.
    async fn serve(self: Arc<Self>, link: Link);
    /// Answers one frame with one frame.
    async fn challenge_once(&self, device_id: DeviceId, request: &[u8]) -> Vec<u8>;
}

#[async_trait]
impl SessionHost for Gateway {
    async fn serve(self: Arc<Self>, link: Link) {
        session::serve(self, link).await;
    }

    async fn challenge_once(&self, device_id: DeviceId, request: &[u8]) -> Vec<u8> {
        challenge::answer_once(self, &device_id, request).await
    }
}

/// Limits of the accept loop.
#[derive(Debug, Clone, Copy)]
pub struct AcceptLimits {
    /// Who may connect, when.
    pub admission: AdmissionLimits,
    /// Time for a TLS handshake.
    pub handshake_timeout: Duration,
    /// Bytes a second read from a connection, TLS included.
    pub bytes_per_second_max: u32,
    /// Limits of HTTP/2 connections.
    pub http2: Http2Limits,
}

impl From<&Config> for AcceptLimits {
    fn from(config: &Config) -> Self {
        let handshake_timeout = Duration::from_millis(config.limits.handshake_timeout_ms);
        Self {
            admission: AdmissionLimits {
                connections_max: config.limits.connections_max,
                connections_per_address_max: config.limits.connections_per_address_max,
                connections_per_device_max: config.limits.connections_per_device_max,
                handshakes_max: config.limits.handshakes_max,
                handshakes_per_address_max: config.limits.handshakes_per_address_max,
                accepts_per_second_max: config.limits.accepts_per_second_max,
                turn_timeout: handshake_timeout,
            },
            handshake_timeout,
            bytes_per_second_max: config.limits.bytes_per_second_max,
            http2: Http2Limits {
                request_bytes_max: usize::from(config.gateway.max_payload) + FRAME_OVERHEAD_BYTES,
                request_timeout: handshake_timeout,
                idle_timeout: Duration::from_millis(config.limits.idle_timeout_ms),
                ping_interval: Duration::from_millis(config.limits.ping_interval_ms),
                ping_timeout: Duration::from_millis(config.limits.ping_timeout_ms),
                drain_timeout: Duration::from_millis(CONNECTION_END_TIMEOUT_MS),
                requests_per_second_max: REQUESTS_PER_SECOND_MAX,
                request_burst_max: REQUEST_BURST_MAX,
            },
        }
    }
}

/// Accepts connections until `stop` is cancelled, then returns once every connection has ended. Raw sessions are ended by
/// their host; HTTP/2 connections take no more streams. Dropping the future closes all that are left.
pub async fn run(
    listener: Box<dyn Listener>,
    tls: Server,
    host: Arc<dyn SessionHost>,
    clock: SharedClock,
    limits: AcceptLimits,
    stop: CancellationToken,
) {
    let admission = Admission::new(limits.admission, clock.clone());
    let shared = Arc::new(Shared { tls, host, clock, limits, stop, admission });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match shared.admission.enter(peer.ip()) {
                    Ok(place) => {
                        let span = info_span!(
                            "connection",
                            %peer,
                            device = field::Empty,
                            pairing = field::Empty,
                            binding = field::Empty
                        );
                        connections.spawn(shared.clone().connection(stream, peer, place).instrument(span));
                    }
                    Err(refused) => handshake_result(refused.label(), None),
                },
                Err(error) => {
                    // Most often the process is out of file descriptors: without a pause this would spin.
                    warn!(%error, "accept failed");
                    shared.clock.sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    info!(open = connections.len(), "no more connections are accepted");
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

type Tls = TlsStream<Paced<BoxStream>>;

struct Shared {
    tls: Server,
    host: Arc<dyn SessionHost>,
    clock: SharedClock,
    limits: AcceptLimits,
    stop: CancellationToken,
    admission: Arc<Admission>,
}

impl Shared {
    async fn connection(self: Arc<Self>, stream: BoxStream, peer: SocketAddr, place: Place) {
        let _open = OpenConnection::new();
        let Some(authenticated) = self.handshake(stream, &place).await else { return };
        let Authenticated { stream, pairing, device_id } = authenticated;
        Span::current().record("device", hex::encode(device_id)).record("pairing", tls::label(pairing));
        let binding = match stream.get_ref().1.alpn_protocol() {
            Some(protocol) if protocol == tls::ALPN_HTTP2 => Binding::Http2,
            // Only names that we offered are ever agreed on; without ALPN, frames are assumed.
            _ => Binding::Raw,
        };
        Span::current().record("binding", binding.label());
        let of_device = self.admission.enter_device(device_id);
        tokio::select! {
            () = self.serve(stream, device_id, binding, peer) => {}
            () = of_device.evicted.cancelled() => {
                counter!("connections_evicted_total").increment(1);
                info!("connection ended for newer ones of its device");
            }
        }
    }

    async fn serve(&self, stream: Tls, device_id: DeviceId, binding: Binding, peer: SocketAddr) {
        match binding {
            Binding::Raw => {
                let (reader, writer) = tokio::io::split(stream);
                let (reader, writer) = (Box::new(reader), Box::new(writer));
                self.host.clone().serve(Link { device_id, binding, peer, reader, writer }).await;
            }
            Binding::Http2 => {
                let (host, clock, stop) = (self.host.clone(), self.clock.clone(), self.stop.clone());
                let served =
                    http2::serve(stream, device_id, peer, host, clock, self.limits.http2, stop).await;
                counter!("http2_connections_ended_total", "why" => served.label()).increment(1);
                debug!(why = served.label(), "HTTP/2 connection ended");
            }
        }
    }

    async fn handshake(&self, stream: BoxStream, place: &Place) -> Option<Authenticated<Paced<BoxStream>>> {
        let _turn = tokio::select! {
            turn = place.turn() => match turn {
                Ok(turn) => turn,
                Err(refused) => {
                    handshake_result(refused.label(), None);
                    return None;
                }
            },
            () = self.stop.cancelled() => return None,
        };
        let stream = Paced::new(stream, self.clock.clone(), self.limits.bytes_per_second_max);
        let accepted = tokio::select! {
            accepted = handshake::accept(&self.tls, stream) => accepted,
            () = self.clock.sleep(self.limits.handshake_timeout) => {
                handshake_result("timeout", None);
                return None;
            }
            () = self.stop.cancelled() => return None,
        };
        match accepted {
            Ok(authenticated) => {
                handshake_result("accepted", Some(authenticated.pairing));
                Some(authenticated)
            }
            Err(refused) => {
                report_refusal(&refused);
                None
            }
        }
    }
}

/// Counts a connection as open for as long as it lives.
struct OpenConnection;

impl OpenConnection {
    fn new() -> Self {
        gauge!("connections_open").increment(1.0);
        Self
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!("connections_open").decrement(1.0);
    }
}

/// The pairing is known once the handshake has passed.
fn handshake_result(result: &'static str, pairing: Option<Pairing>) {
    let pairing = pairing.map_or("none", tls::label);
    counter!("handshakes_total", "result" => result, "pairing" => pairing).increment(1);
}

fn report_refusal(refused: &Refused) {
    handshake_result("refused", None);
    let cause = refused.label();
    counter!("handshake_errors_total", "cause" => cause).increment(1);
    let error = with_causes(refused);
    match refused {
        // A pile with a certificate of ours, or with parts of both pairings: somebody provisioned or meddled.
        Refused::Check(_) | Refused::Identity(_) => info!(cause, error, "connection refused"),
        _ => debug!(cause, error, "handshake failed"),
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "connection task failed");
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Header and CRC of a frame (protocol §2).
const FRAME_OVERHEAD_BYTES: usize = 8;
