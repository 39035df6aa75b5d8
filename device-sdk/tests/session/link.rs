//! Protocol §4.1, 1, 2, 6, 7 and §2's faults of the stream.

use cip22_device_sdk::{
    Event,
    wire::{
        FrameType, NackCode,
        message::{Drain, Heartbeat, Hello, HelloAck, Nack, TrustUpdate},
    },
};

use crate::{
    board::{Pile, Sent, refusal},
    gateway::{Gateway, bytes, nack},
};

fn connected() -> (Gateway, Pile) {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.connect(&mut gateway);
    (gateway, pile)
}

fn refused_hello(field: u8, change: impl FnOnce(&mut HelloAck)) -> u16 {
    let gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.session.connected(gateway.key.address());
    pile.output();
    let mut message = gateway.hello_ack_message();
    change(&mut message);
    pile.give(&bytes(&message));
    assert!(pile.events().contains(&Event::Close));
    let nack: Nack = pile.output().read();
    assert_eq!((nack.frame_type, nack.field), (0x02, Some(field)));
    assert!(!pile.session.is_connected());
    nack.code
}

#[test]
fn an_unknown_version_or_wrong_terms_end_the_connection() {
    assert_eq!(refused_hello(1, |ack| ack.version = 0x12), NackCode::UnsupportedVersion.code());
    assert_eq!(refused_hello(3, |ack| ack.max_payload = 8_191), NackCode::FieldValue.code());
    assert_eq!(refused_hello(4, |ack| ack.heartbeat_interval_ms = 0), NackCode::FieldValue.code());
    assert_eq!(refused_hello(6, |ack| ack.index = 224), NackCode::FieldValue.code());
    assert_eq!(refused_hello(8, |ack| ack.resumed = 2), NackCode::FieldValue.code());
}

#[test]
fn anything_before_hello_ack_is_unexpected() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.session.connected(gateway.key.address());
    pile.output();
    let epoch = gateway.epoch(10);
    assert_eq!(refusal(&mut pile, &epoch), (NackCode::Unexpected.code(), None));
}

#[test]
fn a_second_hello_ack_is_unexpected() {
    let (gateway, mut pile) = connected();
    assert_eq!(refusal(&mut pile, &gateway.hello_ack()), (NackCode::Unexpected.code(), None));
}

#[test]
fn a_pile_s_own_frames_are_unexpected_from_a_gateway() {
    let (_, mut pile) = connected();
    let hello = bytes(&Hello {
        versions: &[0x20],
        device_id: [0; 32],
        features: 0,
        max_payload: 512,
        policy_version: 0,
        epoch: 0,
        resume_token: None,
    });
    assert_eq!(refusal(&mut pile, &hello), (NackCode::Unexpected.code(), None));
}

#[test]
fn a_message_this_pile_does_not_serve_is_unsupported() {
    let (_, mut pile) = connected();
    let update = bytes(&TrustUpdate { version: 1, kind: 1, value: &[0; 20], signature: [0; 64] });
    assert_eq!(refusal(&mut pile, &update), (NackCode::Unsupported.code(), None));
}

#[test]
fn a_malformed_payload_is_refused_and_the_session_goes_on() {
    let (mut gateway, mut pile) = connected();
    let mut frame = vec![0xC1, 2, 0x20, 0, 0, 3, 0x03, 2, 0, 0];
    frame.push(cip22_device_sdk::wire::crc8_itu(&frame));
    assert_eq!(refusal(&mut pile, &frame), (NackCode::MissingField.code(), Some(1)));
    let mut unknown = vec![0xC1, 2, 0x20, 0, 0, 0, 0xEE];
    unknown.push(cip22_device_sdk::wire::crc8_itu(&unknown));
    assert_eq!(refusal(&mut pile, &unknown), (NackCode::UnknownType.code(), None));
    for chunk in gateway.policy_frames(1, 0) {
        pile.give(&chunk);
    }
    pile.give(&gateway.epoch(10));
    assert_eq!(pile.session.epoch(), 10);
}

#[test]
fn a_nack_is_never_answered() {
    let (_, mut pile) = connected();
    let mut broken = vec![0xC1, 2, 0x20, 0, 0, 3, 0x05, 2, 0, 0];
    broken.push(cip22_device_sdk::wire::crc8_itu(&broken));
    pile.give(&broken);
    pile.give(&nack(FrameType::Epoch, NackCode::BadSignature, None, None));
    pile.give(&nack(FrameType::Nack, NackCode::BadSignature, None, None));
    assert!(pile.outputs().is_empty());
}

#[test]
fn a_bad_crc_is_refused_and_the_connection_closed() {
    let (mut gateway, mut pile) = connected();
    let mut frame = gateway.epoch(10);
    *frame.last_mut().unwrap() ^= 1;
    pile.give(&frame);
    assert!(pile.events().contains(&Event::Close));
    let nack: Nack = pile.output().read();
    assert_eq!((nack.frame_type, nack.code), (0, NackCode::BadCrc.code()));
    pile.give(&gateway.epoch(10));
    assert!(pile.outputs().is_empty(), "nothing behind the fault is read");
    pile.session.disconnected();
    assert_eq!(pile.session.next_deadline(), Some(100));
}

