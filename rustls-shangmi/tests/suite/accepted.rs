//! Handshakes that succeed.

use std::time::Duration;

use pki_types::UnixTime;
use rustls::{
    CertificateError, HandshakeKind, NamedGroup, ProtocolVersion, server::danger::ClientCertVerifier,
};
use rustls_shangmi::{Client, Error, Options, Pairing, Server, cipher_suite, key_exchange};

use crate::{
    memory::{check, connect, handshake},
    pki::{
        AFTER, Clock, DEVICE_1, NOW, both_server, chain, gateway, key, options_at, root, shangmi_client,
        shangmi_configuration, shangmi_server, standard_client,
    },
};

#[test]
fn shangmi_with_certificates_of_both_ends() {
    let (client, server) = (shangmi_client("device_1"), shangmi_server());
    let mut ends = handshake(&client, &server).unwrap();
    for state in [&ends.client as &rustls::CommonState, &ends.server] {
        assert_eq!(state.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(state.negotiated_cipher_suite().unwrap().suite(), cipher_suite::ID);
        assert_eq!(state.negotiated_key_exchange_group().unwrap().name(), key_exchange::ID);
        assert_eq!(state.handshake_kind(), Some(HandshakeKind::Full));
    }
    let (of_client, of_server) = check(&ends, &client, &server);
    let (of_client, of_server) = (of_client.unwrap(), of_server.unwrap());
    assert_eq!((of_client.pairing(), of_server.pairing()), (Pairing::ShangMi, Pairing::ShangMi));
    assert_eq!(of_server.certificates(), chain("device_1"));
    assert_eq!(of_client.certificates(), chain("gateway"));
    of_server.expect_uri(DEVICE_1).unwrap();
    assert!(!of_server.is_resumed());
    ends.exchange();
}

#[test]
fn a_server_of_both_pairings_serves_each_client_its_own() {
    let server = both_server();
    for (client, pairing) in
        [(shangmi_client("device_1"), Pairing::ShangMi), (standard_client(), Pairing::Standard)]
    {
        let mut ends = handshake(&client, &server).unwrap();
        let (of_client, of_server) = check(&ends, &client, &server);
        assert_eq!(of_client.unwrap().pairing(), pairing);
        assert_eq!(of_server.unwrap().pairing(), pairing);
        ends.exchange();
    }
}

#[test]
fn a_session_is_resumed_with_a_new_key_exchange_and_the_certificates_verified_again() {
    let (client, server) = (shangmi_client("device_1"), shangmi_server());
    drop(handshake(&client, &server).unwrap());
    let mut ends = handshake(&client, &server).unwrap();
    let group: NamedGroup = ends.server.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, key_exchange::ID);
    let (of_client, of_server) = check(&ends, &client, &server);
    let (of_client, of_server) = (of_client.unwrap(), of_server.unwrap());
    assert!(of_client.is_resumed() && of_server.is_resumed());
    of_server.expect_uri(DEVICE_1).unwrap();
    ends.exchange();
}

#[test]
fn a_session_resumed_after_its_certificate_expired_fails_the_servers_check() {
    let name = "device_that_expires";
    let not_after = end_of(name);
    let clock = Clock::at(not_after - 60);
    let options = options_at(&clock);
    let server = Server::new([shangmi_configuration(&options)]).unwrap();
    let client = Client::shangmi(root("root"), chain(name), key(name), &options).unwrap();
    let ends = handshake(&client, &server).unwrap();
    server.check(&ends.server).unwrap();
    // rustls resumes without another look at the certificate.
    clock.set(not_after + 60);
    let ends = handshake(&client, &server).unwrap();
    assert_eq!(ends.server.handshake_kind(), Some(HandshakeKind::Resumed));
    let (of_client, of_server) = check(&ends, &client, &server);
    of_client.unwrap();
    let Error::Tls(rustls::Error::InvalidCertificate(refused)) = of_server.unwrap_err() else {
        panic!("another refusal");
    };
    assert!(matches!(refused, CertificateError::ExpiredContext { .. }), "{refused:?}");
}

/// When the certificate ends, in seconds since 1970.
fn end_of(name: &str) -> u64 {
    let chain = chain(name);
    let (end_entity, intermediates) = chain.split_first().unwrap();
    let late = UnixTime::since_unix_epoch(Duration::from_secs(AFTER));
    match root("root").verify_client_cert(end_entity, intermediates, late) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            not_after.as_secs()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_sessions_nothing_is_resumed() {
    let options = Options { sessions: 0, ..options_at(&Clock::at(NOW)) };
    let server = Server::new([shangmi_configuration(&options)]).unwrap();
    let client = shangmi_client("device_1");
    for _ in 0..2 {
        let ends = handshake(&client, &server).unwrap();
        assert_eq!(ends.server.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(ends.client.tls13_tickets_received(), 0);
    }
}

#[test]
fn application_protocols_are_agreed_on() {
    let options = |protocols: [&str; 2]| Options {
        alpn_protocols: protocols.map(|name| name.as_bytes().to_vec()).to_vec(),
        ..options_at(&Clock::at(NOW))
    };
    let server = Server::new([shangmi_configuration(&options(["b", "c"]))]).unwrap();
    let client = Client::shangmi(root("root"), chain("device_1"), key("device_1"), &options(["a", "b"]));
    let ends = connect(client.unwrap().connect(gateway()).unwrap(), &server).unwrap();
    assert_eq!(ends.server.alpn_protocol(), Some(&b"b"[..]));
}
