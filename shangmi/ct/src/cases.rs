//! What is run with secrets, and which bytes are.

use shangmi::{
    signature::{DEFAULT_ID, SigningKey},
    sm4::{
        Implementation, Sm4Gcm,
        aead::{AeadInOut, inout::InOutBuf},
    },
};
use std::hint::black_box;

use crate::{planted, valgrind};

type Case = (String, Box<dyn FnOnce()>);

/// Lengths around every step of the portable kernel and of the message's parts: blocks, batches of 16, short and long.
const LENGTHS: [usize; 14] = [0, 1, 15, 16, 17, 100, 239, 240, 256, 496, 497, 513, 1023, 2000];

/// Sealing and opening by every implementation valgrind's processor has, the portable one always; SM2.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for implementation in Implementation::ALL.into_iter().filter(|it| it.is_available()) {
        cases.push((
            format!("SM4-GCM, {implementation:?}, key schedule"),
            Box::new(move || {
                drop(black_box(cipher(implementation)));
            }),
        ));
        cases.push((format!("SM4-GCM, {implementation:?}, seal"), Box::new(move || seal(implementation))));
        cases.push((format!("SM4-GCM, {implementation:?}, open"), Box::new(move || open(implementation))));
        cases
            .push((format!("SM4-GCM, {implementation:?}, refuse"), Box::new(move || refuse(implementation))));
    }
    cases.push(("SM2, private key".into(), Box::new(|| drop(black_box(signing_key(3))))));
    cases.push(("SM2, sign".into(), Box::new(sign)));
    cases
}

/// Leaks that must be seen.
pub(crate) fn planted() -> Vec<Case> {
    vec![
        (
            "a table looked up by the key".into(),
            Box::new(|| {
                black_box(planted::table_lookup(&secret(7)));
            }),
        ),
        (
            "a comparison that ends at the first difference".into(),
            Box::new(|| {
                black_box(planted::early_exit(&secret(7), &[7; 16]));
            }),
        ),
        (
            "a scalar multiplication that adds for set bits only".into(),
            Box::new(|| {
                black_box(planted::double_and_add(&secret(7)));
            }),
        ),
        (
            "a branch on a plaintext that was opened".into(),
            Box::new(|| {
                let cipher = cipher(Implementation::Portable);
                let mut buffer = secret::<16>(1);
                let tag = cipher.encrypt_inout_detached(&[3; 12].into(), b"", buffer.as_mut_slice().into());
                if black_box(buffer[0]) & 1 == 1 {
                    black_box(tag.is_ok());
                }
            }),
        ),
        (
            "a branch on a private key after signing".into(),
            Box::new(|| {
                let mut number = secret::<32>(3);
                let key = SigningKey::from_bytes(&number);
                if black_box(number[31]) & 1 == 1 {
                    black_box(key.is_ok());
                }
                valgrind::mark_public(&mut number);
            }),
        ),
    ]
}

fn secret<const N: usize>(fill: u8) -> [u8; N] {
    let mut bytes = black_box([fill; N]);
    valgrind::mark_secret(&mut bytes);
    bytes
}

fn cipher(implementation: Implementation) -> Sm4Gcm {
    Sm4Gcm::with_implementation(&secret(7), implementation).expect("available")
}

/// Key, nonce and plaintext are secret, in place and apart; only lengths, associated data and ciphertext's place are not.
fn seal(implementation: Implementation) {
    let cipher = cipher(implementation);
    for length in LENGTHS {
        let mut buffer = vec![0x5a; length];
        valgrind::mark_secret(&mut buffer);
        let nonce = secret::<12>(3);
        let aad = vec![1; length % 40];
        let tag =
            cipher.encrypt_inout_detached(&nonce.into(), &aad, buffer.as_mut_slice().into()).expect("short");
        black_box(tag);
        let mut output = vec![0; length];
        let apart = InOutBuf::new(&buffer, &mut output).expect("one length");
        black_box(cipher.encrypt_inout_detached(&nonce.into(), &aad, apart).expect("short"));
    }
}

/// As [`seal`], then opens what was sealed, whose tag is right.
fn open(implementation: Implementation) {
    let cipher = cipher(implementation);
    for length in LENGTHS {
        let mut buffer = vec![0x5a; length];
        valgrind::mark_secret(&mut buffer);
        let nonce = secret::<12>(3);
        let tag =
            cipher.encrypt_inout_detached(&nonce.into(), b"13 bytes long", buffer.as_mut_slice().into());
        let tag = tag.expect("short");
        let mut output = vec![0; length];
        let apart = InOutBuf::new(&buffer, &mut output).expect("one length");
        assert!(cipher.decrypt_inout_detached(&nonce.into(), b"13 bytes long", apart, &tag).is_ok());
        let opened = cipher.decrypt_inout_detached(
            &nonce.into(),
            b"13 bytes long",
            buffer.as_mut_slice().into(),
            &tag,
        );
        assert!(opened.is_ok());
        valgrind::mark_public(&mut buffer);
        valgrind::mark_public(&mut output);
        assert!(buffer.iter().chain(&output).all(|byte| *byte == 0x5a), "another plaintext");
    }
}

/// Tags that differ from the right one in their first or last byte.
fn refuse(implementation: Implementation) {
    let cipher = cipher(implementation);
    for length in LENGTHS {
        for place in [0, 15] {
            let mut buffer = vec![0x5a; length];
            valgrind::mark_secret(&mut buffer);
            let nonce = secret::<12>(3);
            let mut tag = cipher
                .encrypt_inout_detached(&nonce.into(), b"", buffer.as_mut_slice().into())
                .expect("short");
            tag[place] ^= 1;
            assert!(
                cipher
                    .decrypt_inout_detached(&nonce.into(), b"", buffer.as_mut_slice().into(), &tag)
                    .is_err()
            );
        }
    }
}

fn signing_key(fill: u8) -> SigningKey {
    let mut number = secret::<32>(fill);
    let key = SigningKey::from_bytes(&number).expect("in range");
    valgrind::mark_public(&mut number);
    key
}

/// The key is secret, and with it the nonce, which is made of it; id and message are public.
fn sign() {
    for fill in [1, 3, 0x80] {
        let key = signing_key(fill);
        for message in [&b""[..], b"message", &[9; 200]] {
            let signature = key.sign(DEFAULT_ID, message).expect("a short id");
            assert!(key.verifying_key().verify(DEFAULT_ID, message, &signature).is_ok());
        }
    }
}