#[test]
fn a_payload_above_512_bytes_is_refused_by_its_header_alone() {
    let (_, mut pile) = connected();
    pile.give(&[0xC1, 2, 0x20, 0, 2, 1, 0x03]);
    let nack: Nack = pile.output().read();
    assert_eq!((nack.code, nack.limit), (NackCode::PayloadTooLong.code(), Some(512)));
}

#[test]
fn a_refused_hello_closes_the_connection() {
    let gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.session.connected(gateway.key.address());
    pile.output();
    pile.give(&nack(FrameType::Hello, NackCode::DeviceMismatch, None, None));
    assert!(pile.events().contains(&Event::Close));
    assert!(pile.outputs().is_empty());
}

#[test]
fn lost_connections_are_tried_again_after_100_162_262_424_and_685_ms() {
    let gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.session.reconnect();
    assert_eq!(pile.events(), [Event::Reconnect]);
    let mut waits = Vec::new();
    let mut now = 0;
    pile.session.disconnected();
    while let Some(at) = pile.session.next_deadline() {
        waits.push(at - now);
        now = at;
        pile.clock.set(at - 1);
        pile.session.handle_timeout();
        assert!(pile.events().is_empty());
        pile.clock.set(at);
        pile.session.handle_timeout();
        assert_eq!(pile.events(), [Event::Reconnect]);
        pile.session.disconnected();
    }
    assert_eq!(waits, [100, 162, 262, 424, 685]);
    assert_eq!(pile.events(), [Event::Offline]);

    pile.session.reconnect();
    assert_eq!(pile.events(), [Event::Reconnect]);
    pile.session.disconnected();
    assert_eq!(pile.session.next_deadline(), Some(now + 100));
}

#[test]
fn a_session_that_stood_begins_with_the_first_wait_again() {
    let (mut gateway, mut pile) = connected();
    pile.session.disconnected();
    pile.clock.set(100);
    pile.session.handle_timeout();
    pile.connect(&mut gateway);
    pile.session.disconnected();
    assert_eq!(pile.session.next_deadline(), Some(200));
}

#[test]
fn heartbeats_go_out_at_the_interval_and_two_silent_ones_are_a_loss() {
    let (_, mut pile) = connected();
    assert_eq!(pile.session.next_deadline(), Some(30_000));
    pile.clock.set(30_000);
    pile.session.handle_timeout();
    let beat: Heartbeat = pile.output().read();
    assert_eq!((beat.counter, beat.time_ms), (1, 1_700_000_030_000));
    pile.give(&bytes(&Heartbeat { counter: 1, time_ms: 1_800_000_000_000 }));
    assert_eq!(pile.session.unix_ms(), Some(1_800_000_000_000));
    for now in [60_000, 89_999] {
        pile.clock.set(now);
        pile.session.handle_timeout();
        pile.outputs();
        assert!(pile.events().is_empty());
    }
    pile.clock.set(90_000);
    pile.session.handle_timeout();
    assert_eq!(pile.events(), [Event::LinkLost]);
    assert_eq!(pile.session.next_deadline(), Some(90_100));
    pile.session.disconnected();
    assert_eq!(pile.session.next_deadline(), Some(90_100), "the application's own report counts once");
}

#[test]
fn a_hello_without_an_answer_is_a_loss() {
    let gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.session.connected(gateway.key.address());
    pile.output();
    assert_eq!(pile.session.next_deadline(), Some(10_000));
    pile.clock.set(10_000);
    pile.session.handle_timeout();
    assert_eq!(pile.events(), [Event::LinkLost]);
}

#[test]
fn a_drain_is_followed_by_a_reconnect_within_its_window() {
    let (mut gateway, mut pile) = connected();
    pile.give(&bytes(&Drain { reconnect_after_ms: 1_000, window_ms: 500 }));
    let [Event::Drain { reconnect_ms }] = pile.events()[..] else { panic!("no drain") };
    assert!((1_000..=1_500).contains(&reconnect_ms));
    assert_eq!(pile.session.next_deadline(), Some(reconnect_ms));

    // The gateway closes first: the moment stays.
    pile.session.disconnected();
    assert_eq!(pile.session.next_deadline(), Some(reconnect_ms));
    pile.clock.set(reconnect_ms);
    pile.session.handle_timeout();
    assert_eq!(pile.events(), [Event::Reconnect]);
    pile.connect(&mut gateway);
}

#[test]
fn a_drain_with_the_connection_still_open_asks_for_a_new_one() {
    let (_, mut pile) = connected();
    pile.give(&bytes(&Drain { reconnect_after_ms: 1_000, window_ms: 0 }));
    pile.events();
    pile.clock.set(1_000);
    pile.session.handle_timeout();
    assert_eq!(pile.events(), [Event::Reconnect]);
    assert!(!pile.session.is_connected());
}

#[test]
fn a_resume_token_is_shown_once() {
    let (mut gateway, mut pile) = connected();
    let hello = |pile: &mut Pile| -> Option<[u8; 16]> {
        let sent: Sent = pile.output();
        sent.read::<Hello<'_>>().resume_token
    };
    pile.session.disconnected();
    pile.session.connected(gateway.key.address());
    assert_eq!(hello(&mut pile), Some([9; 16]));
    pile.session.disconnected();
    pile.session.connected(gateway.key.address());
    assert_eq!(hello(&mut pile), None);
    pile.session.disconnected();
    pile.connect(&mut gateway);
}
