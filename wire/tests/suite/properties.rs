use cip22_wire::{FrameType, Message, body, crc8_itu, frame, limits};
use proptest::prelude::*;

use crate::samples::{Source, build};

proptest! {
    #[test]
    fn every_message_survives_a_round_trip(frame_type in frame_types(), pool in pools()) {
        let message = build(frame_type, &mut Pool::new(&pool));
        let mut out = vec![0; 8_192];
        let len = message.encode(&mut out).unwrap();
        let parsed = frame::parse(&out, limits::PAYLOAD_BYTES_MAX).unwrap().unwrap();
        prop_assert_eq!(parsed.consumed, len);
        prop_assert_eq!(parsed.frame_type, frame_type.code());
        prop_assert_eq!(Message::decode(parsed.frame_type, parsed.payload), Ok(message));
    }

    #[test]
    fn a_frame_with_one_byte_changed_never_reads_as_a_whole_frame(
        frame_type in frame_types(),
        pool in pools(),
        at in any::<prop::sample::Index>(),
        change in 1..=u8::MAX,
    ) {
        let mut wire = encoded(&build(frame_type, &mut Pool::new(&pool)));
        let at = at.index(wire.len());
        wire[at] ^= change;
        // A larger length makes the frame incomplete; everything else is an error.
        let parsed = frame::parse(&wire, limits::PAYLOAD_BYTES_MAX);
        prop_assert!(matches!(parsed, Err(_) | Ok(None)) || (4..6).contains(&at), "{:?}", parsed);
        if let Ok(Some(parsed)) = parsed {
            prop_assert!(parsed.consumed < wire.len());
        }
    }

    #[test]
    fn a_payload_with_one_bit_changed_is_refused_or_another_message(
        frame_type in frame_types(),
        pool in pools(),
        at in any::<prop::sample::Index>(),
    ) {
        let message = build(frame_type, &mut Pool::new(&pool));
        let mut wire = encoded(&message);
        let payload = frame::HEADER_BYTES..wire.len() - 1;
        let bit = at.index(payload.len() * 8);
        wire[payload.start + bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(Message::decode(frame_type.code(), &wire[payload]), Ok(message));
    }

    #[test]
    fn what_decodes_encodes_to_a_frame_that_decodes_to_the_same(
        frame_type in frame_types(),
        pool in pools(),
        changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4),
    ) {
        let wire = encoded(&build(frame_type, &mut Pool::new(&pool)));
        let mut payload = wire[frame::HEADER_BYTES..wire.len() - 1].to_vec();
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        if let Ok(message) = Message::decode(frame_type.code(), &payload) {
            let again = encoded(&message);
            let parsed = frame::parse(&again, limits::PAYLOAD_BYTES_MAX).unwrap().unwrap();
            prop_assert_eq!(Message::decode(parsed.frame_type, parsed.payload), Ok(message));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_048), max in any::<u16>()) {
        let _ = frame::parse(&bytes, max);
        for frame_type in 0..=u8::MAX {
            let _ = Message::decode(frame_type, &bytes);
        }
        let _ = (body::Grant::decode(&bytes), body::Deny::decode(&bytes), body::Credit::decode(&bytes));
    }

    #[test]
    fn random_bytes_behind_a_right_header_and_checksum_never_panic(
        frame_type in any::<u8>(),
        payload in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let mut wire = [&[0xC1, 0x02, 0x20, 0x00, len[0], len[1], frame_type], &payload[..]].concat();
        wire.push(crc8_itu(&wire));
        let parsed = frame::parse(&wire, limits::PAYLOAD_BYTES_MAX).unwrap().unwrap();
        prop_assert_eq!(parsed.payload, &payload[..]);
        let decoded = Message::decode(parsed.frame_type, parsed.payload);
        if FrameType::from_u8(frame_type).is_none() {
            prop_assert!(decoded.is_err());
        }
    }

    #[test]
    fn random_fields_never_panic(
        frame_type in frame_types(),
        fields in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..70)), 0..12),
    ) {
        let mut payload = Vec::new();
        for (tag, value) in fields {
            payload.push(tag % 18);
            payload.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            payload.extend(value);
        }
        let _ = Message::decode(frame_type.code(), &payload);
    }
}

fn frame_types() -> impl Strategy<Value = FrameType> {
    prop::sample::select(FrameType::ALL)
}

/// Bytes for the fields of any message: more than the largest needs.
fn pools() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 600..5_000)
}

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut out = vec![0; 8_192];
    let len = message.encode(&mut out).unwrap();
    out.truncate(len);
    out
}

/// Takes values from random bytes; what they run short of is zeros.
struct Pool<'a> {
    rest: &'a [u8],
}

impl<'a> Pool<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at_checked(len).unwrap_or((&ZEROS[..len], &[]));
        self.rest = rest;
        head
    }
}

impl<'a> Source<'a> for Pool<'a> {
    fn has(&mut self, _: &str) -> bool {
        self.take(1)[0] & 1 == 1
    }

    fn fixed(&mut self, _: &str, len: usize) -> &'a [u8] {
        self.take(len)
    }

    fn variable(&mut self, _: &str, max: usize, step: usize) -> &'a [u8] {
        let drawn = usize::from(u16::from_be_bytes(self.take(2).try_into().unwrap()));
        let len = drawn % (max / step + 1) * step;
        self.take(len)
    }
}

static ZEROS: [u8; 8_192] = [0; 8_192];
