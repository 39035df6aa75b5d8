//! HMAC-SM3, HKDF-SM3 and KDF2 against OpenSSL's and GmSSL's.

use proptest::prelude::*;
use shangmi::{Error, kdf};

use crate::vectors::{array, bytes, load};

#[test]
fn hmac_sm3_is_what_openssl_and_gmssl_make() {
    for vector in load(include_str!("../vectors/hmac_sm3.json")) {
        let (key, data, tag) = (bytes(&vector, "key"), bytes(&vector, "data"), array(&vector, "tag"));
        let (first, second) = data.split_at(data.len() / 3);
        assert_eq!(kdf::hmac_sm3(&key, &[&data]), tag);
        assert_eq!(kdf::hmac_sm3(&key, &[first, second]), tag);
        assert!(kdf::verify_hmac_sm3(&key, &[&data], &tag));
        for bit in [0, 100, 255] {
            let mut wrong = tag;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(!kdf::verify_hmac_sm3(&key, &[&data], &wrong));
        }
    }
}

#[test]
fn hkdf_sm3_is_what_openssl_makes() {
    for vector in load(include_str!("../vectors/hkdf_sm3.json")) {
        let [salt, secret, info, out] = ["salt", "secret", "info", "out"].map(|field| bytes(&vector, field));
        let mut found = vec![0; out.len()];
        kdf::hkdf_sm3(&salt, &secret, &info, &mut found).unwrap();
        assert_eq!(found, out);
        let mut in_two_steps = vec![0; out.len()];
        let key = kdf::hkdf_sm3_extract(&salt, &secret);
        kdf::hkdf_sm3_expand(&key, &info, &mut in_two_steps).unwrap();
        assert_eq!(in_two_steps, out);
    }
    let mut too_long = vec![0; 255 * 32 + 1];
    assert_eq!(kdf::hkdf_sm3(b"", b"secret", b"", &mut too_long), Err(Error::TooLong));
    kdf::hkdf_sm3(b"", b"secret", b"", &mut too_long[1..]).unwrap();
}

#[test]
fn kdf2_is_the_standards_over_hmac_sm3_and_sp_800_108s() {
    for vector in load(include_str!("../vectors/kdf2.json")) {
        let [salt, secret, info, out] = ["salt", "secret", "info", "out"].map(|field| bytes(&vector, field));
        let mut found = vec![0; out.len()];
        kdf::kdf2(&salt, &secret, &info, &mut found).unwrap();
        assert_eq!(found, out);
    }
}

#[test]
fn kdf2_depends_on_device_secret_and_purpose() {
    let derive = |salt: &[u8], secret: &[u8], info: &[u8]| {
        let mut out = [0; 32];
        kdf::kdf2(salt, secret, info, &mut out).unwrap();
        out
    };
    let one = derive(b"device 1", b"secret", b"purpose");
    for other in [
        derive(b"device 2", b"secret", b"purpose"),
        derive(b"device 1", b"secreT", b"purpose"),
        derive(b"device 1", b"secret", b"purposE"),
    ] {
        assert_ne!(one, other);
    }
}

proptest! {
    /// One block after the other, each hashed whole; a shorter output is the beginning of a longer one.
    #[test]
    fn kdf2_is_its_blocks_one_after_the_other(
        salt in prop::collection::vec(any::<u8>(), 0..150),
        secret in prop::collection::vec(any::<u8>(), 0..150),
        info in prop::collection::vec(any::<u8>(), 0..50),
        length in 0usize..300,
    ) {
        let blocks = (1u32..11).flat_map(|i| kdf::hmac_sm3(&salt, &[&[&secret, &i.to_be_bytes()[..], &info].concat()]));
        let mut out = vec![0; length];
        kdf::kdf2(&salt, &secret, &info, &mut out).unwrap();
        prop_assert!(out.into_iter().eq(blocks.take(length)));
    }

    #[test]
    fn hkdf_in_one_step_is_extract_then_expand_and_a_shorter_output_begins_a_longer(
        salt in prop::collection::vec(any::<u8>(), 0..150),
        secret in prop::collection::vec(any::<u8>(), 0..150),
        info in prop::collection::vec(any::<u8>(), 0..50),
        length in 0usize..300,
    ) {
        let (mut short, mut long, mut in_two_steps) = (vec![0; length], vec![0; 300], vec![0; length]);
        kdf::hkdf_sm3(&salt, &secret, &info, &mut short).unwrap();
        kdf::hkdf_sm3(&salt, &secret, &info, &mut long).unwrap();
        kdf::hkdf_sm3_expand(&kdf::hkdf_sm3_extract(&salt, &secret), &info, &mut in_two_steps).unwrap();
        prop_assert_eq!(&short, &long[..length]);
        prop_assert_eq!(&short, &in_two_steps);
    }
}
