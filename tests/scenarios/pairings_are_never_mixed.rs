//! What a gateway refuses of the pairings of TLS: each with its own cause in the metrics, and with its alert.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use cip22_fleet::pki::Issued;
use cip22_fleet::pki::shangmi::{Authority, Leaf};
use cip22_wire::message::Hello;
use cip22_wire::{FrameType, NackCode, frame};
use rustls::AlertDescription::{self, CertificateExpired, CertificateUnknown, HandshakeFailure, UnknownCA};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use rustls_shangmi::chain::PinnedRoot;
use rustls_shangmi::signature::TlsKey;
use system_tests::node::repository;
use system_tests::pile::{tls_stream, whole_frame};
use system_tests::relayer::Relayer;
use system_tests::shangmi::ShangMiFleet;
use system_tests::world::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn each_mixture_of_pairings_is_refused_with_its_own_cause_and_alert() {
    let world = World::new();
    let fleet = ShangMiFleet::new(&world, &[0, 1]);
    let launch = world.launch().with_fleet(fleet.dir());
    let (standard, shangmi) = (world.pile(2).tls(ALPN), fleet.pile(&world, 0).tls(ALPN));

    let relayer = launch.clone().with_tls("standard").start();
    let mut gate = Gate::new(&relayer);
    gate.refuses("ShangMi where it is not served", shangmi.clone(), "not_served", HandshakeFailure).await;
    drop(relayer);

    let relayer = launch.clone().with_tls("shangmi").start();
    let mut gate = Gate::new(&relayer);
    gate.refuses("standard where it is not served", standard.clone(), "not_served", HandshakeFailure).await;
    foreign_certificates(&mut gate, &world, &fleet).await;
    another_device(&relayer, &world, &fleet).await;
    early_data(&relayer, &world, &fleet).await;
    drop(relayer);

    let relayer = launch.with_tls("both").start();
    let mut gate = Gate::new(&relayer);
    for config in mixed_offers(&fleet, &shangmi) {
        gate.refuses("parts of both pairings", config, "mixed_offer", HandshakeFailure).await;
    }
    tls_1_2(&mut gate).await;
    let root = repository().join("rustls-shangmi/tests/pki");
    let other = showing(&standard, read_chain(&root.join("standard_device.pem")), standard_key(&root));
    gate.refuses("a standard certificate of another root", other, "unknown_issuer", UnknownCA).await;
    for mut pile in [fleet.pile(&world, 0), world.pile(2)] {
        pile.connect(relayer.ready.listen).await;
        pile.open().await;
    }
}

/// Chains that do not lead to the pinned root, or not now, or not for a pile.
async fn foreign_certificates(gate: &mut Gate<'_>, world: &World, fleet: &ShangMiFleet) {
    let pile = fleet.pile(world, 0);
    let own = pile.tls(ALPN);
    let authority = Authority::load(&fleet.dir().join("pki")).unwrap();
    let show = |issued: &Issued| showing(&own, chain(&issued.certificate), sm2_key(&issued.key));
    let leaf = Leaf::device(&pile.device_id).unwrap();

    let look_alike = Authority::generate().unwrap().issue(&leaf).unwrap();
    gate.refuses("a look-alike CA", show(&look_alike), "bad_chain", CertificateUnknown).await;

    let folder = repository().join("rustls-shangmi/tests/pki");
    let key = std::fs::read_to_string(folder.join("device_1.key")).unwrap();
    let other = showing(&own, read_chain(&folder.join("device_1.pem")), sm2_key(&key));
    gate.refuses("another root", other, "unknown_issuer", UnknownCA).await;

    let expired = Leaf { valid_s: (1_735_689_600, 1_738_368_000), ..leaf.clone() };
    let expired = authority.issue(&expired).unwrap();
    gate.refuses("an expired certificate", show(&expired), "expired", CertificateExpired).await;
    let later = Leaf { valid_s: (2_335_219_200, 2_366_841_600), ..leaf.clone() };
    let later = authority.issue(&later).unwrap();
    gate.refuses("a certificate of later", show(&later), "not_valid_yet", CertificateExpired).await;

    let gateway = authority.issue_gateway(&[1; 20], &["localhost".into()]).unwrap();
    gate.refuses("a gateway's certificate", show(&gateway), "bad_chain", CertificateUnknown).await;
    let unnamed = authority.issue(&Leaf { names: Vec::new(), ..leaf.clone() }).unwrap();
    gate.refuses("no name", show(&unnamed), "wrong_name", AlertDescription::BadCertificate).await;
    let foreign = authority.issue(&Leaf::client("urn:cip22:gateway:0x00").unwrap()).unwrap();
    gate.closes("a name of another kind", show(&foreign), "uri_foreign").await;

    // The chain is SM2's, the leaf's key P-256.
    let standard = world.pile(2);
    let key = std::fs::read(standard.certificate.with_extension("key")).unwrap();
    let key = rustls::crypto::ring::sign::any_ecdsa_type(&PrivateKeyDer::from_pem_slice(&key).unwrap());
    let spki = key.unwrap().public_key().unwrap().to_vec();
    let certificate = authority.certify(&leaf, &spki).unwrap();
    let p256 = showing(&own, chain(&certificate), sm2_key(&look_alike.key));
    gate.refuses("a P-256 key in an SM2 chain", p256, "key_algorithm", CertificateUnknown).await;
    let p256 = showing(&own, read_chain(&standard.certificate), sm2_key(&look_alike.key));
    gate.refuses("a certificate of the standard root", p256, "unknown_issuer", UnknownCA).await;

    // The certificate is right, but another key signs the handshake.
    let stolen = showing(&own, read_chain(&pile.certificate), sm2_key(&look_alike.key));
    gate.refuses("a certificate without its key", stolen, "bad_signature", AlertDescription::DecryptError)
        .await;
}

