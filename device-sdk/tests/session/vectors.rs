//! The golden vectors that concern keys and signatures.

use cip22_device_sdk::{
    Error,
    sign::{SigningKey, address_of, ecdh_x, recover_address},
};
use serde_json::Value;

fn load(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn get<const N: usize>(value: &Value) -> [u8; N] {
    hex::decode(value.as_str().unwrap().trim_start_matches("0x")).unwrap().try_into().unwrap()
}

#[test]
fn keys_have_the_public_keys_and_addresses_of_the_vectors() {
    let digests = load(include_str!("../../../tests/vectors/digests.json"));
    for who in ["device", "gateway", "governance"] {
        let who = &digests[who];
        let key = SigningKey::from_bytes(&get(&who["private_key"])).unwrap();
        assert_eq!(key.public_key(), get::<33>(&who["public_key"]));
        assert_eq!(key.address(), get::<20>(&who["address"]));
        assert_eq!(address_of(&key.public_key()), Ok(key.address()));
    }
}

#[test]
fn signatures_of_the_vectors_recover_to_their_signers_and_are_made_again() {
    let digests = load(include_str!("../../../tests/vectors/digests.json"));
    for (what, who) in [
        ("policy", "governance"),
        ("challenge_req", "device"),
        ("epoch", "gateway"),
        ("ticket", "gateway"),
        ("head", "device"),
        ("charge_end", "device"),
    ] {
        let key = SigningKey::from_bytes(&get(&digests[who]["private_key"])).unwrap();
        let (digest, signature) = (get(&digests[what]["digest"]), get(&digests[what]["signature"]));
        assert_eq!(recover_address(&digest, &signature), Ok(key.address()), "{what}");
        let made = key.sign(&digest);
        assert_eq!(recover_address(&digest, &made), Ok(key.address()), "{what}");
    }
}

#[test]
fn the_shared_coordinates_are_those_of_the_vectors() {
    let keys = load(include_str!("../../../tests/vectors/session_keys.json"));
    let z: [u8; 64] = get(&keys["z"]);
    let gw_eph = get(&keys["gw_eph"]);
    for (private_key, half) in [("dev_eph_private_key", &z[..32]), ("device_private_key", &z[32..])] {
        let key = SigningKey::from_bytes(&get(&keys[private_key])).unwrap();
        assert_eq!(&ecdh_x(&key, &gw_eph).unwrap()[..], half);
        let other = SigningKey::from_bytes(&get(&keys["gw_eph_private_key"])).unwrap();
        assert_eq!(&ecdh_x(&other, &key.public_key()).unwrap()[..], half);
    }
}

#[test]
fn a_signature_with_s_in_the_upper_half_is_refused() {
    let key = SigningKey::from_bytes(&[7; 32]).unwrap();
    let with_s = |s: &str| {
        let mut signature = key.sign(&[9; 32]);
        signature[32..].copy_from_slice(&get::<32>(&Value::from(s)));
        recover_address(&[9; 32], &signature)
    };
    // Half of the order, which some other key's signature may have, and one more.
    let (highest, above) = (
        "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0",
        "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1",
    );
    assert!(with_s(highest).is_ok_and(|address| address != key.address()));
    assert_eq!(with_s(above), Err(Error::InvalidSignature));
}

#[test]
fn bytes_that_are_no_signature_or_no_key_are_refused() {
    assert_eq!(recover_address(&[9; 32], &[0; 64]), Err(Error::InvalidSignature));
    assert_eq!(recover_address(&[9; 32], &[0x7F; 64]), Err(Error::InvalidSignature));
    assert_eq!(SigningKey::from_bytes(&[0; 32]).err(), Some(Error::InvalidKey));
    assert_eq!(SigningKey::from_bytes(&[0xFF; 32]).err(), Some(Error::InvalidKey));
    assert_eq!(address_of(&[2; 33]).err(), None);
    assert_eq!(address_of(&[0; 33]), Err(Error::InvalidPoint));
}

#[test]
fn secrets_do_not_show_in_debug() {
    let key = SigningKey::from_bytes(&[7; 32]).unwrap();
    assert_eq!(format!("{key:?}"), "SigningKey(redacted)");
}
