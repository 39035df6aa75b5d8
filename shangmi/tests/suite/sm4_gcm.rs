//! SM4-GCM: the standards' vectors, and every implementation against RustCrypto's.

use aes_gcm::AesGcm;
use proptest::prelude::*;
use shangmi::sm4::{
    Implementation, Sm4Gcm, Unavailable,
    aead::{AeadInOut, KeyInit, consts::U12, inout::InOutBuf},
};

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
fn every_implementation_agrees_with_rustcrypto_on_every_length_up_to_1100() {
    let key = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
    let ciphers: Vec<_> = implementations().into_iter().map(|it| cipher(&key, it)).collect();
    let plaintext = bytes(1100, 1);
    let aad = bytes(64, 2);
    for length in 0..=1100 {
        let nonce: [u8; 12] = bytes(12, length as u64).try_into().unwrap();
        let (aad, plaintext) = (&aad[..length % 65], &plaintext[..length]);
        let (ciphertext, tag) = expected(&key, &nonce, aad, plaintext);
        for cipher in &ciphers {
            check(cipher, &nonce, aad, plaintext, &ciphertext, &tag);
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
