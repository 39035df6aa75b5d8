//! The edge over real sockets and real TLS: who gets in, who does not, and what each binding carries.
#![allow(missing_docs)]

mod http2;
mod pairings;
mod pki;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cip22_fleet::pki::shangmi::Authority;
use cip22_relayer::clock::{SharedClock, SystemClock};
use cip22_relayer::edge::admission::AdmissionLimits;
use cip22_relayer::edge::http2::Http2Limits;
use cip22_relayer::edge::link::{Binding, Link};
use cip22_relayer::edge::tls::{ALPN_HTTP2, ALPN_RAW, Credentials};
use cip22_relayer::net::{BoxStream, Net, Tcp};
use cip22_relayer::pipeline::accept::{self, AcceptLimits, SessionHost};
use cip22_wire::DeviceId;
use pki::{Issued, Root};
use rustls_pki_types::ServerName;
use rustls_shangmi::{Pairing, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

const DEVICE: [u8; 32] = [0xab; 32];

#[tokio::test]
async fn a_pile_with_our_certificate_gets_a_session_of_its_device() {
    let edge = Edge::start().await;
    let mut stream = edge.connect(&edge.root.device(&DEVICE), Some(ALPN_RAW)).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(ALPN_RAW));
    assert_eq!(echo(&mut stream, b"frame").await.unwrap(), b"frame");
    drop(stream);
    assert_eq!(edge.stop().await, vec![(DEVICE, Binding::Raw)]);
}

#[tokio::test]
async fn frames_are_assumed_without_alpn() {
    let edge = Edge::start().await;
    let mut stream = edge.connect(&edge.root.device(&DEVICE), None).await.unwrap();
    assert_eq!(echo(&mut stream, b"frame").await.unwrap(), b"frame");
    drop(stream);
    assert_eq!(edge.stop().await, vec![(DEVICE, Binding::Raw)]);
}

#[tokio::test]
async fn an_unknown_alpn_name_is_refused() {
    let edge = Edge::start().await;
    assert!(edge.connect(&edge.root.device(&DEVICE), Some(b"http/1.1")).await.is_err());
    assert_eq!(edge.stop().await, vec![]);
}

