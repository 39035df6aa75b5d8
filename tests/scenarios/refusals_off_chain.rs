//! What the gateway refuses, each with its own cause, on one node. After every refusal it goes on.

use alloy::sol_types::SolCall;
use cip22_wire::message::{AuthDeny, AuthResp, Body, Hello};
use cip22_wire::{FrameType, NackCode, body};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use system_tests::chain::recordCall;
use system_tests::node::run;
use system_tests::pile::{Pile, whole_frame};
use system_tests::relayer::Relayer;
use system_tests::snapshot::{forge_script, program};
use system_tests::world::World;

#[tokio::test]
async fn hostile_input_is_refused_with_its_own_cause_and_the_relayer_goes_on() {
    let world = World::new();
    let relayer = world.launch().with("RELAYER__GATEWAY__ANSWER_WINDOW_BLOCKS", 40).start();
    replayed_and_reused(&world, &relayer).await;
    forged(&world, &relayer).await;
    broken_frames(&world, &relayer).await;
    wrong_identity(&world, &relayer).await;
    foreign_certificate(&world, &relayer).await;
    expired(&world, &relayer).await;
    revoked(&world, &relayer).await;

    let mut pile = world.connected_pile(1, &relayer).await;
    pile.authorize().await;
}

async fn replayed_and_reused(world: &World, relayer: &Relayer) {
    let mut pile = world.connected_pile(0, relayer).await;
    let ticket = pile.ticket().await;
    let answer = pile.answer(&ticket);
    pile.send(&answer.response).await;
    let first = pile.expect_grant(&ticket).await;
    pile.send(&answer.response).await;
    assert_eq!(pile.expect_grant(&ticket).await, first, "the same bytes get the same answer");
    let again = pile.answer(&ticket);
    pile.send(&again.response).await;
    assert_eq!(pile.expect_nack().await, NackCode::TicketUsed);
    assert_eq!(relayer.status()["counts"]["granted"], 1, "granted once");
}

async fn forged(world: &World, relayer: &Relayer) {
    let mut pile = world.connected_pile(1, relayer).await;
    let ticket = pile.ticket().await;
    let (n, prev_head) = pile.chain;
    let own_key = std::mem::replace(&mut pile.key, world.pile(2).key);
    let forged = pile.answer(&ticket);
    pile.send(&forged.response).await;
    assert_eq!(pile.expect_nack().await, NackCode::BadSignature, "another key");
    pile.key = own_key;

    pile.chain = (n, prev_head);
    let unknown = AuthResp { sid: [0xEE; 16], ..forged.response };
    pile.send(&unknown).await;
    assert_eq!(pile.expect_nack().await, NackCode::UnknownTicket);

    pile.chain = (n + 4, [9; 32]);
    let unlinked = pile.answer(&ticket);
    pile.send(&unlinked.response).await;
    pile.expect_grant(&ticket).await;
    // The chain now holds n + 5; a statement that claims to come right before it with another head does not fit.
    pile.chain = (n + 3, [7; 32]);
    let ticket = pile.ticket().await;
    let conflicting = pile.answer(&ticket);
    pile.send(&conflicting.response).await;
    assert_eq!(pile.expect_nack().await, NackCode::ChainConflict);
}

async fn broken_frames(world: &World, relayer: &Relayer) {
    let cases: [(&str, Vec<u8>, NackCode); 4] = [
        ("garbage", b"GET / HTTP/1.1\r\n\r\n".to_vec(), NackCode::MalformedHeader),
        ("oversized", vec![0xC1, 0x02, 0x20, 0x00, 0xFF, 0xFF, 0x12], NackCode::PayloadTooLong),
        ("bad CRC", flipped_crc(&world.pile(3)), NackCode::BadCrc),
        (
            "another version",
            vec![0xC1, 0x02, 0x12, 0x00, 0x00, 0x00, 0x01, 0x00],
            NackCode::UnsupportedVersion,
        ),
    ];
    for (name, bytes, code) in cases {
        let mut pile = world.pile(3);
        pile.connect(relayer.ready.listen).await;
        pile.send_bytes(&bytes).await;
        let refused = pile.expect_nack().await;
        assert_eq!(refused, code, "{name}");
        assert!(pile.next_frame().await.is_none(), "{name}: the connection is closed");
    }
    let mut pile = world.connected_pile(3, relayer).await;
    // HEARTBEAT with an unknown even tag, then one with an unknown odd tag.
    pile.send_bytes(&with_extra_tag(0x80)).await;
    assert_eq!(pile.expect_nack().await, NackCode::UnknownField);
    pile.send_bytes(&with_extra_tag(0x81)).await;
    pile.expect(&[FrameType::Heartbeat]).await;
    // A truncated frame and a sudden end harm nobody.
    pile.send_bytes(&[0xC1, 0x02, 0x20]).await;
    pile.drop_link();
}

