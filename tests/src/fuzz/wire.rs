//! The decoders of `cip22-wire`, and the relayer's inbox over them.

use cip22_relayer::pipeline::decode::Inbox;
use cip22_wire::batch_tree::{self, Roots};
use cip22_wire::body::{Credit, Deny, Grant};
use cip22_wire::message::{BatchRoot, Body, Nack};
use cip22_wire::tariff::{self, Tariff};
use cip22_wire::{DecodeError, FrameError, FrameType, Message, frame, keccak256};

use super::input::{Input, framed};

/// The longest frame there is, and more.
const OUT_BYTES: usize = 70_000;

/// A stream gives the same frames and the same error however it is cut.
pub(crate) fn frames(data: &[u8]) {
    let mut input = Input::new(data);
    let max_payload = input.u16();
    let cut = usize::from(input.u8()) + 1;
    let stream = if input.flag() { sealed(&mut input) } else { input.rest().to_vec() };

    let mut whole = Vec::new();
    let mut rest = &stream[..];
    let whole_end = loop {
        match frame::parse(rest, max_payload) {
            Ok(Some(parsed)) => {
                assert!(parsed.payload.len() <= usize::from(max_payload));
                assert_eq!(framed(parsed.frame_type, parsed.payload), rest[..parsed.consumed]);
                whole.push((parsed.frame_type, parsed.payload.to_vec()));
                rest = &rest[parsed.consumed..];
            }
            Ok(None) => {
                assert!(
                    rest.len() < usize::from(max_payload) + frame::OVERHEAD_BYTES,
                    "a whole frame is there"
                );
                break None;
            }
            Err(error) => break Some(error),
        }
    };

    let mut inbox = Inbox::new(max_payload);
    let mut pieces = Vec::new();
    let mut end = None;
    for piece in stream.chunks(cut) {
        inbox.extend(piece);
        end = drain(&mut inbox, &mut pieces);
        if end.is_some() {
            break;
        }
    }
    assert_eq!((pieces, end), (whole, whole_end));
    if let Some(error) = whole_end {
        refusal(error.nack(0));
    }
}

