//! Handshakes and configurations that are refused, each with its own error.

use std::sync::Arc;

use pki_types::{CertificateDer, ServerName};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, ServerConfig, SignatureScheme,
    client::danger::ServerCertVerifier,
    crypto::CryptoProvider,
    server::{Acceptor, danger::ClientCertVerifier},
    sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey},
    version::TLS13,
};
use rustls_shangmi::{
    Client, Error, Pairing, Server,
    cipher_suite::TLS_SM4_GCM_SM3,
    key_exchange::CURVE_SM2,
    pairing::Offer,
    provider,
    server::Configuration,
    signature::{SM2SIG_SM3, TlsKey},
};
use shangmi::{chain::ChainError, signature::DEFAULT_ID};

use crate::{
    memory::{Failure, check, connect, connect_unchosen, handshake},
    pki::{
        AFTER, BEFORE, Clock, DEVICE_1, NOW, both_server, chain, gateway, key, options, options_at, root,
        shangmi_client, shangmi_configuration, shangmi_server, standard_client, standard_configuration,
    },
};

fn told(alert: AlertDescription) -> rustls::Error {
    rustls::Error::AlertReceived(alert)
}

/// What the server found amiss with the client's certificate, and the alert it sent.
fn refused_by_server(result: Result<crate::memory::Ends, Failure>) -> (CertificateError, AlertDescription) {
    match result.unwrap_err() {
        Failure::Server {
            error: rustls::Error::InvalidCertificate(error),
            alert: rustls::Error::AlertReceived(alert),
        } => (error, alert),
        other => panic!("{other:?}"),
    }
}

/// What the client found amiss with the server's, and the alert it sent.
fn refused_by_client(result: Result<crate::memory::Ends, Failure>) -> (CertificateError, AlertDescription) {
    match result.unwrap_err() {
        Failure::Client {
            error: rustls::Error::InvalidCertificate(error),
            alert: rustls::Error::AlertReceived(alert),
        } => (error, alert),
        other => panic!("{other:?}"),
    }
}

fn chain_error(error: &CertificateError) -> &ChainError {
    match error {
        CertificateError::Other(other) => other.0.downcast_ref().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Signs under the id of certificates.
#[derive(Clone, Debug)]
struct WrongId(Arc<shangmi::signature::SigningKey>);

impl SigningKey for WrongId {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        rustls::SignatureAlgorithm::Unknown(8)
    }
}

impl Signer for WrongId {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.0.sign(DEFAULT_ID, message).unwrap().to_der().as_ref().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SM2SIG_SM3
    }
}

fn wrong_id(name: &str) -> Arc<SingleCertAndKey> {
    let key = shangmi::signature::SigningKey::from_pkcs8_der(key(name).secret_der()).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain(name), Arc::new(WrongId(Arc::new(key))))))
}

fn client_config(
    provider: CryptoProvider,
    clock: &Clock,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_details(Arc::new(provider), Arc::new(clock.clone()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(root("root")))
}

#[test]
fn a_certificate_verify_under_the_id_of_certificates_is_refused() {
    let clock = Clock::at(NOW);
    let config = client_config(provider(), &clock).with_client_cert_resolver(wrong_id("device_1"));
    let client = Client::from_config(Pairing::ShangMi, config, Arc::new(root("root"))).unwrap();
    let (error, alert) = refused_by_server(handshake(&client, &shangmi_server()));
    assert_eq!((error, alert), (CertificateError::BadSignature, AlertDescription::DecryptError));

    let config = ServerConfig::builder_with_details(Arc::new(provider()), Arc::new(clock))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(root("root")))
        .with_cert_resolver(wrong_id("gateway"));
    let configuration = Configuration::from_config(Pairing::ShangMi, config, Arc::new(root("root"))).unwrap();
    let server = Server::new([configuration]).unwrap();
    let (error, alert) = refused_by_client(handshake(&shangmi_client("device_1"), &server));
    assert_eq!((error, alert), (CertificateError::BadSignature, AlertDescription::DecryptError));
}

