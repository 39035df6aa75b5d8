//! Any bytes, in any order with good ones, give NACKs and events and never a panic.

use proptest::prelude::*;

use cip22_device_sdk::wire::{FrameType, crc8_itu};

use crate::{
    board::Pile,
    flow::{BATTERY, sample},
    gateway::Gateway,
};

/// A frame with a right header and CRC around any payload.
fn framed(frame_type: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let mut frame = vec![0xC1, 2, 0x20, 0, high, low, frame_type];
    frame.extend(payload);
    frame.push(crc8_itu(&frame));
    frame
}

/// A payload of fields with increasing tags and lengths that messages have.
fn fields() -> impl Strategy<Value = Vec<u8>> {
    let length = prop::sample::select(vec![1_usize, 2, 4, 8, 16, 32, 33, 64]);
    let field = length.prop_flat_map(|len| prop::collection::vec(any::<u8>(), len));
    prop::collection::vec(field, 0..12).prop_map(|fields| {
        let mut payload = Vec::new();
        for (tag, value) in (1_u8..).zip(fields) {
            payload.push(tag);
            payload.extend((value.len() as u16).to_be_bytes());
            payload.extend(value);
        }
        payload
    })
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let frame_type = prop_oneof![prop::sample::select(FrameType::ALL).prop_map(FrameType::code), any::<u8>()];
    let payload = prop_oneof![3 => fields(), 1 => prop::collection::vec(any::<u8>(), 0..500)];
    (frame_type, payload).prop_map(|(frame_type, payload)| framed(frame_type, &payload))
}

fn pile_at(stage: u8) -> (Gateway, Pile) {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    match stage {
        0 => pile.session.connected(gateway.key.address()),
        1 => pile.connect(&mut gateway),
        2 => pile.ready(&mut gateway, 10),
        _ => {
            pile.charging(&mut gateway);
            pile.session.adopt_battery(BATTERY, [0; 16]);
            pile.answer(&mut gateway);
            for i in 1..=3 {
                pile.session.telemetry(&sample(i)).unwrap();
            }
        }
    }
    pile.outputs();
    (gateway, pile)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(stage in 0_u8..4, bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let (_, mut pile) = pile_at(stage);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            rest = &rest[pile.session.handle_input(rest)..];
            pile.events();
            pile.outputs();
        }
    }

    #[test]
    fn any_frames_are_survived(stage in 0_u8..4, frames in prop::collection::vec(frame(), 1..8)) {
        let (_, mut pile) = pile_at(stage);
        for frame in frames {
            pile.give(&frame);
            pile.clock.pass(10);
            pile.session.handle_timeout();
            pile.events();
            pile.outputs();
        }
        prop_assert!(pile.session.next_deadline() != Some(u64::MAX));
    }

    #[test]
    fn a_mutated_frame_never_grants_power(at in 0_usize..400, bit in 0_u8..8) {
        let mut gateway = Gateway::new();
        let mut pile = Pile::new(&gateway);
        pile.ready(&mut gateway, 10);
        pile.session.authorize().unwrap();
        let challenge = gateway.challenge(&pile.output().read());
        pile.give(&challenge);
        let answer = pile.output();
        let [mut grant] = <[Vec<u8>; 1]>::try_from(gateway.reply(&answer)).unwrap();
        let last = grant.len() - 1;
        // The CRC is made right again, so that the tag alone decides.
        grant[at % last] ^= 1 << bit;
        grant[last] = crc8_itu(&grant[..last]);
        pile.session.handle_input(&grant);
        pile.events();
        prop_assert!(pile.session.charge().is_none());
    }
}
