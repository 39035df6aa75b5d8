//! blst, as piles and the relayer use it, against the vectors of co-signing; the contract reads the same file.
#![allow(missing_docs, reason = "the tests' names say what they show")]

use std::collections::BTreeSet;

use blst::BLST_ERROR;
use blst::min_sig::{AggregatePublicKey, AggregateSignature, PublicKey, SecretKey, Signature};
use cip22_device_sdk::bls::BlsKey;
use cip22_wire::digest::Domain;
use cip22_wire::{POSSESSION_DST, ROOT_DST};
use serde_json::Value;
use system_tests::node::repository;
use system_tests::roots::{Leaf, Tree};

#[test]
fn messages_are_hashed_to_the_points_of_rfc_9380() {
    let file = vectors();
    let suite = &file["hash_to_curve"];
    let dst = bytes(suite, "dst");
    // The signature of the secret 1 is the hash itself.
    let mut one = [0; 32];
    one[31] = 1;
    let one = SecretKey::from_bytes(&one).unwrap();
    for vector in array(suite, "vectors") {
        let point = one.sign(&bytes(vector, "message"), &dst, &[]);
        assert_eq!(point.serialize().as_slice(), bytes(vector, "point"));
    }
}

#[test]
fn every_signer_signs_its_vectors() {
    let file = vectors();
    let root = fixed(&file["root"], "digest");
    let registry = Domain {
        chain_id: file["domain"]["chain_id"].as_u64().unwrap(),
        verifying_contract: fixed(&file["domain"], "device_registry"),
    };
    for signer in array(&file, "signers") {
        let key = BlsKey::from_bytes(&fixed(signer, "secret")).unwrap();
        assert_eq!(key.public_key().as_slice(), bytes(signer, "key"));
        assert_eq!(
            public_key(&bytes(signer, "key")).unwrap().compress().as_slice(),
            bytes(signer, "key_compressed")
        );
        assert_eq!(key.sign_root(&root).as_slice(), bytes(signer, "signature_compressed"));
        let device_id = fixed(signer, "device_id");
        assert_eq!(key.prove_possession(&registry, &device_id).as_slice(), bytes(signer, "possession"));

        let public = public_key(&bytes(signer, "key")).unwrap();
        assert!(verifies(&public, &bytes(signer, "signature"), &root, ROOT_DST));
        assert!(verifies(&public, &bytes(signer, "signature_compressed"), &root, ROOT_DST));
        let possession_digest = bytes(signer, "possession_digest");
        assert!(verifies(&public, &bytes(signer, "possession"), &possession_digest, POSSESSION_DST));
        assert!(verifies(
            &public,
            &bytes(signer, "possession_compressed"),
            &possession_digest,
            POSSESSION_DST
        ));
    }
}

#[test]
fn aggregates_are_the_sums_of_the_vectors() {
    let file = vectors();
    let root = bytes(&file["root"], "digest");
    let signers = array(&file, "signers");
    for aggregate in array(&file, "aggregates") {
        let numbers = array(aggregate, "signers").iter().map(|number| number.as_u64().unwrap() as usize);
        let chosen: Vec<&Value> = numbers.map(|number| &signers[number]).collect();
        let keys: Vec<PublicKey> =
            chosen.iter().map(|signer| public_key(&bytes(signer, "key")).unwrap()).collect();
        let key = AggregatePublicKey::aggregate(&keys.iter().collect::<Vec<_>>(), false).unwrap();
        let signatures: Vec<Signature> = chosen
            .iter()
            .map(|signer| Signature::from_bytes(&bytes(signer, "signature_compressed")).unwrap())
            .collect();
        let signature = AggregateSignature::aggregate(&signatures.iter().collect::<Vec<_>>(), false).unwrap();
        let signature = signature.to_signature();
        assert_eq!(exchanged(&key.to_public_key().serialize()), bytes(aggregate, "key"));
        assert_eq!(signature.serialize().as_slice(), bytes(aggregate, "signature"));
        assert_eq!(signature.compress().as_slice(), bytes(aggregate, "signature_compressed"));
        assert!(verifies(&key.to_public_key(), &bytes(aggregate, "signature"), &root, ROOT_DST));
    }
}

#[test]
fn no_invalid_key_is_taken() {
    let file = vectors();
    let (mut plain, mut compressed) = (0, 0);
    for case in array(&file, "invalid_keys") {
        if case["key"].is_string() {
            assert!(public_key(&bytes(case, "key")).is_err(), "{}", case["why"]);
            plain += 1;
        }
        if case["key_compressed"].is_string() {
            assert!(PublicKey::key_validate(&bytes(case, "key_compressed")).is_err(), "{}", case["why"]);
            compressed += 1;
        }
    }
    assert!(plain >= 16 && compressed >= 8, "{plain} and {compressed}");
}