/// The handshake is over when a frame names another device: it is answered in the protocol.
async fn another_device(relayer: &Relayer, world: &World, fleet: &ShangMiFleet) {
    let mut pile = fleet.pile(world, 0);
    pile.connect(relayer.ready.listen).await;
    let hello = Hello { device_id: fleet.pile(world, 1).device_id, ..pile.hello_message() };
    pile.send(&hello).await;
    assert_eq!(pile.expect_nack().await, NackCode::DeviceMismatch);
}

/// A client that was given a ticket elsewhere sends HELLO as early data. It is thrown away: the session begins without it.
async fn early_data(relayer: &Relayer, world: &World, fleet: &ShangMiFleet) {
    let pile = fleet.pile(world, 0);
    let mut config = pile.tls(ALPN);
    config.enable_early_data = true;
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let config = Arc::new(config);
    take_ticket(&config, &generous_server(fleet));
    let address = relayer.ready.listen;
    let sent = (whole_frame(&pile.hello_message()), whole_frame(&pile.challenge_request().0));
    let answer = tokio::task::spawn_blocking(move || send_early(address, config, &sent.0, &sent.1));
    assert_eq!(answer.await.unwrap(), FrameType::Nack.code(), "HELLO never came");
}

#[allow(clippy::disallowed_methods, reason = "scenarios work on real sockets")]
fn send_early(address: SocketAddr, config: Arc<ClientConfig>, early: &[u8], after: &[u8]) -> u8 {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    let mut client = ClientConnection::new(config, name()).unwrap();
    client.early_data().expect("the ticket allows it").write_all(early).unwrap();
    while client.is_handshaking() {
        client.complete_io(&mut socket).unwrap();
    }
    assert!(!client.is_early_data_accepted());
    assert_eq!(client.handshake_kind(), Some(rustls::HandshakeKind::Full));
    let mut stream = rustls::Stream::new(&mut client, &mut socket);
    stream.write_all(after).unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "an answer comes first");
        bytes.extend_from_slice(&buffer[..count]);
        if let Some(parsed) = frame::parse(&bytes, u16::MAX).unwrap() {
            return parsed.frame_type;
        }
    }
}

/// A server with the gateway's certificate that lets clients send early data.
fn generous_server(fleet: &ShangMiFleet) -> Arc<ServerConfig> {
    let pki = fleet.dir().join("pki");
    let root = CertificateDer::from_pem_file(pki.join("sm2-root.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(pki.join("sm2-gateway.key")).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls_shangmi::provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(PinnedRoot::from_der(&root).unwrap()))
        .with_single_cert(read_chain(&pki.join("sm2-gateway.pem")), key)
        .unwrap();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.max_early_data_size = 4_096;
    Arc::new(config)
}

fn take_ticket(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) {
    let mut client = ClientConnection::new(client.clone(), name()).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    while client.is_handshaking() || server.is_handshaking() || client.tls13_tickets_received() == 0 {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).unwrap();
        }
        pass(&sent, |rest| server.read_tls(rest).unwrap());
        server.process_new_packets().unwrap();
        let mut sent = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut sent).unwrap();
        }
        pass(&sent, |rest| client.read_tls(rest).unwrap());
        client.process_new_packets().unwrap();
    }
}

fn pass(mut bytes: &[u8], mut read: impl FnMut(&mut &[u8]) -> usize) {
    while !bytes.is_empty() {
        assert_ne!(read(&mut bytes), 0);
    }
}