#[test]
fn certificates_that_have_expired_or_are_not_yet_valid_are_refused() {
    let server_at = |seconds| Server::new([shangmi_configuration(&options_at(&Clock::at(seconds)))]).unwrap();
    let client_at = |seconds| {
        let options = options_at(&Clock::at(seconds));
        Client::shangmi(root("root"), chain("device_1"), key("device_1"), &options).unwrap()
    };
    for (error, alert) in [
        refused_by_server(handshake(&client_at(NOW), &server_at(AFTER))),
        refused_by_client(handshake(&client_at(AFTER), &server_at(NOW))),
    ] {
        assert!(matches!(error, CertificateError::ExpiredContext { .. }), "{error:?}");
        assert_eq!(alert, AlertDescription::CertificateExpired);
    }
    for (error, alert) in [
        refused_by_server(handshake(&client_at(NOW), &server_at(BEFORE))),
        refused_by_client(handshake(&client_at(BEFORE), &server_at(NOW))),
    ] {
        assert!(matches!(error, CertificateError::NotValidYetContext { .. }), "{error:?}");
        assert_eq!(alert, AlertDescription::CertificateExpired);
    }
}

#[test]
fn a_chain_to_another_root_is_refused() {
    let other =
        |name: &str| Client::shangmi(root(name), chain("device_1"), key("device_1"), &options()).unwrap();
    let (error, alert) = refused_by_client(handshake(&other("other_root"), &shangmi_server()));
    assert_eq!((error, alert), (CertificateError::UnknownIssuer, AlertDescription::UnknownCA));
    let configuration =
        Configuration::shangmi(root("other_root"), chain("gateway"), key("gateway"), &options());
    let server = Server::new([configuration.unwrap()]).unwrap();
    let (error, alert) = refused_by_server(handshake(&shangmi_client("device_1"), &server));
    assert_eq!((error, alert), (CertificateError::UnknownIssuer, AlertDescription::UnknownCA));
}

#[test]
fn a_ca_that_only_looks_like_the_roots_is_refused() {
    let forged = ChainError::Certificate(webpki::Error::InvalidSignatureForPublicKey);
    let client = shangmi_client("device_of_look_alike");
    let (error, alert) = refused_by_server(handshake(&client, &shangmi_server()));
    assert_eq!((chain_error(&error), alert), (&forged, AlertDescription::CertificateUnknown));
    let (of, with) = (chain("gateway_of_look_alike"), key("gateway_of_look_alike"));
    let configuration = Configuration::shangmi(root("root"), of, with, &options()).unwrap();
    let server = Server::new([configuration]).unwrap();
    let (error, _) = refused_by_client(handshake(&shangmi_client("device_1"), &server));
    assert_eq!(chain_error(&error), &forged);
}

#[test]
fn an_issuer_without_the_ca_bit_is_refused() {
    let client = shangmi_client("device_of_ca_without_ca_bit");
    let (error, _) = refused_by_server(handshake(&client, &shangmi_server()));
    assert_eq!(chain_error(&error), &ChainError::Certificate(webpki::Error::EndEntityUsedAsCa));
}

#[test]
fn another_name_and_another_devices_certificate_are_refused() {
    let (client, server) = (shangmi_client("device_2"), shangmi_server());
    let other = client.connect(ServerName::try_from("other.example").unwrap()).unwrap();
    let (error, alert) = refused_by_client(connect(other, &server));
    assert_eq!((error, alert), (CertificateError::NotValidForName, AlertDescription::BadCertificate));
    // The certificate is in order, but the device speaks for another.
    let ends = handshake(&client, &server).unwrap();
    let checked = check(&ends, &client, &server).1.unwrap();
    assert_eq!(
        checked.expect_uri(DEVICE_1),
        Err(Error::PeerName { expected: DEVICE_1.into(), found: Some("urn:cip22:device:02".into()) })
    );
}

#[test]
fn a_certificate_for_the_other_end_is_refused() {
    use webpki::Error as Webpki;
    let client = Client::shangmi(root("root"), chain("gateway"), key("gateway"), &options()).unwrap();
    let (error, _) = refused_by_server(handshake(&client, &shangmi_server()));
    let error = chain_error(&error);
    assert!(matches!(error, ChainError::Certificate(Webpki::RequiredEkuNotFoundContext(_))), "{error:?}");
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let config = client_config(provider(), &Clock::at(NOW)).with_no_client_auth();
    let client = Client::from_config(Pairing::ShangMi, config, Arc::new(root("root"))).unwrap();
    let refused = handshake(&client, &shangmi_server()).unwrap_err();
    assert_eq!(
        refused,
        Failure::Server {
            error: rustls::Error::NoCertificatesPresented,
            alert: told(AlertDescription::CertificateRequired)
        }
    );
}