async fn wrong_identity(world: &World, relayer: &Relayer) {
    let mut pile = world.pile(3);
    pile.connect(relayer.ready.listen).await;
    let hello = Hello { device_id: world.pile(4).device_id, ..pile.hello_message() };
    pile.send(&hello).await;
    assert_eq!(pile.expect_nack().await, NackCode::DeviceMismatch);

    let mut pile = world.pile(3);
    pile.connect(relayer.ready.listen).await;
    let (request, _) = pile.challenge_request();
    pile.send(&request).await;
    assert_eq!(pile.expect_nack().await, NackCode::Unexpected, "HELLO comes first");
}

/// A pile whose certificate comes from another root is refused by TLS, before any frame.
async fn foreign_certificate(world: &World, relayer: &Relayer) {
    let folder = world.path().join("foreign");
    let mut provision = std::process::Command::new(program("cip22-fleet"));
    run(provision.arg("provision").arg("--out").arg(&folder).args(["--count", "1"]));
    let own = world.pile(3);
    let mut config = own.tls(b"cip22/2");
    let chain = CertificateDer::pem_file_iter(folder.join("pki/pile-0001.pem")).unwrap();
    let chain: Vec<_> = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("pki/pile-0001.key")).unwrap();
    let signing = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let certified = rustls::sign::CertifiedKey::new(chain, signing);
    config.client_auth_cert_resolver = std::sync::Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    let refused = match system_tests::pile::tls_stream(relayer.ready.listen, config).await {
        Err(_) => true,
        Ok(mut stream) => {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let _ = stream.write_all(&whole_frame(&own.hello_message())).await;
            let mut byte = [0; 1];
            !matches!(stream.read(&mut byte).await, Ok(1))
        }
    };
    assert!(refused, "a certificate of another root gets no answer");
}

async fn expired(world: &World, relayer: &Relayer) {
    let mut pile = world.connected_pile(4, relayer).await;
    let ticket = pile.ticket().await;
    let answer_by = ticket.challenge.answer_by;
    world.chain.wait_for_block(alloy::rpc::types::BlockNumberOrTag::Latest, answer_by + 3).await;
    let answer = pile.answer(&ticket);
    pile.send(&answer.response).await;
    let (_, payload) = pile.expect(&[FrameType::AuthDeny]).await;
    let deny = AuthDeny::decode(&payload).unwrap();
    let reason = body::Deny::decode(deny.body).unwrap().reason;
    assert_eq!(cip22_wire::DenyReason::from_u8(reason), Some(cip22_wire::DenyReason::Expired));
}

async fn revoked(world: &World, relayer: &Relayer) {
    let number = world.piles.len() - 1;
    let mut pile = world.connected_pile(number, relayer).await;
    revoke(world, &pile);
    refused_on_chain(world, &pile).await;
    let code = loop {
        let (request, _) = pile.challenge_request();
        pile.send(&request).await;
        let (found, _) = pile.expect(&[FrameType::Challenge, FrameType::Nack]).await;
        if found == FrameType::Nack {
            break found;
        }
    };
    assert_eq!(code, FrameType::Nack);
    let mut again = world.pile(number);
    again.connect(relayer.ready.listen).await;
    let hello = again.hello_message();
    again.send(&hello).await;
    assert_eq!(again.expect_nack().await, NackCode::RevokedDevice);
}

/// The contract refuses what a revoked key signs, in an epoch in which it was active, too.
async fn refused_on_chain(world: &World, pile: &Pile) {
    let (epoch, place) = (pile.epoch.unwrap(), pile.place.unwrap());
    let records = pile.record_bytes(&epoch, 1, [1; 32]);
    let call = recordCall { group: place.group, epoch: epoch.epoch, records: records.into() };
    let stranger = world.node.info.account("stranger").clone();
    world.chain.send(&stranger, world.chain.verifier, call.abi_encode()).await;
    assert!(world.chain.heads_of(place.group, place.index, epoch.epoch).await.is_empty());
}

fn revoke(world: &World, pile: &Pile) {
    let device_id = pile.entry.device_id.clone();
    forge_script(
        "RevokeDevice",
        &world.node,
        &world.snapshot.deployment(),
        "deployer",
        &[("DEVICE_ID", device_id)],
    );
}

fn flipped_crc(pile: &Pile) -> Vec<u8> {
    let mut bytes = whole_frame(&pile.hello_message());
    *bytes.last_mut().unwrap() ^= 0xFF;
    bytes
}

/// HEARTBEAT with one more field.
fn with_extra_tag(tag: u8) -> Vec<u8> {
    let mut bytes = vec![0xC1, 0x02, 0x20, 0x00, 0x00, 0x00, 0x04];
    bytes.extend_from_slice(&[1, 0, 4, 0, 0, 0, 9, 2, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1, tag, 0, 1, 0xAA]);
    bytes[5] = (bytes.len() - 7) as u8;
    bytes.push(cip22_wire::crc8_itu(&bytes));
    bytes
}
