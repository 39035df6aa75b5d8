//! SM4-GCM: the standards' vectors, and every implementation against RustCrypto's.

use aes_gcm::AesGcm;
use proptest::prelude::*;
use shangmi::sm4::{
    Implementation, Sm4Gcm, Unavailable,
    aead::{AeadInOut, KeyInit, consts::U12, inout::InOutBuf},
};

use crate::vectors::{self, array, load};

type Reference = AesGcm<sm4::Sm4, U12>;

/// Those of this processor; the portable one always.
fn implementations() -> Vec<Implementation> {
    let found: Vec<_> =
        Implementation::ALL.into_iter().filter(|implementation| implementation.is_available()).collect();
    assert!(found.contains(&Implementation::Portable));
    found
}

fn cipher(key: &[u8; 16], implementation: Implementation) -> Sm4Gcm {
    let cipher = Sm4Gcm::with_implementation(key, implementation).unwrap();
    assert_eq!(cipher.implementation(), implementation);
    cipher
}

/// Bytes without a pattern of short period.
fn bytes(length: usize, mut seed: u64) -> Vec<u8> {
    (0..length)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        })
        .collect()
}

fn expected(key: &[u8; 16], nonce: &[u8; 12], aad: &[u8], plaintext: &[u8]) -> (Vec<u8>, [u8; 16]) {
    let mut buffer = plaintext.to_vec();
    let tag = Reference::new(key.into())
        .encrypt_inout_detached(nonce.into(), aad, buffer.as_mut_slice().into())
        .unwrap();
    (buffer, tag.into())
}

/// Seals and opens, in place and from buffer to buffer.
fn check(cipher: &Sm4Gcm, nonce: &[u8; 12], aad: &[u8], plaintext: &[u8], ciphertext: &[u8], tag: &[u8; 16]) {
    let context =
        || format!("{:?}, {} bytes, {} associated", cipher.implementation(), plaintext.len(), aad.len());
    let mut buffer = plaintext.to_vec();
    let made = cipher.encrypt_inout_detached(nonce.into(), aad, buffer.as_mut_slice().into()).unwrap();
    assert!(buffer == ciphertext, "sealed in place: {}", context());
    assert_eq!(&made.0, tag, "{}", context());
    cipher.decrypt_inout_detached(nonce.into(), aad, buffer.as_mut_slice().into(), tag.into()).unwrap();
    assert!(buffer == plaintext, "opened in place: {}", context());

    let mut output = vec![0x55; plaintext.len()];
    let made = cipher
        .encrypt_inout_detached(nonce.into(), aad, InOutBuf::new(plaintext, &mut output).unwrap())
        .unwrap();
    assert!(output == ciphertext && &made.0 == tag, "sealed apart: {}", context());
    let mut output = vec![0x55; plaintext.len()];
    cipher
        .decrypt_inout_detached(
            nonce.into(),
            aad,
            InOutBuf::new(ciphertext, &mut output).unwrap(),
            tag.into(),
        )
        .unwrap();
    assert!(output == plaintext, "opened apart: {}", context());
}

#[test]
fn every_implementation_agrees_with_rustcrypto_on_every_length_up_to_1100_with_every_aad_up_to_64() {
    let key = *b"0123456789abcdef";
    let reference = Reference::new(&key.into());
    let ciphers: Vec<_> = implementations().into_iter().map(|it| cipher(&key, it)).collect();
    let (pool, aad) = (bytes(1100, 1), bytes(64, 2));
    let mut expected = vec![0; 1100];
    let mut buffer = vec![0; 1100];
    for length in 0..=1100 {
        let plaintext = &pool[..length];
        let (expected, buffer) = (&mut expected[..length], &mut buffer[..length]);
        for aad in (0..=64).map(|end| &aad[..end]) {
            let mut nonce = [7; 12];
            nonce[..2].copy_from_slice(&(length as u16).to_be_bytes());
            nonce[2] = aad.len() as u8;
            let apart = InOutBuf::new(plaintext, expected).unwrap();
            let tag = reference.encrypt_inout_detached(&nonce.into(), aad, apart).unwrap();
            for cipher in &ciphers {
                let context =
                    || format!("{:?}, {length} bytes, {} associated", cipher.implementation(), aad.len());
                buffer.copy_from_slice(plaintext);
                let made = cipher.encrypt_inout_detached(&nonce.into(), aad, (&mut *buffer).into()).unwrap();
                assert!(buffer == expected && made == tag, "sealed: {}", context());
                cipher.decrypt_inout_detached(&nonce.into(), aad, (&mut *buffer).into(), &tag).unwrap();
                assert!(buffer == plaintext, "opened: {}", context());
            }
        }
        let aad = &aad[..length % 65];
        let (ciphertext, tag) = self::expected(&key, &[5; 12], aad, plaintext);
        for cipher in &ciphers {
            check(cipher, &[5; 12], aad, plaintext, &ciphertext, &tag);
        }
    }
}

