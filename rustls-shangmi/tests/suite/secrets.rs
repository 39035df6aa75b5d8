//! Secrets handed over.

use rustls::HandshakeKind;
use rustls_shangmi::{
    Client, Error, Options, Server,
    secrets::{Extract, TrafficSecrets},
};
use shangmi::sm4::{
    Sm4Gcm,
    aead::{AeadInOut, KeyInit},
};

use crate::{
    memory::{Ends, handshake},
    pki::{
        chain, key, options, root, shangmi_client, shangmi_configuration, shangmi_server, standard_client,
    },
};

fn extractable() -> Ends {
    let options = Options { secret_extraction: true, ..options() };
    let server = Server::new([shangmi_configuration(&options)]).unwrap();
    let client = Client::shangmi(root("root"), chain("device_1"), key("device_1"), &options).unwrap();
    let ends = handshake(&client, &server).unwrap();
    assert_eq!(ends.server.handshake_kind(), Some(HandshakeKind::Full));
    ends
}

#[test]
fn what_one_end_sends_opens_with_the_secrets_taken_from_the_other() {
    let mut ends = extractable();
    let record = ends.client_sends(b"charge");
    let of_server = TrafficSecrets::extract(ends.server).unwrap();
    let (header, body) = record.split_at(5);
    let (ciphertext, tag) = body.split_at(body.len() - 16);
    let mut plaintext = ciphertext.to_vec();
    Sm4Gcm::new(&of_server.received.key.into())
        .decrypt_inout_detached(
            &of_server.received.nonce().into(),
            header,
            plaintext.as_mut_slice().into(),
            tag.try_into().unwrap(),
        )
        .unwrap();
    assert_eq!(plaintext, b"charge\x17");
    let of_client = TrafficSecrets::extract(ends.client).unwrap();
    assert_eq!(of_client.received.key, of_server.sent.key);
    assert_eq!(of_client.sent.key, of_server.received.key);
    assert_eq!(of_client.sent.sequence, of_server.received.sequence + 1);
    assert!(!format!("{of_client:?}").contains("key"));
}

#[test]
fn rustls_alone_never_passes_the_key_off_as_one_of_aes() {
    let ends = extractable();
    let refused = ends.server.extract().map(drop).unwrap_err();
    assert_eq!(refused, rustls::Error::General("operation not supported".into()));
    // Nor after an extraction by the type made for it.
    let (one, other) = (extractable(), extractable());
    TrafficSecrets::extract(one.server).unwrap();
    assert!(other.server.extract().is_err());
}

#[test]
fn secrets_are_kept_unless_the_configuration_gives_them_away_and_standard_ones_always() {
    let ends = handshake(&shangmi_client("device_1"), &shangmi_server()).unwrap();
    assert!(matches!(TrafficSecrets::extract(ends.server), Err(Error::Tls(rustls::Error::General(_)))));
    let ends = handshake(&standard_client(), &crate::pki::both_server()).unwrap();
    assert_eq!(TrafficSecrets::extract(ends.server), Err(Error::OtherSecrets));
}
