//! Protocol §10.

use cip22_device_sdk::{
    Event, Slot,
    wire::{
        Body, FrameType, NackCode,
        message::{Hello, PolicyAck, SetPolicy},
    },
};

use crate::{
    board::{Pile, Sent, refusal},
    gateway::{Gateway, bytes, nack, tariff},
};

const FIELD_VALUE: u16 = NackCode::FieldValue.code();

fn connected() -> (Gateway, Pile) {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.connect(&mut gateway);
    (gateway, pile)
}

fn give_all(pile: &mut Pile, frames: &[Vec<u8>]) {
    for frame in frames {
        pile.give(frame);
    }
}

/// The last chunk of a policy is refused, and nothing is stored.
fn refused_at_the_end(pile: &mut Pile, frames: &[Vec<u8>]) -> (u16, Option<u8>) {
    let stores = pile.flash.stores();
    let (last, first) = frames.split_last().unwrap();
    give_all(pile, first);
    let refused = refusal(pile, last);
    assert_eq!(pile.flash.stores(), stores);
    refused
}

#[test]
fn a_policy_is_held_across_a_restart_and_named_in_hello() {
    let (gateway, mut pile) = connected();
    give_all(&mut pile, &gateway.policy_frames(1, 0));
    assert_eq!(pile.events(), [Event::PolicyStored { version: 1, first_epoch: 0 }]);
    let mut pile = pile.restart();
    pile.session.connected(gateway.key.address());
    assert_eq!(pile.output().read::<Hello<'_>>().policy_version, 1);
    let mut out = [0; 493];
    let (version, len) = pile.session.tariff(5, &mut out).unwrap().unwrap();
    assert_eq!((version, &out[..len]), (1, &tariff(1)[..]));
    assert!(pile.session.tariff(5, &mut out[..len - 1]).is_err());
}

#[test]
fn a_policy_stored_before_a_restart_is_acknowledged_after_it() {
    let (mut gateway, mut pile) = connected();
    give_all(&mut pile, &gateway.policy_frames(1, 0));
    let mut pile = pile.restart();
    pile.connect(&mut gateway);
    pile.give(&gateway.epoch(10));
    let sent = pile.output();
    let ack: PolicyAck = sent.read();
    assert_eq!((ack.version, ack.epoch, ack.n, ack.first_epoch), (1, 10, 1, 0));
    for reply in gateway.reply(&sent) {
        pile.give(&reply);
    }
    assert!(pile.events().contains(&Event::PolicyAcked { version: 1 }));
}

#[test]
fn a_policy_not_signed_by_governance_is_refused() {
    let (mut gateway, mut pile) = connected();
    gateway.governance = cip22_device_sdk::sign::SigningKey::from_bytes(&[0x55; 32]).unwrap();
    let frames = gateway.policy_frames(1, 0);
    assert_eq!(refused_at_the_end(&mut pile, &frames), (NackCode::BadSignature.code(), Some(6)));
}

#[test]
fn a_policy_signed_for_another_registry_is_refused() {
    let (mut gateway, mut pile) = connected();
    gateway.policy_domain.verifying_contract = gateway.domain.verifying_contract;
    let frames = gateway.policy_frames(1, 0);
    assert_eq!(refused_at_the_end(&mut pile, &frames), (NackCode::BadSignature.code(), Some(6)));
}

#[test]
fn a_signed_tariff_in_another_encoding_is_refused() {
    let (gateway, mut pile) = connected();
    let mut padded = tariff(1);
    padded.push(0);
    let frames = gateway.chunks(1, 0, &padded);
    assert_eq!(refused_at_the_end(&mut pile, &frames), (FIELD_VALUE, Some(5)));
}

#[test]
fn a_version_not_above_the_newest_is_refused() {
    let (gateway, mut pile) = connected();
    give_all(&mut pile, &gateway.policy_frames(3, 0));
    let lower = gateway.policy_frames(2, 50);
    assert_eq!(refused_at_the_end(&mut pile, &lower), (FIELD_VALUE, Some(1)));
    let same_version = gateway.policy_frames(3, 50);
    assert_eq!(refused_at_the_end(&mut pile, &same_version), (FIELD_VALUE, Some(1)));
    assert_eq!(pile.session.policy_version(), 3);
}

#[test]
fn a_scheduled_policy_that_the_chain_took_back_is_replaced_until_it_was_in_force() {
    let (mut gateway, mut pile) = connected();
    give_all(&mut pile, &gateway.policy_frames(1, 0));
    give_all(&mut pile, &gateway.policy_frames(2, 20));
    pile.give(&gateway.epoch(10));
    give_all(&mut pile, &gateway.policy_frames(2, 25));
    let mut out = [0; 493];
    assert_eq!(pile.session.tariff(24, &mut out).unwrap().unwrap().0, 1, "the first schedule is gone");
    assert_eq!(pile.session.tariff(25, &mut out).unwrap().unwrap().0, 2);
    gateway.policy = (2, 25);
    pile.give(&gateway.epoch(25));
    assert_eq!(pile.session.epoch(), 25);
    let late = gateway.policy_frames(2, 30);
    assert_eq!(refused_at_the_end(&mut pile, &late), (FIELD_VALUE, Some(1)));
}

#[test]
fn the_same_policy_again_is_acknowledged_again() {
    let (mut gateway, mut pile) = connected();
    give_all(&mut pile, &gateway.policy_frames(1, 0));
    pile.give(&gateway.epoch(10));
    pile.answer(&mut gateway);
    give_all(&mut pile, &gateway.policy_frames(1, 0));
    let ack: PolicyAck = pile.output().read();
    assert_eq!((ack.version, ack.n), (1, 2));
}

#[test]
fn an_acknowledgement_refused_for_its_epoch_is_signed_anew() {
    let (mut gateway, mut pile) = connected();
    give_all(&mut pile, &gateway.policy_frames(1, 0));
    pile.give(&gateway.epoch(10));
    pile.output();
    pile.give(&gateway.epoch(11));
    pile.give(&nack(FrameType::PolicyAck, NackCode::StaleEpoch, None, None));
    assert_eq!(pile.output().read::<PolicyAck>().epoch, 11);
}

#[test]
fn chunks_come_in_order_from_0() {
    let (gateway, mut pile) = connected();
    let frames = gateway.policy_frames(1, 0);
    assert_eq!(refusal(&mut pile, &frames[1]), (FIELD_VALUE, Some(4)));
    pile.give(&frames[0]);
    assert_eq!(refusal(&mut pile, &frames[2]), (FIELD_VALUE, Some(4)));
    give_all(&mut pile, &frames);
    assert_eq!(pile.session.policy_version(), 1);
}

#[test]
fn chunks_of_an_earlier_connection_are_not_continued() {
    let (mut gateway, mut pile) = connected();
    let frames = gateway.policy_frames(1, 0);
    pile.give(&frames[0]);
    pile.session.disconnected();
    pile.connect(&mut gateway);
    assert_eq!(refusal(&mut pile, &frames[1]), (FIELD_VALUE, Some(4)));
}

#[test]
fn chunks_agree_in_version_first_epoch_length_and_signature() {
    let (gateway, mut pile) = connected();
    let frames = gateway.policy_frames(1, 0);
    let second = &frames[1];
    let change = |field: u8| {
        let mut chunk = SetPolicy::decode(&second[7..second.len() - 1]).unwrap();
        match field {
            1 => chunk.version += 1,
            2 => chunk.first_epoch += 1,
            3 => chunk.total_len += 1,
            _ => chunk.signature[0] ^= 1,
        }
        bytes(&chunk)
    };
    for field in [1, 2, 3, 6] {
        pile.give(&frames[0]);
        assert_eq!(refusal(&mut pile, &change(field)), (FIELD_VALUE, Some(field)));
    }
}

#[test]
fn a_length_above_493_or_a_chunk_beyond_it_is_refused() {
    let (_, mut pile) = connected();
    let chunk = |total_len, chunk| {
        bytes(&SetPolicy { version: 1, first_epoch: 0, total_len, offset: 0, chunk, signature: [1; 64] })
    };
    assert_eq!(refusal(&mut pile, &chunk(494, &[1; 20])), (FIELD_VALUE, Some(3)));
    assert_eq!(refusal(&mut pile, &chunk(0, &[1; 20])), (FIELD_VALUE, Some(3)));
    assert_eq!(refusal(&mut pile, &chunk(19, &[1; 20])), (FIELD_VALUE, Some(5)));
    assert_eq!(refusal(&mut pile, &chunk(20, &[])), (FIELD_VALUE, Some(5)));
}

#[test]
fn a_scheduled_policy_takes_over_at_its_epoch() {
    let (mut gateway, mut pile) = connected();
    give_all(&mut pile, &gateway.policy_frames(1, 0));
    give_all(&mut pile, &gateway.policy_frames(2, 20));
    let mut out = [0; 493];
    assert_eq!(pile.session.tariff(19, &mut out).unwrap().unwrap().0, 1);
    assert_eq!(pile.session.tariff(20, &mut out).unwrap().unwrap().0, 2);
    pile.give(&gateway.epoch(10));
    gateway.policy = (2, 20);
    pile.give(&gateway.epoch(20));
    assert_eq!(pile.session.epoch(), 20);
}

#[test]
fn replaced_policies_make_room_and_scheduled_ones_are_never_dropped() {
    let (mut gateway, mut pile) = connected();
    for version in 1..=4 {
        give_all(&mut pile, &gateway.policy_frames(version, version * 10));
    }
    let fifth = gateway.policy_frames(5, 50);
    assert_eq!(refused_at_the_end(&mut pile, &fifth), (NackCode::Storage.code(), None));

    gateway.policy = (2, 20);
    pile.give(&gateway.epoch(25));
    give_all(&mut pile, &fifth);
    let mut out = [0; 493];
    for (epoch, version) in [(25, 2), (30, 3), (40, 4), (50, 5)] {
        assert_eq!(pile.session.tariff(epoch, &mut out).unwrap().unwrap().0, version);
    }
    assert_eq!(pile.session.tariff(15, &mut out), Ok(None));
}

#[test]
fn every_policy_received_before_an_epoch_is_acknowledged_in_one_chain() {
    let (mut gateway, mut pile) = connected();
    give_all(&mut pile, &gateway.policy_frames(1, 0));
    give_all(&mut pile, &gateway.policy_frames(2, 20));
    pile.give(&gateway.epoch(10));
    let outputs = pile.outputs();
    let versions: Vec<_> = outputs.iter().map(|sent| sent.read::<PolicyAck>().version).collect();
    assert_eq!(versions, [1, 2]);
    for reply in outputs.iter().flat_map(|sent: &Sent| gateway.reply(sent)).collect::<Vec<_>>() {
        pile.give(&reply);
    }
    assert_eq!(pile.session.unanswered(), 0);
}

#[test]
fn a_corrupt_policy_record_stops_the_session_before_it_starts() {
    use cip22_device_sdk::{Error, Provisioning, Session, Settings, Workspace};
    let (gateway, mut pile) = connected();
    give_all(&mut pile, &gateway.policy_frames(1, 0));
    let mut record = pile.flash.record(Slot::Policy0);
    record.truncate(100);
    pile.flash.put(Slot::Policy0, record);
    let provisioning = Provisioning {
        device_id: [0; 32],
        chain_id: 1,
        verifier: [0; 20],
        policy_registry: [0; 20],
        policy_signer: [0; 20],
        circuit_version_min: 0,
    };
    let mut workspace = Workspace::new();
    let session = Session::new(
        provisioning,
        Settings::default(),
        crate::board::device_key(),
        pile.flash.clone(),
        pile.clock.clone(),
        pile.entropy.clone(),
        &mut workspace,
    );
    assert_eq!(session.err(), Some(Error::CorruptRecord(Slot::Policy0)));
}
