use std::collections::{BTreeMap, BTreeSet};

use cip22_wire::{
    Body, DecodeError, EncodeError, FrameError, FrameType, Message, NackCode, body, crc8_itu, frame, limits,
    message::{AuthGrant, BatchRoot, Nack, SetPolicy},
};
use serde_json::Value;

use crate::{
    samples::{Source, build},
    vectors,
};

#[test]
fn crc_equals_the_vectors() {
    let file = vectors::read("crc");
    for vector in vectors::array(&file, "vectors") {
        assert_eq!(crc8_itu(&vectors::bytes(vector, "bytes")), vectors::int::<u8>(vector, "crc"));
    }
    assert_eq!(crc8_itu(b"123456789"), 0xA1);
}

#[test]
fn every_message_has_a_vector_and_encodes_and_decodes_to_it() {
    let file = vectors::read("frames");
    let mut seen = BTreeSet::new();
    for vector in vectors::array(&file, "frames") {
        let wire = vectors::bytes(vector, "frame");
        let parsed = frame::parse(&wire, limits::GATEWAY_PAYLOAD_BYTES_MIN).unwrap().unwrap();
        assert_eq!(parsed.consumed, wire.len());
        assert_eq!(parsed.payload, vectors::bytes(vector, "payload"));
        let frame_type = FrameType::from_u8(parsed.frame_type).unwrap();
        assert_eq!(frame_type.name(), vectors::text(vector, "name"));
        assert_eq!(frame_type.code(), vectors::int::<u8>(vector, "type"));

        let values = Values::of(&vector["fields"]);
        let expected = build(frame_type, &mut &values);
        assert_eq!(Message::decode(parsed.frame_type, parsed.payload), Ok(expected));
        assert_eq!(expected.frame_type(), frame_type);

        let mut out = [0; 8_192];
        let len = expected.encode(&mut out).unwrap();
        assert_eq!(hex::encode(&out[..len]), hex::encode(&wire), "{}", frame_type.name());
        seen.insert(frame_type);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), FrameType::ALL);
}

#[test]
fn refused_frames_are_refused_with_the_stated_nack() {
    let file = vectors::read("frames");
    for vector in vectors::array(&file, "refused") {
        let wire = vectors::bytes(vector, "frame");
        let (nack, closes) = match frame::parse(&wire, limits::PILE_PAYLOAD_BYTES_MIN) {
            Err(error) => (error.nack(0), true),
            Ok(parsed) => {
                let parsed = parsed.expect("the frame is whole");
                let error =
                    Message::decode(parsed.frame_type, parsed.payload).expect_err("the frame is wrong");
                (error.nack(parsed.frame_type), false)
            }
        };
        let expected = Nack {
            frame_type: vectors::int(vector, "frame_type"),
            code: vectors::int(vector, "code"),
            field: u8::try_from(vectors::int::<i64>(vector, "field")).ok(),
            limit: u32::try_from(vectors::int::<i64>(vector, "limit")).ok(),
            retry_ms: None,
        };
        assert_eq!((nack, closes), (expected, vector["closes"] == true), "{}", vector["why"]);
    }
}

#[test]
fn an_unknown_odd_tag_is_skipped_and_changes_nothing() {
    let payload = [1, 0, 4, 0, 0, 0, 7, 2, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9];
    let known = Message::decode(0x04, &payload);
    assert!(known.is_ok());
    assert_eq!(Message::decode(0x04, &[&payload[..], &[3, 0, 1, 0xFF, 0xFF, 0, 0]].concat()), known);
}

#[test]
fn an_unknown_even_tag_after_a_skipped_one_is_refused() {
    let payload = [1, 0, 4, 0, 0, 0, 7, 2, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9, 3, 0, 0, 6, 0, 0];
    assert_eq!(Message::decode(0x04, &payload), Err(DecodeError::UnknownField { field: 6 }));
}

#[test]
fn every_prefix_of_a_frame_is_incomplete() {
    let file = vectors::read("frames");
    for vector in vectors::array(&file, "frames") {
        let wire = vectors::bytes(vector, "frame");
        for end in 0..wire.len() {
            assert_eq!(frame::parse(&wire[..end], limits::GATEWAY_PAYLOAD_BYTES_MIN), Ok(None));
        }
    }
}

#[test]
fn frames_that_follow_one_another_are_taken_one_by_one() {
    let file = vectors::read("frames");
    let vectors = vectors::array(&file, "frames");
    let stream: Vec<u8> = vectors.iter().flat_map(|vector| vectors::bytes(vector, "frame")).collect();
    let (mut rest, mut count) = (&stream[..], 0);
    while let Some(parsed) = frame::parse(rest, limits::PAYLOAD_BYTES_MAX).unwrap() {
        assert_eq!(parsed.payload, vectors::bytes(&vectors[count], "payload"));
        rest = &rest[parsed.consumed..];
        count += 1;
    }
    assert_eq!((rest.len(), count), (0, vectors.len()));
}