/// ClientHellos of one part of the standard pairing, the rest ShangMi's.
fn mixed_offers(fleet: &ShangMiFleet, shangmi: &ClientConfig) -> Vec<ClientConfig> {
    let (ring, sm) = (rustls::crypto::ring::default_provider(), rustls_shangmi::provider());
    let root = CertificateDer::from_pem_file(fleet.dir().join("pki/sm2-root.pem")).unwrap();
    let providers = [
        CryptoProvider { cipher_suites: ring.cipher_suites.clone(), ..sm.clone() },
        CryptoProvider { kx_groups: ring.kx_groups.clone(), ..sm },
        CryptoProvider { cipher_suites: rustls_shangmi::provider().cipher_suites, ..ring },
    ];
    let config = |provider| {
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinnedRoot::from_der(&root).unwrap()))
            .with_no_client_auth();
        config.client_auth_cert_resolver = shangmi.client_auth_cert_resolver.clone();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config
    };
    providers.into_iter().map(config).collect()
}

/// A ClientHello of TLS 1.2 (RFC 5246): ECDHE-ECDSA with AES-128-GCM, P-256, ecdsa_secp256r1_sha256.
#[allow(clippy::disallowed_methods, reason = "scenarios work on real sockets")]
async fn tls_1_2(gate: &mut Gate<'_>) {
    let extensions =
        [&[0, 10, 0, 4, 0, 2, 0, 23][..], &[0, 11, 0, 2, 1, 0], &[0, 13, 0, 4, 0, 2, 4, 3]].concat();
    let body =
        [&[3, 3][..], &[0x5a; 32], &[0, 0, 2, 0xc0, 0x2b, 1, 0, 0, extensions.len() as u8], &extensions];
    let body = body.concat();
    let length = body.len() as u8;
    let hello = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat();
    let mut socket = tokio::net::TcpStream::connect(gate.relayer.ready.listen).await.unwrap();
    socket.write_all(&hello).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    // Record: alert (21), version, length 2; fatal (2), protocol_version (70).
    assert_eq!((answer[0], &answer[3..]), (21, &[0, 2, 2, 70][..]));
    gate.counts("no_tls13").await;
}

/// A relayer, and how often it has refused for each cause.
struct Gate<'a> {
    relayer: &'a Relayer,
    refused: HashMap<&'static str, f64>,
}

impl<'a> Gate<'a> {
    fn new(relayer: &'a Relayer) -> Self {
        Self { relayer, refused: HashMap::new() }
    }

    async fn refuses(
        &mut self,
        what: &str,
        config: ClientConfig,
        cause: &'static str,
        alert: AlertDescription,
    ) {
        assert_eq!(self.refusal(config).await, Some(alert), "{what}");
        self.counts(cause).await;
    }

    /// The handshake is over: there is no alert for it any more.
    async fn closes(&mut self, what: &str, config: ClientConfig, cause: &'static str) {
        assert_eq!(self.refusal(config).await, None, "{what}");
        self.counts(cause).await;
    }

    async fn counts(&mut self, cause: &'static str) {
        let count = self.refused.entry(cause).or_default();
        *count += 1.0;
        let metric = format!("handshake_errors_total{{cause=\"{cause}\"}} ");
        self.relayer.wait_for_metric(&metric, |refused| refused == *count).await;
    }

    /// The alert that answers a client; in TLS 1.3 it may come after the client's own handshake is done.
    async fn refusal(&self, config: ClientConfig) -> Option<AlertDescription> {
        let error = match tls_stream(self.relayer.ready.listen, config).await {
            Ok(mut stream) => match stream.read(&mut [0; 1]).await {
                Ok(count) => {
                    assert_eq!(count, 0, "not a byte");
                    return None;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        match error.get_ref()?.downcast_ref()? {
            rustls::Error::AlertReceived(alert) => Some(*alert),
            other => panic!("no alert, but {other}"),
        }
    }
}

/// The same client with another chain and key.
fn showing(
    config: &ClientConfig,
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> ClientConfig {
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    config
}

fn sm2_key(pem: &str) -> Arc<dyn SigningKey> {
    Arc::new(TlsKey::from_der(&PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap())
}

fn standard_key(folder: &std::path::Path) -> Arc<dyn SigningKey> {
    let key = PrivateKeyDer::from_pem_file(folder.join("standard_device.key")).unwrap();
    rustls::crypto::ring::sign::any_ecdsa_type(&key).unwrap()
}

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap()
}

fn read_chain(path: &std::path::Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().collect::<Result<_, _>>().unwrap()
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

const ALPN: &[u8] = b"cip22/2";
