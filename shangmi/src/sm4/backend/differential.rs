//! Every implementation against RustCrypto's and OpenSSL's GCM, also where the counter wraps within the message: from a
//! nonce of 12 bytes that takes 64 GiB, from one of 16 bytes, whose first counter is a hash, any message can.

use std::{env, fs, vec::Vec};

use aes_gcm::{AesGcm, KeyInit};
use proptest::prelude::*;

use aead::{AeadInOut, consts::U16};

use super::*;
use crate::sm4::Sm4Gcm;

/// Seals and opens in place and apart, and refuses what was changed with the buffers as they were.
fn check(
    any: &AnyKernel,
    first: &Counter,
    aad: &[u8],
    plaintext: &[u8],
    ciphertext: &[u8],
    tag: &[u8; 16],
    flip: usize,
) {
    let context = || std::format!("{:?}, {} bytes, {first:02x?}", any.implementation(), plaintext.len());
    let mut buffer = plaintext.to_vec();
    assert_eq!(&any.seal_message(first, aad, buffer.as_mut_slice().into()), tag, "{}", context());
    assert!(buffer == ciphertext, "sealed in place: {}", context());
    assert!(any.open_message(first, aad, buffer.as_mut_slice().into(), tag), "{}", context());
    assert!(buffer == plaintext, "opened in place: {}", context());

    let mut output = std::vec![0x55; plaintext.len()];
    let apart = InOutBuf::new(plaintext, &mut output).unwrap();
    assert_eq!(&any.seal_message(first, aad, apart), tag, "{}", context());
    assert!(output == ciphertext, "sealed apart: {}", context());
    let mut output = std::vec![0x55; plaintext.len()];
    assert!(any.open_message(first, aad, InOutBuf::new(ciphertext, &mut output).unwrap(), tag));
    assert!(output == plaintext, "opened apart: {}", context());

    // One bit of tag, associated data or ciphertext.
    let (mut wrong_tag, mut wrong_aad, mut wrong) = (*tag, aad.to_vec(), ciphertext.to_vec());
    let bit = flip % (8 * (16 + aad.len() + ciphertext.len()));
    let bytes = wrong_tag.iter_mut().chain(&mut wrong_aad).chain(&mut wrong);
    *bytes.into_iter().nth(bit / 8).unwrap() ^= 1 << (bit % 8);
    let mut buffer = wrong.clone();
    assert!(!any.open_message(first, &wrong_aad, buffer.as_mut_slice().into(), &wrong_tag), "{}", context());
    assert!(buffer == wrong, "refused, and written to: {}", context());
    let mut output = std::vec![0x55; plaintext.len()];
    let apart = InOutBuf::new(&wrong, &mut output).unwrap();
    assert!(!any.open_message(first, &wrong_aad, apart, &wrong_tag));
    assert!(output.iter().all(|byte| *byte == 0x55), "refused, and plaintext written: {}", context());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_implementation_agrees_with_rustcrypto_where_the_counter_wraps(
        key: [u8; 16], upper: [u8; 12], before in 0u32..140, length in 0usize..5000, aad in 0usize..=64,
        flip: usize, data in prop::collection::vec(any::<u8>(), 5064),
    ) {
        let mut first = [0; 16];
        first[..12].copy_from_slice(&upper);
        first[12..].copy_from_slice(&0u32.wrapping_sub(before).to_be_bytes());
        let nonce = nonce_with_first_counter(&key, &first);
        let (aad, plaintext) = (&data[..aad], &data[64..64 + length]);
        let mut ciphertext = plaintext.to_vec();
        let tag = AesGcm::<sm4::Sm4, U16>::new(&key.into())
            .encrypt_inout_detached(&nonce.into(), aad, ciphertext.as_mut_slice().into())
            .unwrap();
        for implementation in Implementation::ALL {
            if let Ok(any) = AnyKernel::new(&key, implementation) {
                check(&any, &first, aad, plaintext, &ciphertext, &tag.0, flip);
            }
        }
    }
}