fn drain(inbox: &mut Inbox, frames: &mut Vec<(u8, Vec<u8>)>) -> Option<FrameError> {
    loop {
        match inbox.take() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

/// Frames with right headers and CRCs around whatever is left.
fn sealed(input: &mut Input<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    while !input.is_empty() {
        let frame_type = input.u8();
        let len = usize::from(input.u8()) * 4;
        stream.extend(framed(frame_type, input.take(len)));
    }
    stream
}

/// What decodes encodes to its canonical form, which decodes to the same; what does not is refused by a NACK that can be sent.
pub(crate) fn messages(data: &[u8]) {
    let Some((frame_type, payload)) = data.split_first() else { return };
    let message = match Message::decode(*frame_type, payload) {
        Ok(message) => message,
        Err(error) => return refusal(error.nack(*frame_type)),
    };
    assert_eq!(FrameType::from_u8(*frame_type), Some(message.frame_type()));
    let mut out = vec![0; OUT_BYTES];
    let len = message.encode(&mut out).expect("what was decoded can be encoded");
    let parsed = frame::parse(&out[..len], u16::MAX).expect("a frame").expect("a whole one");
    let canonical = parsed.payload.to_vec();
    assert_eq!((parsed.frame_type, parsed.consumed), (*frame_type, len));
    assert_eq!(Message::decode(parsed.frame_type, parsed.payload), Ok(message));
    only_unknown_odd_fields_differ(payload, &canonical);
    if let Message::BatchRoot(root) = &message {
        leads(root);
    }

    let encoded_again = message.encode(&mut vec![0; len]).expect("a frame needs no more room than it takes");
    assert_eq!(encoded_again, len);
    if let Some(short) = len.checked_sub(1) {
        assert!(message.encode(&mut vec![0; short]).is_err(), "a frame cut short is an error");
    }
    let with = |field: [u8; 4]| [&canonical[..], &field].concat();
    let odd = with([255, 0, 1, 7]);
    assert_eq!(Message::decode(*frame_type, &odd), Ok(message), "an unknown odd tag is skipped");
    let even = with([254, 0, 1, 7]);
    let refused = DecodeError::UnknownField { field: 254 };
    assert_eq!(Message::decode(*frame_type, &even), Err(refused), "an unknown even tag refuses the frame");
}

/// Followed here on its own, after §5.5 alone.
fn leads(message: &BatchRoot<'_>) {
    let BatchRoot { group, leaf, path, n, head, .. } = *message;
    let found = batch_tree::follow(group, leaf, n, &head, path);
    let [place, index] = leaf.to_be_bytes();
    let levels = path.len() / 32;
    if !(8..=12).contains(&levels) || usize::from(place) >= 1 << (levels - 8) {
        return assert_eq!(found, None);
    }
    // The index is the low byte: bit 8 and above are the group's place.
    let up = |at: [u8; 32], (bit, sibling): (u32, &[u8])| match leaf >> bit & 1 {
        0 => keccak256(&[&[1], &at, sibling]),
        _ => keccak256(&[&[1], sibling, &at]),
    };
    let (in_group, above) = path.split_at(256);
    let lowest = keccak256(&[&[0], &group.to_be_bytes(), &[index, n], &head]);
    let group_root = (0..).zip(in_group.chunks(32)).fold(lowest, up);
    let group_leaf = keccak256(&[&[2], &group.to_be_bytes(), &group_root]);
    let root = (8..).zip(above.chunks(32)).fold(group_leaf, up);
    assert_eq!(found, Some(Roots { group_root, root }));
}

/// Read here on its own, after §3 alone: a payload is its canonical form and fields that were skipped.
fn only_unknown_odd_fields_differ(payload: &[u8], canonical: &[u8]) {
    let known = fields(canonical);
    let mut kept = known.iter();
    let mut next = kept.next();
    for field in fields(payload) {
        if Some(&field) == next {
            next = kept.next();
        } else {
            assert_eq!(field.0 % 2, 1, "the field {} was dropped", field.0);
        }
    }
    assert_eq!(next, None, "a field came from nowhere");
}

fn fields(mut payload: &[u8]) -> Vec<(u8, &[u8])> {
    let mut fields = Vec::new();
    while let [tag, high, low, rest @ ..] = payload {
        let (value, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        fields.push((*tag, value));
        payload = rest;
    }
    assert!(payload.is_empty());
    fields
}

fn refusal(nack: Nack) {
    let mut out = [0; 64];
    let len = nack.encode(&mut out).expect("a NACK has room");
    let parsed = frame::parse(&out[..len], 512).expect("a frame").expect("a whole one");
    assert_eq!(Nack::decode(parsed.payload), Ok(nack));
}

/// The bodies inside AUTH_GRANT, AUTH_DENY and CREDIT_UPDATE.
pub(crate) fn bodies(data: &[u8]) {
    let mut out = [0; 64];
    macro_rules! round_trip {
        ($($body:ident)*) => {$(
            if let Ok(body) = $body::decode(data) {
                let len = body.encode(&mut out).expect("a body has room");
                assert_eq!($body::decode(&out[..len]), Ok(body));
                only_unknown_odd_fields_differ(data, &out[..len]);
            }
        )*};
    }
    round_trip!(Grant Deny Credit);
}

/// A tariff has one encoding, and a price at every minute of the day.
pub(crate) fn tariffs(data: &[u8]) {
    let Ok(parsed) = Tariff::parse(data) else { return };
    let periods: Vec<_> = parsed.periods().collect();
    let mut out = [0; 512];
    let len = tariff::encode(parsed.terms(), &periods, &mut out).expect("what was parsed can be encoded");
    assert_eq!(&out[..len], data);
    for minute in 0..1_440 {
        let period = parsed.period_at(minute).expect("a period at every minute");
        assert!(period.start_minute <= minute);
    }
    assert_eq!(parsed.period_at(1_440), None);
    for time_ms in [0, 1, 1_700_000_000_000, u64::MAX] {
        assert!(parsed.local_minute(time_ms) < 1_440);
    }
}