#[tokio::test]
async fn tls_1_2_is_refused_with_a_protocol_version_alert() {
    let edge = Edge::start().await;
    let mut stream = Tcp.connect(&edge.address).await.unwrap();
    stream.write_all(&tls_1_2_client_hello()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    // Record: alert (21), version, length 2; fatal (2), protocol_version (70).
    assert_eq!((answer[0], &answer[3..]), (21, &[0, 2, 2, 70][..]));
    assert_eq!(edge.stop().await, vec![]);
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let edge = Edge::start().await;
    let device = edge.root.device(&DEVICE);
    let config = client_config(&edge.root.pem, &device, None);
    let mut anonymous =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(root_store(&edge.root.pem))
            .with_no_client_auth();
    anonymous.alpn_protocols = config.alpn_protocols;
    assert_eq!(edge.refusal(anonymous).await, Some(rustls::AlertDescription::CertificateRequired));
    assert_eq!(edge.stop().await, vec![]);
}

#[tokio::test]
async fn a_certificate_of_a_foreign_root_is_refused() {
    let edge = Edge::start().await;
    let foreign = Root::new().device(&DEVICE);
    assert!(edge.refusal(client_config(&edge.root.pem, &foreign, None)).await.is_some());
    assert_eq!(edge.stop().await, vec![]);
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let edge = Edge::start().await;
    let expired = edge.root.expired(&DEVICE);
    let alert = edge.refusal(client_config(&edge.root.pem, &expired, None)).await;
    assert_eq!(alert, Some(rustls::AlertDescription::CertificateExpired));
    assert_eq!(edge.stop().await, vec![]);
}

#[tokio::test]
async fn a_certificate_that_does_not_name_exactly_one_device_gets_no_session() {
    let edge = Edge::start().await;
    let name = pki::device_uri(&DEVICE);
    let gateway = format!("urn:cip22:gateway:0x{}", "cd".repeat(20));
    let shorter = &name[..name.len() - 2];
    for uris in [&[][..], &[gateway.as_str()], &["https://example.org"], &[&name, &name], &[shorter]] {
        let issued = edge.root.with_uris(uris);
        let mut stream = edge.connect(&issued, Some(ALPN_RAW)).await.unwrap();
        assert_eq!(echo(&mut stream, b"frame").await.unwrap_or_default(), b"", "{uris:?}");
    }
    assert_eq!(edge.stop().await, vec![]);
}

#[tokio::test]
async fn no_session_ticket_is_ever_sent() {
    let edge = Edge::start().await;
    let mut stream = edge.connect(&edge.root.device(&DEVICE), Some(ALPN_RAW)).await.unwrap();
    echo(&mut stream, b"frame").await.unwrap();
    assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    drop(stream);
    edge.stop().await;
}

#[tokio::test]
async fn a_client_that_would_resume_makes_a_full_handshake_with_its_certificate_each_time() {
    let edge = Edge::start().await;
    let mut config = client_config(&edge.root.pem, &edge.root.device(&DEVICE), Some(ALPN_RAW));
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    for _ in 0..3 {
        let mut stream = edge.connect_with(config.clone()).await.unwrap();
        echo(&mut stream, b"frame").await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
    assert_eq!(edge.stop().await.len(), 3);
}

#[tokio::test]
async fn slow_handshakes_of_one_address_do_not_use_up_the_turns() {
    let admission =
        AdmissionLimits { handshakes_max: 16, handshakes_per_address_max: 2, ..limits().admission };
    let edge = Edge::start_with(AcceptLimits { admission, ..limits() }).await;
    let _slow = (connect_from("127.0.0.2", &edge).await, connect_from("127.0.0.2", &edge).await);
    let _waits = connect_from("127.0.0.2", &edge).await;
    let mut stream = edge.connect(&edge.root.device(&DEVICE), Some(ALPN_RAW)).await.unwrap();
    assert_eq!(echo(&mut stream, b"frame").await.unwrap(), b"frame");
    drop(stream);
    assert_eq!(edge.stop().await, vec![(DEVICE, Binding::Raw)]);
}

#[tokio::test]
async fn the_oldest_connection_of_a_certificate_gives_way_to_a_newer_one() {
    let admission = AdmissionLimits { connections_per_device_max: 2, ..limits().admission };
    let edge = Edge::start_with(AcceptLimits { admission, ..limits() }).await;
    let device = edge.root.device(&DEVICE);
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = edge.connect(&device, Some(ALPN_RAW)).await.unwrap();
        assert_eq!(echo(&mut stream, b"frame").await.unwrap(), b"frame");
        open.push(stream);
    }
    assert_eq!(echo(&mut open[0], b"frame").await.unwrap_or_default(), b"");
    for stream in &mut open[1..] {
        assert_eq!(echo(stream, b"frame").await.unwrap(), b"frame");
    }
    drop(open);
    assert_eq!(edge.stop().await.len(), 3);
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_closed() {
    let edge =
        Edge::start_with(AcceptLimits { handshake_timeout: Duration::from_millis(50), ..limits() }).await;
    let mut silent = Tcp.connect(&edge.address).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
    edge.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed() {
    let admission = AdmissionLimits { connections_max: 1, ..limits().admission };
    let edge = Edge::start_with(AcceptLimits { admission, ..limits() }).await;
    let device = edge.root.device(&DEVICE);
    let mut first = edge.connect(&device, Some(ALPN_RAW)).await.unwrap();
    assert!(edge.connect(&device, Some(ALPN_RAW)).await.is_err());
    assert_eq!(echo(&mut first, b"frame").await.unwrap(), b"frame");
    drop(first);
    assert_eq!(edge.stop().await, vec![(DEVICE, Binding::Raw)]);
}

#[tokio::test]
async fn a_stop_ends_the_accept_loop_while_a_handshake_is_open() {
    let edge = Edge::start().await;
    let _silent = Tcp.connect(&edge.address).await.unwrap();
    assert_eq!(edge.stop().await, vec![]);
}

/// An accept loop whose sessions send back what they receive.
struct Edge {
    root: Root,
    authority: Authority,
    address: String,
    host: Arc<Echo>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Edge {
    async fn start() -> Self {
        Self::start_with(limits()).await
    }

    async fn start_with(limits: AcceptLimits) -> Self {
        Self::start_with_clock(limits, Arc::new(SystemClock::new())).await
    }

    async fn start_with_clock(limits: AcceptLimits, clock: SharedClock) -> Self {
        Self::serve(&[Pairing::Standard], limits, clock).await
    }

    /// Serves these pairings.
    async fn serve(pairings: &[Pairing], limits: AcceptLimits, clock: SharedClock) -> Self {
        let (root, authority) = (Root::new(), Authority::generate().unwrap());
        let configurations = pairings.iter().map(|pairing| {
            let (root, gateway) = match pairing {
                Pairing::Standard => (root.pem.clone(), root.gateway()),
                Pairing::ShangMi => (authority.root_certificate().unwrap(), pairings::gateway(&authority)),
            };
            let (certificate, key) = (gateway.certificate.as_bytes(), gateway.key.as_bytes());
            let credentials = Credentials::from_pem(*pairing, root.as_bytes(), certificate, key).unwrap();
            credentials.configuration().unwrap()
        });
        let server = Server::new(configurations).unwrap();
        let listener = Tcp.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (host, stop) = (Arc::new(Echo::default()), CancellationToken::new());
        let task = tokio::spawn(accept::run(listener, server, host.clone(), clock, limits, stop.clone()));
        Self { root, authority, address, host, stop, task }
    }

    async fn connect(&self, issued: &Issued, alpn: Option<&[u8]>) -> std::io::Result<TlsStream<BoxStream>> {
        self.connect_with(client_config(&self.root.pem, issued, alpn)).await
    }

    async fn connect_with(&self, config: rustls::ClientConfig) -> std::io::Result<TlsStream<BoxStream>> {
        let stream = Tcp.connect(&self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// The alert that answers a client; in TLS 1.3 it comes after the client's own handshake is done.
    async fn refusal(&self, config: rustls::ClientConfig) -> Option<rustls::AlertDescription> {
        let error = match self.connect_with(config).await {
            Ok(mut stream) => stream.read(&mut [0; 1]).await.unwrap_err(),
            Err(error) => error,
        };
        match error.get_ref()?.downcast_ref()? {
            rustls::Error::AlertReceived(alert) => Some(*alert),
            _ => None,
        }
    }

    /// Stops, and returns the sessions there were.
    async fn stop(self) -> Vec<(DeviceId, Binding)> {
        self.stop.cancel();
        self.task.await.unwrap();
        let served = self.host.served.lock().unwrap();
        served.clone()
    }
}

#[derive(Default)]
struct Echo {
    served: Mutex<Vec<(DeviceId, Binding)>>,
}

#[async_trait]
impl SessionHost for Echo {
    async fn serve(self: Arc<Self>, mut link: Link) {
        self.served.lock().unwrap().push((link.device_id, link.binding));
        // Ends with the connection, whichever way it goes.
        let _ = tokio::io::copy(&mut link.reader, &mut link.writer).await;
        let _ = link.writer.shutdown().await;
    }

    async fn challenge_once(&self, device_id: DeviceId, request: &[u8]) -> Vec<u8> {
        [&device_id[..], request].concat()
    }
}

fn limits() -> AcceptLimits {
    AcceptLimits {
        admission: AdmissionLimits {
            connections_max: 16,
            connections_per_address_max: 16,
            connections_per_device_max: 16,
            handshakes_max: 16,
            handshakes_per_address_max: 16,
            accepts_per_second_max: 10_000,
            turn_timeout: Duration::from_secs(20),
        },
        handshake_timeout: Duration::from_secs(20),
        bytes_per_second_max: 1 << 30,
        http2: Http2Limits {
            request_bytes_max: 1_000,
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(21),
            ping_interval: Duration::from_secs(22),
            ping_timeout: Duration::from_secs(23),
            drain_timeout: Duration::from_secs(24),
            requests_per_second_max: 1,
            request_burst_max: 1_000,
        },
    }
}

/// A silent connection from another address of this machine.
async fn connect_from(address: &str, edge: &Edge) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(edge.address.parse().unwrap()).await.unwrap()
}

async fn echo(stream: &mut TlsStream<BoxStream>, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).await?;
    Ok(back)
}

fn client_config(root: &str, issued: &Issued, alpn: Option<&[u8]>) -> rustls::ClientConfig {
    let (certificate, key) = (issued.certificate.as_bytes(), issued.key.as_bytes());
    let credentials = Credentials::from_pem(Pairing::Standard, root.as_bytes(), certificate, key).unwrap();
    rustls::ClientConfig::clone(credentials.client(alpn).unwrap().config())
}

fn root_store(pem: &str) -> rustls::RootCertStore {
    use rustls_pki_types::pem::PemObject;
    let mut store = rustls::RootCertStore::empty();
    store.add(rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    store
}

/// A ClientHello as a TLS 1.2 client sends it: no supported_versions, ECDHE-ECDSA with AES-128-GCM, P-256.
fn tls_1_2_client_hello() -> Vec<u8> {
    let extensions = [
        &[0x00, 0x0a, 0, 4, 0, 2, 0x00, 0x17][..], // supported_groups: secp256r1
        &[0x00, 0x0b, 0, 2, 1, 0],                 // ec_point_formats: uncompressed
        &[0x00, 0x0d, 0, 4, 0, 2, 0x04, 0x03],     // signature_algorithms: ecdsa_secp256r1_sha256
        &[0x00, 0x17, 0, 0],                       // extended_master_secret
    ]
    .concat();
    let mut body = vec![0x03, 0x03];
    body.extend([0x5a; 32]); // random
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]); // no session id; the suite; no compression
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let length = u16::try_from(body.len()).unwrap();
    let mut record = vec![0x16, 0x03, 0x01];
    record.extend((length + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend(length.to_be_bytes());
    record.extend(body);
    record
}
