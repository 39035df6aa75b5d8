//! The pairings: each gateway takes those of its mode whole, and nothing in between.

use std::sync::Arc;

use cip22_fleet::pki::shangmi::Authority;
use cip22_relayer::clock::SystemClock;
use cip22_relayer::edge::link::Binding;
use cip22_relayer::edge::tls::{ALPN_HTTP2, ALPN_RAW, Credentials};
use cip22_relayer::net::{Net, Tcp};
use rustls::AlertDescription;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use rustls_shangmi::signature::TlsKey;
use rustls_shangmi::{Client, Pairing, cipher_suite, key_exchange};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::pki::Issued;
use super::{DEVICE, Edge, client_config, echo, limits, tls_1_2_client_hello};

#[tokio::test]
async fn a_shangmi_pile_gets_a_session_where_shangmi_is_served() {
    for pairings in [&[Pairing::ShangMi][..], &Pairing::ALL] {
        let edge = serve(pairings).await;
        let config = shangmi_config(&edge.authority, &device(&edge.authority), Some(ALPN_RAW));
        let mut stream = edge.connect_with(config).await.unwrap();
        assert_eq!(echo(&mut stream, b"frame").await.unwrap(), b"frame");
        let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
        let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
        assert_eq!((suite, group), (cipher_suite::ID, key_exchange::ID));
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
        drop(stream);
        assert_eq!(edge.stop().await, vec![(DEVICE, Binding::Raw)]);
    }
}

#[tokio::test]
async fn alpn_chooses_the_binding_of_a_shangmi_pile() {
    let edge = serve(&[Pairing::ShangMi]).await;
    let config = shangmi_config(&edge.authority, &device(&edge.authority), Some(ALPN_HTTP2));
    let stream = edge.connect_with(config).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(ALPN_HTTP2));
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post("https://localhost/auth/challenge");
    let request = request.header("content-type", "application/cip22").body(()).unwrap();
    let (answer, mut body) = requests.send_request(request, false).unwrap();
    body.send_data(b"request"[..].into(), true).unwrap();
    let mut answer = answer.await.unwrap().into_body();
    assert_eq!(answer.data().await.unwrap().unwrap(), [&DEVICE[..], b"request"].concat());
    drop((requests, answer));
    connection.await.unwrap().unwrap();
    assert_eq!(edge.stop().await, vec![], "no session stream");
}

#[tokio::test]
async fn a_standard_pile_gets_its_session_beside_shangmi_piles() {
    let edge = serve(&Pairing::ALL).await;
    let mut stream = edge.connect(&edge.root.device(&DEVICE), Some(ALPN_RAW)).await.unwrap();
    assert_eq!(echo(&mut stream, b"frame").await.unwrap(), b"frame");
    drop(stream);
    let config = shangmi_config(&edge.authority, &device(&edge.authority), Some(ALPN_RAW));
    let mut stream = edge.connect_with(config).await.unwrap();
    assert_eq!(echo(&mut stream, b"frame").await.unwrap(), b"frame");
    drop(stream);
    assert_eq!(edge.stop().await.len(), 2);
}

#[tokio::test]
async fn a_pile_of_a_pairing_that_is_not_served_is_told_so() {
    let edge = serve(&[Pairing::ShangMi]).await;
    let standard = client_config(&edge.root.pem, &edge.root.device(&DEVICE), Some(ALPN_RAW));
    assert_eq!(edge.refusal(standard).await, Some(AlertDescription::HandshakeFailure));
    assert_eq!(edge.stop().await, vec![]);

    let edge = serve(&[Pairing::Standard]).await;
    let shangmi = shangmi_config(&edge.authority, &device(&edge.authority), Some(ALPN_RAW));
    assert_eq!(edge.refusal(shangmi).await, Some(AlertDescription::HandshakeFailure));
    assert_eq!(edge.stop().await, vec![]);
}

