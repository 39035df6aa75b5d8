//! SM2 signatures.

use proptest::prelude::*;
use shangmi::{
    Error,
    signature::{DEFAULT_ID, MAX_DER_LENGTH, Signature, SigningKey, TLS_ID, VerifyingKey},
};

use crate::vectors::bytes;

#[test]
fn openssls_signature_under_the_id_of_tls_is_accepted_under_that_id_only() {
    let document: serde_json::Value =
        serde_json::from_str(include_str!("../vectors/sm2_chain.json")).unwrap();
    let vectors = &document["vectors"];
    let key = SigningKey::from_pkcs8_der(&bytes(vectors, "device_key")).unwrap();
    let message = bytes(vectors, "message");
    let signature = Signature::from_der(&bytes(vectors, "tls_signature")).unwrap();
    key.verifying_key().verify(TLS_ID, &message, &signature).unwrap();
    assert_eq!(key.verifying_key().verify(DEFAULT_ID, &message, &signature), Err(Error::InvalidSignature));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Key, hash, nonce and arithmetic at once: RFC 6979 leaves nothing to choice.
    #[test]
    fn signatures_are_those_of_rustcrypto(
        number: [u8; 32], id in "[ -~]{0,40}", message in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        use sm2::{SecretKey, dsa, dsa::signature::Signer};
        let mut number = number;
        number[0] &= 0x7f;
        let expected = dsa::SigningKey::new(&id, &SecretKey::from_slice(&number).unwrap()).unwrap().sign(&message);
        let found = SigningKey::from_bytes(&number).unwrap().sign(&id, &message).unwrap();
        prop_assert_eq!(found.to_bytes(), <[u8; 64]>::from(expected.to_bytes()));
    }
}

#[test]
fn an_id_of_8192_bytes_is_too_long_to_sign_under() {
    let key = SigningKey::from_bytes(&[1; 32]).unwrap();
    let signature = key.sign(&"i".repeat(8191), b"message").unwrap();
    key.verifying_key().verify(&"i".repeat(8191), b"message", &signature).unwrap();
    assert_eq!(key.sign(&"i".repeat(8192), b"message"), Err(Error::TooLong));
    let longer = key.verifying_key().verify(&"i".repeat(8192), b"message", &signature);
    assert_eq!(longer, Err(Error::InvalidSignature));
}

#[test]
fn a_signature_fits_its_key_id_and_message_only() {
    let keys = [[1; 32], [2; 32]].map(|bytes| SigningKey::from_bytes(&bytes).unwrap());
    for id in [DEFAULT_ID, TLS_ID] {
        let signature = keys[0].sign(id, b"message").unwrap();
        assert_eq!(Signature::from_bytes(&signature.to_bytes()), Ok(signature));
        let der = signature.to_der();
        assert!(der.as_ref().len() <= MAX_DER_LENGTH);
        assert_eq!(Signature::from_der(der.as_ref()), Ok(signature));
        let key = VerifyingKey::from_sec1_bytes(&keys[0].verifying_key().to_sec1_bytes()).unwrap();
        key.verify(id, b"message", &signature).unwrap();
        let other_id = if id == TLS_ID { DEFAULT_ID } else { TLS_ID };
        for refused in [
            key.verify(other_id, b"message", &signature),
            key.verify(id, b"messagE", &signature),
            keys[1].verifying_key().verify(id, b"message", &signature),
        ] {
            assert_eq!(refused, Err(Error::InvalidSignature));
        }
        for place in [0, 31, 32, 63] {
            let mut wrong = signature.to_bytes();
            wrong[place] ^= 1;
            if let Ok(wrong) = Signature::from_bytes(&wrong) {
                assert_eq!(key.verify(id, b"message", &wrong), Err(Error::InvalidSignature));
            }
        }
    }
}

#[test]
fn numbers_out_of_range_are_no_keys_and_no_signatures() {
    // The order of the group, and it less one: d must be below n - 1.
    let mut order = [0; 32];
    hex::decode_to_slice("fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123", &mut order)
        .unwrap();
    let mut order_less_one = order;
    order_less_one[31] -= 1;
    for bytes in [[0; 32], order, order_less_one, [0xff; 32]] {
        assert!(matches!(SigningKey::from_bytes(&bytes), Err(Error::InvalidKey)), "{bytes:02x?}");
    }
    assert!(Signature::from_bytes(&[0; 64]).is_err());
    assert!(Signature::from_bytes(&[0xff; 64]).is_err());
    assert!(Signature::from_der(b"\x30\x00").is_err());
    assert!(VerifyingKey::from_sec1_bytes(&[4; 65]).is_err());
    assert!(VerifyingKey::from_sec1_bytes(&[0]).is_err());
}

#[test]
fn a_private_key_does_not_show_in_debug_output() {
    assert_eq!(format!("{:?}", SigningKey::from_bytes(&[1; 32]).unwrap()), "SigningKey(redacted)");
}
