//! Handshakes that succeed.

use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};
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
fn a_resumed_session_whose_certificate_has_expired_since_fails_the_check_of_either_end() {
    let clock = Clock::at(NOW);
    let options = options_at(&clock);
    let server = Server::new([shangmi_configuration(&options)]).unwrap();
    let client = Client::shangmi(root("root"), chain("device_1"), key("device_1"), &options).unwrap();
    drop(handshake(&client, &server).unwrap());
    // Sessions last for a day; the certificates end while they do.
    let ends = handshake(&client, &server).unwrap();
    assert_eq!(ends.server.handshake_kind(), Some(HandshakeKind::Resumed));
    clock.set(AFTER);
    let (of_client, of_server) = check(&ends, &client, &server);
    for refused in [of_client.unwrap_err(), of_server.unwrap_err()] {
        assert!(
            matches!(
                refused,
                Error::Tls(rustls::Error::InvalidCertificate(
                    rustls::CertificateError::ExpiredContext { .. }
                ))
            ),
            "{refused:?}"
        );
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