#[tokio::test]
async fn an_offer_of_parts_of_both_pairings_is_refused() {
    let edge = serve(&Pairing::ALL).await;
    let standard = rustls::crypto::ring::default_provider();
    let shangmi = rustls_shangmi::provider();
    let mixed = [
        CryptoProvider { cipher_suites: standard.cipher_suites.clone(), ..shangmi.clone() },
        CryptoProvider { kx_groups: standard.kx_groups.clone(), ..shangmi },
    ];
    for provider in mixed {
        let client = shangmi_client(&edge.authority, &device(&edge.authority), Some(ALPN_RAW));
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(edge.authority_root()))
            .with_no_client_auth();
        config.client_auth_cert_resolver = client.config().client_auth_cert_resolver.clone();
        assert_eq!(edge.refusal(config).await, Some(AlertDescription::HandshakeFailure));
    }
    assert_eq!(edge.stop().await, vec![]);
}

#[tokio::test]
async fn a_tls_1_2_client_is_refused_in_every_mode() {
    for pairings in [&[Pairing::ShangMi][..], &Pairing::ALL] {
        let edge = serve(pairings).await;
        let mut socket = Tcp.connect(&edge.address).await.unwrap();
        socket.write_all(&tls_1_2_client_hello()).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        // Record: alert (21), version, length 2; fatal (2), protocol_version (70).
        assert_eq!((answer[0], &answer[3..]), (21, &[0, 2, 2, 70][..]));
        assert_eq!(edge.stop().await, vec![]);
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_even_under_the_same_names() {
    let edge = serve(&[Pairing::ShangMi]).await;
    let look_alike = device(&Authority::generate().unwrap());
    let config = shangmi_config(&edge.authority, &look_alike, Some(ALPN_RAW));
    assert_eq!(edge.refusal(config).await, Some(AlertDescription::CertificateUnknown));
    assert_eq!(edge.stop().await, vec![]);
}

#[tokio::test]
async fn a_certificate_of_the_other_pairing_is_worth_nothing() {
    let edge = serve(&Pairing::ALL).await;
    // The leaf has a P-256 key; the handshake is signed with an SM2 key all the same.
    let standard = edge.root.device(&DEVICE);
    let own = device(&edge.authority);
    let mut config = shangmi_config(&edge.authority, &own, Some(ALPN_RAW));
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let key = Arc::new(TlsKey::from_der(&key).unwrap());
    let chain = certificates(&standard.certificate);
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    assert!(edge.refusal(config).await.is_some());

    let mut config = client_config(&edge.root.pem, &standard, Some(ALPN_RAW));
    let key = PrivateKeyDer::from_pem_slice(standard.key.as_bytes()).unwrap();
    let key = rustls::crypto::ring::sign::any_ecdsa_type(&key).unwrap();
    let chain = certificates(&own.certificate);
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    assert!(edge.refusal(config).await.is_some());
    assert_eq!(edge.stop().await, vec![]);
}

async fn serve(pairings: &[Pairing]) -> Edge {
    Edge::serve(pairings, limits(), Arc::new(SystemClock::new())).await
}

impl Edge {
    fn authority_root(&self) -> rustls_shangmi::chain::PinnedRoot {
        let root = CertificateDer::from_pem_slice(self.authority.root_certificate().unwrap().as_bytes());
        rustls_shangmi::chain::PinnedRoot::from_der(&root.unwrap()).unwrap()
    }
}

/// The gateway's certificate.
pub(super) fn gateway(authority: &Authority) -> Issued {
    issued(&authority.issue_gateway(&[0xcd; 20], &["localhost".into()]).unwrap())
}

fn device(authority: &Authority) -> Issued {
    issued(&authority.issue_device(&DEVICE).unwrap())
}

fn issued(issued: &cip22_fleet::pki::Issued) -> Issued {
    Issued { certificate: issued.certificate.clone(), key: issued.key.to_string() }
}

fn shangmi_config(authority: &Authority, issued: &Issued, alpn: Option<&[u8]>) -> rustls::ClientConfig {
    rustls::ClientConfig::clone(shangmi_client(authority, issued, alpn).config())
}

fn shangmi_client(authority: &Authority, issued: &Issued, alpn: Option<&[u8]>) -> Client {
    let root = authority.root_certificate().unwrap();
    let (certificate, key) = (issued.certificate.as_bytes(), issued.key.as_bytes());
    let credentials = Credentials::from_pem(Pairing::ShangMi, root.as_bytes(), certificate, key).unwrap();
    credentials.client(alpn).unwrap()
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap()
}