#[test]
fn every_implementation_agrees_with_rustcrypto_on_every_length_of_associated_data_up_to_64() {
    let key = [0xa5; 16];
    let ciphers: Vec<_> = implementations().into_iter().map(|it| cipher(&key, it)).collect();
    let aad = bytes(2100, 4);
    for length in (0..=64).chain([127, 128, 1023, 1024, 1025, 2100]) {
        for plaintext in [&[][..], b"a", &[7; 16], &[8; 100]] {
            let (ciphertext, tag) = expected(&key, &[length as u8; 12], &aad[..length], plaintext);
            for cipher in &ciphers {
                check(cipher, &[length as u8; 12], &aad[..length], plaintext, &ciphertext, &tag);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_implementation_agrees_with_rustcrypto_on_long_messages(
        key: [u8; 16], nonce: [u8; 12], aad in 0usize..300, length in 1000usize..20_000, seed: u64,
    ) {
        let (aad, plaintext) = (bytes(aad, seed), bytes(length, !seed));
        let (ciphertext, tag) = expected(&key, &nonce, &aad, &plaintext);
        for implementation in implementations() {
            check(&cipher(&key, implementation), &nonce, &aad, &plaintext, &ciphertext, &tag);
        }
    }
}

#[test]
fn the_vectors_of_openssl_4_come_out() {
    for vector in load(include_str!("../vectors/sm4_gcm.json")) {
        let [aad, plaintext, ciphertext] =
            ["aad", "plaintext", "ciphertext"].map(|field| vectors::bytes(&vector, field));
        let (key, nonce, tag) = (array(&vector, "key"), array(&vector, "nonce"), array(&vector, "tag"));
        for implementation in implementations() {
            check(&cipher(&key, implementation), &nonce, &aad, &plaintext, &ciphertext, &tag);
        }
    }
}

#[test]
fn the_vector_of_rfc_8998_comes_out() {
    let bytes = |text: &str| hex::decode(text).unwrap();
    let plaintext = bytes(
        "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccddddddddddddddddeeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa",
    );
    let ciphertext = bytes(
        "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d",
    );
    let key: [u8; 16] = bytes("0123456789abcdeffedcba9876543210").try_into().unwrap();
    let nonce: [u8; 12] = bytes("00001234567800000000abcd").try_into().unwrap();
    let aad = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let tag: [u8; 16] = bytes("83de3541e4c2b58177e065a9bf7b62ec").try_into().unwrap();
    for implementation in implementations() {
        check(&cipher(&key, implementation), &nonce, &aad, &plaintext, &ciphertext, &tag);
    }
}

#[test]
fn the_vector_openssl_tongsuo_and_gmssl_agree_on_comes_out() {
    let key: [u8; 16] = core::array::from_fn(|i| i as u8);
    let ciphertext = hex::decode("4a38e1a38d002d33dc8adf8b3ae601513d").unwrap();
    let tag: [u8; 16] = hex::decode("0a7b7d38c4d7ee910e41b39d8877ea43").unwrap().try_into().unwrap();
    for implementation in implementations() {
        check(&cipher(&key, implementation), &[0; 12], b"aad", b"hello world 12345", &ciphertext, &tag);
    }
}

#[test]
fn whatever_is_changed_opening_fails_and_leaves_the_buffers_alone() {
    let (key, nonce, aad) = ([9; 16], [8; 12], bytes(20, 7));
    for length in [0, 1, 16, 100, 1008, 1009, 3000] {
        let (ciphertext, tag) = expected(&key, &nonce, &aad, &bytes(length, 6));
        for implementation in implementations() {
            let cipher = cipher(&key, implementation);
            let refuse = |nonce: &[u8; 12], aad: &[u8], ciphertext: &[u8], tag: &[u8; 16]| {
                let mut buffer = ciphertext.to_vec();
                let opened = cipher.decrypt_inout_detached(
                    nonce.into(),
                    aad,
                    buffer.as_mut_slice().into(),
                    tag.into(),
                );
                assert!(opened.is_err(), "{implementation:?}, {length} bytes");
                assert!(buffer == ciphertext, "{implementation:?} changed the ciphertext");
                let mut output = vec![0x77; ciphertext.len()];
                let both = InOutBuf::new(ciphertext, &mut output).unwrap();
                assert!(cipher.decrypt_inout_detached(nonce.into(), aad, both, tag.into()).is_err());
                assert!(output.iter().all(|&byte| byte == 0x77), "{implementation:?} wrote plaintext");
            };
            for bit in 0..128 {
                let mut tag = tag;
                tag[bit / 8] ^= 1 << (bit % 8);
                refuse(&nonce, &aad, &ciphertext, &tag);
            }
            for place in (0..length).step_by(1 + length / 40) {
                let mut changed = ciphertext.clone();
                changed[place] ^= 0x10;
                refuse(&nonce, &aad, &changed, &tag);
            }
            let mut other_nonce = nonce;
            other_nonce[11] ^= 1;
            refuse(&other_nonce, &aad, &ciphertext, &tag);
            let mut other_aad = aad.clone();
            other_aad[19] ^= 1;
            refuse(&nonce, &other_aad, &ciphertext, &tag);
            refuse(&nonce, &aad[1..], &ciphertext, &tag);
            if length > 0 {
                refuse(&nonce, &aad, &ciphertext[1..], &tag);
                refuse(&nonce, &aad, &ciphertext[..length - 1], &tag);
            }
        }
    }
}

#[cfg(feature = "alloc")]
#[test]
fn the_buffer_interface_appends_the_tag_and_takes_it_off() {
    let mut buffer = b"hello world 12345".to_vec();
    let cipher = Sm4Gcm::new(&core::array::from_fn(|i| i as u8).into());
    cipher.encrypt_in_place(&[0; 12].into(), b"aad", &mut buffer).unwrap();
    let expected = "4a38e1a38d002d33dc8adf8b3ae601513d0a7b7d38c4d7ee910e41b39d8877ea43";
    assert_eq!(hex::encode(&buffer), expected);
    assert!(cipher.decrypt_in_place(&[0; 12].into(), b"aaD", &mut buffer).is_err());
    assert_eq!(hex::encode(&buffer), expected);
    cipher.decrypt_in_place(&[0; 12].into(), b"aad", &mut buffer).unwrap();
    assert_eq!(buffer, b"hello world 12345");
    assert!(cipher.decrypt_in_place(&[0; 12].into(), b"aad", &mut vec![0; 15]).is_err());
}

#[test]
fn an_implementation_of_another_processor_is_refused_by_name() {
    let absent: Vec<_> = Implementation::ALL.into_iter().filter(|it| !it.is_available()).collect();
    assert!(!absent.is_empty(), "no processor has the instructions of two architectures");
    for implementation in absent {
        let refused = Sm4Gcm::with_implementation(&[0; 16], implementation).map(|_| ());
        assert_eq!(refused, Err(Unavailable(implementation)));
    }
    assert!(Implementation::detect().is_available());
    assert_eq!(Sm4Gcm::new(&[0; 16].into()).implementation(), Implementation::detect());
}

#[test]
fn a_key_does_not_show_in_debug_output() {
    let cipher = cipher(&[0xab; 16], Implementation::Portable);
    assert_eq!(format!("{cipher:?}"), "Sm4Gcm { implementation: Portable, .. }");
}