#[test]
fn a_key_that_is_not_the_certificates_or_not_of_the_curve_is_refused() {
    let build = |with| Client::shangmi(root("root"), chain("device_1"), key(with), &options()).unwrap_err();
    assert!(matches!(build("device_2"), Error::Tls(rustls::Error::InconsistentKeys(_))));
    assert!(matches!(build("standard_device"), Error::Tls(rustls::Error::General(_))));
    TlsKey::from_der(&key("device_1")).unwrap();
}

#[test]
fn a_pairing_that_is_not_served_is_refused() {
    let refused = handshake(&standard_client(), &shangmi_server()).unwrap_err();
    let alert = told(AlertDescription::HandshakeFailure);
    assert_eq!(
        refused,
        Failure::ClientHello { error: Error::NotServed(Pairing::Standard), alert: alert.clone() }
    );
    let standard = Server::new([standard_configuration(&options())]).unwrap();
    let refused = handshake(&shangmi_client("device_1"), &standard).unwrap_err();
    assert_eq!(refused, Failure::ClientHello { error: Error::NotServed(Pairing::ShangMi), alert });
}

/// rustls's configuration for `ring`'s suites and groups.
fn ring() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// Each of the three parts from either pairing, but not all of one.
fn mixed_providers() -> [CryptoProvider; 3] {
    let suites = ring().cipher_suites;
    [
        CryptoProvider { kx_groups: ring().kx_groups, ..provider() },
        CryptoProvider { cipher_suites: suites.clone(), ..provider() },
        CryptoProvider { cipher_suites: suites, kx_groups: ring().kx_groups, ..provider() },
    ]
}

#[test]
fn a_mixed_offer_is_refused() {
    for mixed in mixed_providers() {
        let config = client_config(mixed, &Clock::at(NOW)).with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), gateway()).unwrap();
        let Failure::ClientHello { error: Error::MixedOffer(offer), alert } =
            connect(connection, &both_server()).unwrap_err()
        else {
            panic!("another refusal");
        };
        assert_eq!(alert, told(AlertDescription::HandshakeFailure));
        let Offer { shangmi, standard } = offer;
        assert!(shangmi.signature && !standard.signature);
        assert_eq!((shangmi.suite, shangmi.group), (!standard.suite, !standard.group));
        assert!(!shangmi.are_whole() && !standard.are_whole());
    }
}

