//! Layout of sealed bodies (§4.5); the golden vectors of their content are read by the parts that hold the cipher.

use cip22_wire::{
    Body, EncodeError, FrameType, Message,
    limits::{
        BODY_BYTES_MAX, OTA_DATA_BYTES_MAX, PILE_PAYLOAD_BYTES_MIN, SEAL_OVERHEAD_BYTES,
        SEALED_BODY_BYTES_MAX,
    },
    message::{AuthRevoke, OtaChunk, Sealed},
    sealed::{
        Direction, SealedBody, associated_data, lay_out, may_stand_inside, must_stand_inside, put_inner,
        split_inner, split_mut,
    },
    session_keys::SessionKeys,
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_body_is_read_as_it_was_written(
        seq in any::<u32>(),
        ciphertext in prop::collection::vec(any::<u8>(), 0..500),
        tag in any::<[u8; 16]>(),
        spare in 0_usize..8,
    ) {
        let sealed = SealedBody { seq, ciphertext: &ciphertext, tag: &tag };
        let mut out = vec![0; ciphertext.len() + SEAL_OVERHEAD_BYTES + spare];
        let len = sealed.encode(&mut out).unwrap();
        prop_assert_eq!(len, ciphertext.len() + SEAL_OVERHEAD_BYTES);
        prop_assert_eq!(SealedBody::parse(&out[..len]), Some(sealed));
        prop_assert_eq!(sealed.encode(&mut out[..len - 1]), Err(EncodeError::BufferTooSmall));
    }

    #[test]
    fn any_bytes_split_the_same_way_read_or_in_place(mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let copy = bytes.clone();
        let read = SealedBody::parse(&copy);
        prop_assert_eq!(read.is_some(), bytes.len() >= SEAL_OVERHEAD_BYTES);
        let parts = split_mut(&mut bytes);
        prop_assert_eq!(
            read.map(|read| (read.seq.to_be_bytes(), read.ciphertext.to_vec(), *read.tag)),
            parts.map(|parts| (*parts.seq, parts.text.to_vec(), *parts.tag))
        );
        if let Some((frame_type, payload)) = split_inner(&copy) {
            let _ = Message::decode(frame_type, payload);
        }
    }

    #[test]
    fn a_writer_that_claims_more_than_it_had_is_refused(room in 0_usize..80, claimed in 0_usize..100) {
        let laid_out = lay_out(&mut vec![0; room], |_| Ok(claimed));
        let fits = room >= SEAL_OVERHEAD_BYTES && claimed <= room - SEAL_OVERHEAD_BYTES;
        prop_assert_eq!(laid_out.ok(), fits.then_some(claimed + SEAL_OVERHEAD_BYTES));
    }
}

#[test]
fn the_longest_chunk_fills_the_smallest_payload_exactly() {
    let chunk = OtaChunk { version: 1, offset: 2, data: &[5; OTA_DATA_BYTES_MAX] };
    let mut body = [0; SEALED_BODY_BYTES_MAX];
    let len = lay_out(&mut body, |text| put_inner(&chunk, text)).unwrap();
    assert_eq!(len, SEALED_BODY_BYTES_MAX);
    let (frame_type, payload) = split_inner(split_mut(&mut body).unwrap().text).unwrap();
    assert_eq!(Message::decode(frame_type, payload), Ok(Message::OtaChunk(chunk)));

    let mut payload = [0; PILE_PAYLOAD_BYTES_MIN as usize];
    let sealed = Sealed { sid: [1; 16], suite: 1, body: &body };
    assert_eq!(sealed.encode_payload(&mut payload), Ok(payload.len()));
    assert_eq!(Sealed::decode(&payload), Ok(sealed));
}

#[test]
fn a_frame_inside_has_the_bytes_it_has_outside() {
    let message = AuthRevoke { sid: [3; 16], cause: 2, grace_wh: 70 };
    let (mut inside, mut outside) = ([0; 64], [0; 64]);
    let len = put_inner(&message, &mut inside).unwrap();
    let frame_len = message.encode(&mut outside).unwrap();
    assert_eq!(inside[..len], outside[6..frame_len - 1], "type and payload, without length and CRC");
    for short in 0..len {
        assert_eq!(put_inner(&message, &mut inside[..short]), Err(EncodeError::BufferTooSmall));
    }
}

#[test]
fn every_sealed_answer_and_credit_fits_its_field() {
    use cip22_wire::body::{Credit, Deny, Grant};
    let mut body = [0; BODY_BYTES_MAX];
    let grant = Grant { wh: u32::MAX, minutes: u16::MAX };
    let credit = Credit { seq: u32::MAX, wh: u32::MAX, minutes: u16::MAX };
    assert_eq!(lay_out(&mut body, |text| grant.encode(text)), Ok(32));
    assert_eq!(lay_out(&mut body, |text| Deny { reason: 4 }.encode(text)), Ok(24));
    assert_eq!(lay_out(&mut body, |text| credit.encode(text)), Ok(39));
}

#[test]
fn each_direction_has_its_own_frames_inside_sealed() {
    let inside = |direction| -> Vec<_> {
        FrameType::ALL.iter().copied().filter(|inner| may_stand_inside(*inner, direction)).collect()
    };
    let to_pile = inside(Direction::ToPile);
    assert_eq!(to_pile, [FrameType::AuthRevoke, FrameType::OtaOffer, FrameType::OtaChunk]);
    let to_gateway = inside(Direction::ToGateway);
    assert_eq!(to_gateway, [FrameType::OtaReq, FrameType::OtaStatus]);
    let mut all = [to_pile, to_gateway].concat();
    all.retain(|inner| *inner != FrameType::OtaOffer);
    all.sort();
    let never_plain: Vec<_> =
        FrameType::ALL.iter().copied().filter(|inner| must_stand_inside(*inner)).collect();
    assert_eq!(all, never_plain, "only what the vendor signed may also come in plain");
}

#[test]
fn the_seal_covers_ticket_type_and_suite() {
    let data = associated_data(&[0xAB; 32], FrameType::Sealed, 1);
    assert_eq!(data[..32], [0xAB; 32]);
    assert_eq!(data[32..], [0x18, 1]);
}

#[test]
fn the_secret_of_suite_1_is_both_keys() {
    let keys = SessionKeys::derive(&[7; 64], &[1; 16]);
    let secret = keys.enc_secret();
    assert_eq!(secret[..16], *keys.enc_gateway());
    assert_eq!(secret[16..], *keys.enc_pile());
}