#[test]
fn no_invalid_signature_is_taken() {
    let file = vectors();
    let (mut plain, mut compressed) = (0, 0);
    for case in array(&file, "invalid_signatures") {
        for (form, count) in [("signature", &mut plain), ("signature_compressed", &mut compressed)] {
            if case[form].is_string() {
                assert!(
                    Signature::sig_validate(&bytes(case, form), true).is_err(),
                    "{}: {form}",
                    case["why"]
                );
                *count += 1;
            }
        }
    }
    assert!(plain >= 14 && compressed >= 8, "{plain} and {compressed}");
}

#[test]
fn no_signature_is_taken_for_what_it_does_not_sign() {
    let file = vectors();
    let root = bytes(&file["root"], "digest");
    let mut refused = 0;
    for case in array(&file, "refused_signatures") {
        // A sum of keys may be infinity, and is no key then.
        if let Ok(key) = public_key(&bytes(case, "key")) {
            assert!(!verifies(&key, &bytes(case, "signature"), &root, ROOT_DST), "{}", case["why"]);
            assert!(
                !verifies(&key, &bytes(case, "signature_compressed"), &root, ROOT_DST),
                "{}",
                case["why"]
            );
            refused += 1;
        }
    }
    assert_eq!(refused + 1, array(&file, "refused_signatures").len());
}

#[test]
fn no_possession_is_taken_for_another_devices_registrys_or_chains() {
    let file = vectors();
    let registry = Domain {
        chain_id: file["domain"]["chain_id"].as_u64().unwrap(),
        verifying_contract: fixed(&file["domain"], "device_registry"),
    };
    for case in array(&file, "refused_possessions") {
        let key = public_key(&bytes(case, "key")).unwrap();
        let hash = cip22_wire::digest::bls_possession_hash(&fixed(case, "device_id"), &fixed(case, "key"));
        let digest = registry.digest(&hash);
        assert!(!verifies(&key, &bytes(case, "possession"), &digest, POSSESSION_DST), "{}", case["why"]);
    }
}

#[test]
fn trees_of_which_every_leaf_is_known_are_those_of_the_vectors() {
    let mut compared = 0;
    for vector in array(&vectors(), "trees") {
        let leaves: Vec<Leaf> = array(vector, "leaves").iter().map(leaf).collect();
        let groups: BTreeSet<u32> = leaves.iter().map(|leaf| leaf.group).collect();
        if groups.len() < array(vector, "groups").len() {
            continue;
        }
        let tree = Tree::over(&leaves);
        assert_eq!(tree.root(), fixed(vector, "root"));
        for group in array(vector, "groups") {
            let number = group["group"].as_u64().unwrap() as u32;
            assert_eq!(tree.group_root(number), fixed(group, "group_root"));
        }
        for (leaf, known) in leaves.iter().zip(array(vector, "leaves")) {
            assert_eq!(tree.path(leaf.group, leaf.index), bytes(known, "path"));
        }
        compared += 1;
    }
    assert_eq!(compared, 2);
}

fn leaf(vector: &Value) -> Leaf {
    let number = |key: &str| vector[key].as_u64().unwrap();
    let (group, index, n) = (number("group") as u32, number("index") as u8, number("n") as u8);
    Leaf { group, index, n, head: fixed(vector, "head") }
}

/// A key of 192 bytes as the chain has it, checked.
fn public_key(key: &[u8]) -> Result<PublicKey, BLST_ERROR> {
    PublicKey::key_validate(&exchanged(key))
}

/// blst has the higher coefficient of a coordinate first, the chain last.
fn exchanged(key: &[u8]) -> Vec<u8> {
    assert_eq!(key.len(), 192);
    [1, 0, 3, 2].into_iter().flat_map(|at| key[48 * at..48 * (at + 1)].to_vec()).collect()
}

fn verifies(key: &PublicKey, signature: &[u8], message: &[u8], dst: &[u8]) -> bool {
    let Ok(signature) = Signature::sig_validate(signature, true) else { return false };
    signature.verify(false, message, dst, &[], key, false) == BLST_ERROR::BLST_SUCCESS
}

#[allow(clippy::disallowed_methods, reason = "a test's own files")]
fn vectors() -> Value {
    let text = std::fs::read(repository().join("tests/vectors/bls.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn array<'v>(object: &'v Value, key: &str) -> &'v [Value] {
    let items = object[key].as_array().unwrap();
    assert!(!items.is_empty());
    items
}

fn bytes(object: &Value, key: &str) -> Vec<u8> {
    let text = object[key].as_str().unwrap_or_else(|| panic!("{key} in {object}"));
    hex::decode(text.strip_prefix("0x").unwrap()).unwrap()
}

fn fixed<const N: usize>(object: &Value, key: &str) -> [u8; N] {
    bytes(object, key).try_into().unwrap()
}