#[test]
fn a_mixed_handshake_between_ends_of_rustls_alone_fails_the_check() {
    for mixed in mixed_providers() {
        let clock = Clock::at(NOW);
        let (chain_of, key_of) = (chain("device_1"), key("device_1"));
        let config = client_config(mixed.clone(), &clock).with_client_auth_cert(chain_of, key_of).unwrap();
        let connection = ClientConnection::new(Arc::new(config), gateway()).unwrap();
        let server = ServerConfig::builder_with_details(Arc::new(mixed), Arc::new(clock))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::new(root("root")))
            .with_single_cert(chain("gateway"), key("gateway"))
            .unwrap();
        let ends = connect_unchosen(connection, &Arc::new(server)).unwrap();
        let (of_client, of_server) = check(&ends, &shangmi_client("device_1"), &both_server());
        for refused in [of_client.unwrap_err(), of_server.unwrap_err()] {
            assert!(
                matches!(refused, Error::MixedPairing { peer_key: Some(Pairing::ShangMi), .. }),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn a_handshake_of_the_other_pairing_or_unfinished_fails_the_check() {
    let standard = standard_client();
    let ends = handshake(&standard, &both_server()).unwrap();
    let (expected, negotiated) = (Pairing::ShangMi, Pairing::Standard);
    let refused = shangmi_client("device_1").check(&ends.client, &gateway()).unwrap_err();
    assert_eq!(refused, Error::OtherPairing { expected, negotiated });
    assert_eq!(shangmi_server().check(&ends.server).unwrap_err(), Error::NotServed(negotiated));
    let unfinished = standard.connect(gateway()).unwrap();
    assert_eq!(standard.check(&unfinished, &gateway()).unwrap_err(), Error::HandshakeUnfinished);
}

#[test]
fn a_configuration_of_both_pairings_or_with_early_data_or_without_client_certificates_is_refused() {
    let clock = Clock::at(NOW);
    let server_config = |provider: CryptoProvider| {
        ServerConfig::builder_with_details(Arc::new(provider), Arc::new(clock.clone()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::new(root("root")))
            .with_cert_resolver(wrong_id("gateway"))
    };
    let server = |config, verifier: Arc<dyn ClientCertVerifier>| {
        Configuration::from_config(Pairing::ShangMi, config, verifier).map(drop)
    };
    let client = |config, verifier: Arc<dyn ServerCertVerifier>| {
        Client::from_config(Pairing::ShangMi, config, verifier).map(drop)
    };
    let all = CryptoProvider {
        cipher_suites: [vec![TLS_SM4_GCM_SM3], ring().cipher_suites].concat(),
        kx_groups: [vec![CURVE_SM2], ring().kx_groups].concat(),
        ..provider()
    };
    for mixed in mixed_providers().into_iter().chain([all]) {
        let refused = server(server_config(mixed.clone()), Arc::new(root("root")));
        assert_eq!(refused, Err(Error::MixedConfiguration(Pairing::ShangMi)));
        let refused = client(client_config(mixed, &clock).with_no_client_auth(), Arc::new(root("root")));
        assert_eq!(refused, Err(Error::MixedConfiguration(Pairing::ShangMi)));
    }
    let mut early = server_config(provider());
    assert_eq!(early.max_early_data_size, 0);
    early.max_early_data_size = 1;
    assert_eq!(server(early, Arc::new(root("root"))), Err(Error::EarlyData));
    let mut early = client_config(provider(), &clock).with_no_client_auth();
    early.enable_early_data = true;
    assert_eq!(client(early, Arc::new(root("root"))), Err(Error::EarlyData));
    let anyone = server(server_config(provider()), Arc::new(rustls::server::NoClientAuth));
    assert_eq!(anyone, Err(Error::ClientsUnauthenticated));
}

#[test]
fn a_client_that_would_send_early_data_finds_no_room_for_it() {
    let server = shangmi_server();
    let (chain_of, key_of) = (chain("device_1"), key("device_1"));
    let config = client_config(provider(), &Clock::at(NOW)).with_client_auth_cert(chain_of, key_of);
    let mut config = config.unwrap();
    config.enable_early_data = true;
    let config = Arc::new(config);
    for resumed in [false, true] {
        let mut client = ClientConnection::new(config.clone(), gateway()).unwrap();
        // The tickets allow none.
        assert!(client.early_data().is_none());
        let ends = connect(client, &server).unwrap();
        assert!(!ends.client.is_early_data_accepted());
        assert_eq!(server.check(&ends.server).unwrap().is_resumed(), resumed);
    }
}

#[test]
fn two_configurations_of_one_pairing_or_none_are_refused() {
    let twice = [shangmi_configuration(&options()), shangmi_configuration(&options())];
    assert_eq!(Server::new(twice).map(drop), Err(Error::Configurations));
    assert_eq!(Server::new([]).map(drop), Err(Error::Configurations));
}

#[test]
fn a_client_of_tls_1_2_is_refused() {
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &tls_1_2_client_hello()[..]).unwrap();
    let accepted = acceptor.accept().map_err(|_| "a ClientHello").unwrap().unwrap();
    let mut refused = both_server().accept(accepted).unwrap_err();
    assert_eq!(refused.error(), &Error::NoTls13);
    let mut alert = Vec::new();
    refused.write_alert(&mut alert).unwrap();
    assert_eq!(alert, [0x15, 3, 3, 0, 2, 2, 70], "fatal, protocol_version");
}

/// TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 over P-256 with ecdsa_secp256r1_sha256, and no supported_versions.
fn tls_1_2_client_hello() -> Vec<u8> {
    let extensions = [
        0, 10, 0, 4, 0, 2, 0, 23, // supported_groups
        0, 11, 0, 2, 1, 0, // ec_point_formats
        0, 13, 0, 4, 0, 2, 4, 3, // signature_algorithms
        0, 23, 0, 0, // extended_master_secret
    ];
    let mut body = vec![3, 3];
    body.extend([9; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0, 0, u8::try_from(extensions.len()).unwrap()]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    let mut hello = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    hello.extend(body);
    hello
}

#[test]
fn a_certificates_key_tells_its_pairing() {
    assert_eq!(Pairing::of_certificate(&CertificateDer::from(vec![0x30, 0])), None);
    assert_eq!(Pairing::of_certificate(&chain("device_1")[0]), Some(Pairing::ShangMi));
    assert_eq!(Pairing::of_certificate(&chain("standard_device")[0]), Some(Pairing::Standard));
}