#[test]
fn a_wrong_header_byte_is_refused_before_the_frame_is_whole() {
    let header = [0xC1, 0x02, 0x20, 0x00];
    let errors = [FrameError::Magic, FrameError::Codec, FrameError::Version, FrameError::Flags];
    for (at, error) in errors.into_iter().enumerate() {
        let mut wrong = header;
        wrong[at] ^= 0x40;
        assert_eq!(frame::parse(&wrong[..=at], 512), Err(error));
        assert_eq!(frame::parse(&header[..=at], 512), Ok(None));
    }
    let header = [0xC1, 0x02, 0x20, 0x00, 0x02, 0x01, 0x04];
    assert_eq!(frame::parse(&header, 513), Ok(None));
    assert_eq!(frame::parse(&header, 512), Err(FrameError::PayloadTooLong { limit: 512 }));
}

#[test]
fn a_buffer_too_small_by_any_number_of_bytes_is_refused() {
    let file = vectors::read("frames");
    for vector in vectors::array(&file, "frames") {
        let wire = vectors::bytes(vector, "frame");
        let values = Values::of(&vector["fields"]);
        let message = build(FrameType::from_u8(vectors::int(vector, "type")).unwrap(), &mut &values);
        let mut out = vec![0; wire.len()];
        for len in 0..wire.len() {
            assert_eq!(message.encode(&mut out[..len]), Err(EncodeError::BufferTooSmall));
        }
        assert_eq!(message.encode(&mut out), Ok(wire.len()));
    }
}

#[test]
fn a_byte_string_its_field_may_not_hold_is_not_encoded() {
    let mut out = [0; 2_048];
    let grant = AuthGrant { sid: [0; 16], suite: 0, body: &[0; 65], tag: [0; 32] };
    assert_eq!(grant.encode(&mut out), Err(EncodeError::FieldLength { field: 3, limit: 64 }));
    let root = BatchRoot { group: 0, epoch: 0, root: [0; 32], leaf: 0, path: &[0; 33], n: 0, head: [0; 32] };
    assert_eq!(root.encode(&mut out), Err(EncodeError::FieldLength { field: 5, limit: 384 }));
}

#[test]
fn set_policy_without_its_chunk_is_as_long_as_stated() {
    let mut out = [0; 2_048];
    let chunk = &[0; limits::POLICY_CHUNK_BYTES_MAX];
    let message =
        SetPolicy { version: 1, first_epoch: 1, total_len: 493, offset: 0, chunk, signature: [0; 64] };
    let overhead = message.encode(&mut out).unwrap() - chunk.len() - frame::OVERHEAD_BYTES;
    assert_eq!(overhead, limits::SET_POLICY_OVERHEAD_BYTES);
}

#[test]
fn bodies_stand_in_the_vectors_of_their_messages() {
    let file = vectors::read("frames");
    let body_of = |name: &str| {
        let vector = vectors::array(&file, "frames").iter().find(|vector| vector["name"] == name).unwrap();
        vectors::bytes(&vector["fields"], "body")
    };
    let (grant, deny, credit) = (body_of("AUTH_GRANT"), body_of("AUTH_DENY"), body_of("CREDIT_UPDATE"));
    assert_eq!(body::Grant::decode(&grant), Ok(body::Grant { wh: 20_000, minutes: 240 }));
    assert_eq!(body::Deny::decode(&deny), Ok(body::Deny { reason: 3 }));
    assert_eq!(body::Credit::decode(&credit), Ok(body::Credit { seq: 1, wh: 30_000, minutes: 360 }));

    let mut out = [0; limits::BODY_BYTES_MAX];
    let len = body::Credit { seq: 1, wh: 30_000, minutes: 360 }.encode(&mut out).unwrap();
    assert_eq!(out[..len], credit[..]);
    assert_eq!(body::Grant::decode(&deny), Err(DecodeError::FieldLength { field: 1, limit: 4 }));
}

#[test]
fn nack_codes_are_contiguous_and_named_as_in_the_text() {
    assert_eq!(NackCode::from_u16(0), None);
    assert_eq!(NackCode::from_u16(30), None);
    let text = include_str!("../../../docs/protocol.md");
    for value in 1..=29u16 {
        let code = NackCode::from_u16(value).unwrap();
        assert_eq!(code.code(), value);
        assert!(text.contains(&format!("{value} {}", code.name())), "{}", code.name());
    }
}

/// The fields of a vector, by name.
struct Values(BTreeMap<String, Vec<u8>>);

impl Values {
    fn of(fields: &Value) -> Self {
        let fields = fields.as_object().expect("fields is an object");
        Self(fields.iter().map(|(name, value)| (name.clone(), vectors::hex_bytes(value).unwrap())).collect())
    }
}

impl<'a> Source<'a> for &'a Values {
    fn has(&mut self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    fn fixed(&mut self, field: &str, _: usize) -> &'a [u8] {
        &self.0[field]
    }

    fn variable(&mut self, field: &str, _: usize, _: usize) -> &'a [u8] {
        &self.0[field]
    }
}