/// The file is made by `tests/openssl/cases.py`: 4096 bytes that plaintext and associated data are cut from, then the cases.
#[test]
#[ignore = "needs cases of a running OpenSSL: scripts/steps/test-sm4-openssl.sh"]
fn every_implementation_agrees_with_openssl() {
    let path = env::var("SHANGMI_OPENSSL_CASES").expect("SHANGMI_OPENSSL_CASES names the file of cases");
    let file = fs::read(path).unwrap();
    let (pool, mut rest) = file.split_at(4096);
    let mut take = |length: usize| {
        let (taken, after) = rest.split_at(length);
        rest = after;
        taken
    };
    let (mut seen, mut wrapped) = (0, 0);
    let count = u32::from_be_bytes(take(4).try_into().unwrap());
    let available: Vec<_> = Implementation::ALL.into_iter().filter(|it| it.is_available()).collect();
    assert!(available.contains(&Implementation::Portable));
    // Where the processor is emulated, it is known what it has.
    if let Ok(expected) = env::var("SHANGMI_IMPLEMENTATIONS") {
        assert_eq!(std::format!("{available:?}"), expected);
    }
    for number in 0..count {
        let key: [u8; 16] = take(16).try_into().unwrap();
        let first: [u8; 16] = take(16).try_into().unwrap();
        let [aad_start, aad, start, length] =
            [0; 4].map(|_: u8| usize::from(u16::from_be_bytes(take(2).try_into().unwrap())));
        let (aad, plaintext) = (&pool[aad_start..aad_start + aad], &pool[start..start + length]);
        let ciphertext = take(length);
        let tag: [u8; 16] = take(16).try_into().unwrap();
        let counter = u32::from_be_bytes(first[12..].try_into().unwrap());
        let wraps = counter.checked_add(length.div_ceil(16) as u32).is_none();
        for implementation in &available {
            let any = AnyKernel::new(&key, *implementation).unwrap();
            check(&any, &first, aad, plaintext, ciphertext, &tag, number as usize * 7919);
            if counter == 1 {
                let nonce: [u8; 12] = first[..12].try_into().unwrap();
                let cipher = Sm4Gcm::with_implementation(&key, *implementation).unwrap();
                let mut buffer = plaintext.to_vec();
                let made =
                    cipher.encrypt_inout_detached(&nonce.into(), aad, buffer.as_mut_slice().into()).unwrap();
                assert!(buffer == ciphertext && made.0 == tag, "{implementation:?}, case {number}");
                cipher
                    .decrypt_inout_detached(&nonce.into(), aad, buffer.as_mut_slice().into(), &made)
                    .unwrap();
                assert!(buffer == plaintext, "{implementation:?}, case {number}");
            }
        }
        seen += 1;
        wrapped += u32::from(wraps);
    }
    assert!(take(0).is_empty() && rest.is_empty(), "the file goes on after its last case");
    assert!(seen > 5000 && wrapped > 100, "{seen} cases, of which {wrapped} wrap");
    std::println!("{seen} cases, {wrapped} of them wrap, by {available:?}");
}

/// The nonce of 16 bytes whose hash is `first`: GHASH of nonce and length is `(nonce·H ⊕ length)·H`.
fn nonce_with_first_counter(key: &[u8; 16], first: &Counter) -> [u8; 16] {
    let mut h = [0; 16].into();
    sm4::cipher::BlockCipherEncrypt::encrypt_block(&<sm4::Sm4 as KeyInit>::new(&(*key).into()), &mut h);
    let inverse = invert(u128::from_be_bytes(h.0));
    let length = 128;
    multiply(multiply(u128::from_be_bytes(*first), inverse) ^ length, inverse).to_be_bytes()
}

/// SP 800-38D §6.3; the first bit is the highest.
fn multiply(x: u128, mut v: u128) -> u128 {
    (0..128).fold(0, |product, bit| {
        let term = if x << bit >> 127 == 1 { v } else { 0 };
        v = v >> 1 ^ if v & 1 == 1 { 0xe1 << 120 } else { 0 };
        product ^ term
    })
}

/// `x` to the power of 2¹²⁸ - 2.
fn invert(x: u128) -> u128 {
    let mut power = x;
    (1..128).fold(1 << 127, |inverse, _| {
        power = multiply(power, power);
        multiply(inverse, power)
    })
}
