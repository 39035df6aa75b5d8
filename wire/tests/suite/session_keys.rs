use cip22_wire::{FrameType, keccak256, session_keys::SessionKeys};

use crate::vectors::{self, array, bytes, fixed, int};

#[test]
fn keys_and_tags_equal_the_vectors() {
    let file = vectors::read("session_keys");
    let keys = SessionKeys::derive(&fixed(&file, "z"), &fixed(&file, "sid"));
    assert_eq!(*keys.k(), fixed(&file, "k"));
    assert_eq!(*keys.enc_gateway(), fixed(&file, "k_enc_gateway"));
    assert_eq!(*keys.enc_pile(), fixed(&file, "k_enc_pile"));
    assert_eq!(keccak256(&[&bytes(&file, "a")]), fixed(&file, "l"));
    let ticket_hash = fixed(&file, "ticket_hash");
    for vector in array(&file, "tags") {
        let frame_type = FrameType::from_u8(int(vector, "frame_type")).unwrap();
        let tag = keys.tag(&ticket_hash, frame_type, int(vector, "suite"), &bytes(vector, "body"));
        assert_eq!(tag, fixed(vector, "tag"));
    }
}

#[test]
fn a_tag_verifies_only_for_exactly_what_it_was_made_of() {
    let keys = SessionKeys::derive(&[7; 64], &[1; 16]);
    let (ticket_hash, body) = ([3; 32], [1, 0, 1, 2]);
    let tag = keys.tag(&ticket_hash, FrameType::AuthGrant, 0, &body);
    assert!(keys.verify_tag(&ticket_hash, FrameType::AuthGrant, 0, &body, &tag));
    assert!(!keys.verify_tag(&[4; 32], FrameType::AuthGrant, 0, &body, &tag));
    assert!(!keys.verify_tag(&ticket_hash, FrameType::AuthDeny, 0, &body, &tag));
    assert!(!keys.verify_tag(&ticket_hash, FrameType::AuthGrant, 1, &body, &tag));
    assert!(!keys.verify_tag(&ticket_hash, FrameType::AuthGrant, 0, &body[..3], &tag));
    let other = SessionKeys::derive(&[7; 64], &[2; 16]);
    assert!(!other.verify_tag(&ticket_hash, FrameType::AuthGrant, 0, &body, &tag));
    for bit in 0..256 {
        let mut wrong = tag;
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(!keys.verify_tag(&ticket_hash, FrameType::AuthGrant, 0, &body, &wrong));
    }
}

#[test]
fn debug_shows_no_key() {
    assert_eq!(format!("{:?}", SessionKeys::derive(&[7; 64], &[1; 16])), "SessionKeys(redacted)");
}
