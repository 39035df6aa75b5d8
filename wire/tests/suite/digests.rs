use cip22_wire::{
    Hash, Message,
    digest::{self, Domain, Head},
    frame, keccak256, limits,
    message::{Challenge, ChargeEnd, PolicyAck, TelemCheckpoint},
    statement,
};
use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use serde_json::Value;

use crate::vectors::{self, array, bytes, fixed, int};

#[test]
fn keccak_is_ethereums() {
    assert_eq!(
        hex::encode(keccak256(&[b"a", b"", b"bc"])),
        "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"
    );
}

#[test]
fn domains_equal_the_vectors() {
    let file = vectors::read("digests");
    assert_eq!(verifier(&file).separator(), fixed(&file["domain"], "separator"));
    assert_eq!(registry(&file).separator(), fixed(&file["domain"], "policy_registry_separator"));
}

#[test]
fn every_struct_equals_its_vector_and_its_signature_recovers_the_signer() {
    let file = vectors::read("digests");
    let hashes: [(&str, &str, Hash); 9] = [
        ("challenge_req", "device", {
            let v = &file["challenge_req"];
            digest::challenge_req_hash(&fixed(v, "device_id"), &fixed(v, "dev_eph"))
        }),
        ("ticket", "gateway", digest::ticket_hash(&ticket(&file["ticket"]))),
        ("epoch", "gateway", {
            let v = &file["epoch"];
            digest::epoch_hash(
                int(v, "group"),
                int(v, "epoch"),
                &fixed(v, "challenge"),
                &fixed(v, "policy_hash"),
            )
        }),
        ("head", "device", digest::head_hash(&head(&file["head"]))),
        ("charge_end", "device", charge_end_hash(&file["charge_end"], |meter| Some(meter))),
        ("charge_end_without_meter", "device", charge_end_hash(&file["charge_end_without_meter"], |_| None)),
        ("policy", "governance", {
            let v = &file["policy"];
            digest::policy_hash(int(v, "version"), int(v, "first_epoch"), &bytes(v, "tariff"))
        }),
        ("trust_update", "governance", {
            let v = &file["trust_update"];
            digest::trust_update_hash(int(v, "version"), int(v, "kind"), &bytes(v, "value"))
        }),
        ("charge_end_without_meter", "device", {
            charge_end_hash(&file["charge_end_without_meter"], |meter| Some(meter))
        }),
    ];
    for (name, signer, struct_hash) in hashes {
        let vector = &file[name];
        assert_eq!(struct_hash, fixed(vector, "struct_hash"), "{name}");
        let domain = if signer == "governance" { registry(&file) } else { verifier(&file) };
        assert_eq!(domain.digest(&struct_hash), fixed(vector, "digest"), "{name}");
        assert_signed(&file[signer], &fixed(vector, "digest"), &fixed(vector, "signature"));
    }
}

#[test]
fn the_chain_of_three_statements_equals_the_vectors() {
    let file = vectors::read("digests");
    let device_id = fixed(&file["ticket"], "device_id");
    let mut prev = statement::FIRST_HEAD;
    for (at, vector) in array(&file, "statements").iter().enumerate() {
        let n = int::<u8>(vector, "n");
        assert_eq!(usize::from(n), at + 1);
        let stmt = match vectors::text(vector, "kind") {
            "auth" => statement::auth(
                &device_id,
                int(vector, "epoch"),
                n,
                &fixed(vector, "ticket_hash"),
                &fixed(vector, "l"),
            ),
            "policy_ack" => statement::policy_ack(&device_id, &policy_ack(vector)),
            "checkpoint" => statement::checkpoint(&device_id, &checkpoint(vector)),
            other => panic!("unknown statement {other}"),
        };
        assert_eq!(stmt, fixed(vector, "stmt"));
        assert_eq!(prev, fixed(vector, "prev_head"));
        prev = statement::next_head(&prev, &stmt);
        assert_eq!(prev, fixed(vector, "head"));

        let head = Head { n, head: prev, ..head(&file["head"]) };
        assert_eq!(digest::head_hash(&head), fixed(vector, "head_struct_hash"));
        let digest = verifier(&file).digest(&digest::head_hash(&head));
        assert_eq!(digest, fixed(vector, "head_digest"));
        assert_signed(&file["device"], &digest, &fixed(vector, "signature"));
    }
    assert_eq!(prev, fixed(&file["head"], "head"));
}

#[test]
fn the_frames_of_the_vectors_carry_what_the_digests_sign() {
    let (digests, frames) = (vectors::read("digests"), vectors::read("frames"));
    let mut found = 0;
    for vector in array(&frames, "frames") {
        let wire = bytes(vector, "frame");
        let parsed = frame::parse(&wire, limits::PAYLOAD_BYTES_MAX).unwrap().unwrap();
        let (name, struct_hash, signature) = match Message::decode(parsed.frame_type, parsed.payload).unwrap()
        {
            Message::Challenge(message) => ("ticket", digest::ticket_hash(&message), message.signature),
            Message::ChallengeReq(message) => (
                "challenge_req",
                digest::challenge_req_hash(&message.device_id, &message.dev_eph),
                message.signature,
            ),
            Message::Epoch(message) => (
                "epoch",
                digest::epoch_hash(message.group, message.epoch, &message.challenge, &message.policy_hash),
                message.signature,
            ),
            Message::SetPolicy(message) => (
                "policy",
                digest::policy_hash(message.version, message.first_epoch, message.chunk),
                message.signature,
            ),
            _ => continue,
        };
        assert_eq!(struct_hash, fixed(&digests[name], "struct_hash"), "{name}");
        assert_eq!(signature, fixed(&digests[name], "signature"), "{name}");
        found += 1;
    }
    assert_eq!(found, 4);
}

#[test]
fn every_field_of_a_ticket_changes_its_hash() {
    let file = vectors::read("digests");
    let whole = ticket(&file["ticket"]);
    let changes: [fn(&mut Challenge); 15] = [
        |t| t.circuit_version ^= 1,
        |t| t.sid[15] ^= 1,
        |t| t.device_id[31] ^= 1,
        |t| t.group ^= 1,
        |t| t.index ^= 1,
        |t| t.nonce[0] ^= 1,
        |t| t.epoch ^= 1,
        |t| t.epoch_challenge[0] ^= 1,
        |t| t.policy_hash[0] ^= 1,
        |t| t.issued ^= 1,
        |t| t.answer_by ^= 1,
        |t| t.deadline ^= 1,
        |t| t.gw_eph[32] ^= 1,
        |t| t.dev_eph[32] ^= 1,
        |t| t.h[0] ^= 1,
    ];
    for change in changes {
        let mut other = whole;
        change(&mut other);
        assert_ne!(digest::ticket_hash(&other), digest::ticket_hash(&whole));
    }
    let resigned = Challenge { signature: [0; 64], ..whole };
    assert_eq!(digest::ticket_hash(&resigned), digest::ticket_hash(&whole));
}

/// Checks the EIP-2098 form, the recovered key and its address, and that the key of the vector makes the same signature (RFC 6979).
fn assert_signed(signer: &Value, digest: &Hash, signature: &[u8; 64]) {
    let mut rs = *signature;
    let odd = rs[32] >> 7 == 1;
    rs[32] &= 0x7F;
    let parsed = Signature::from_slice(&rs).unwrap();
    assert_eq!(parsed.normalize_s(), parsed, "s is in the lower half");
    let key = VerifyingKey::recover_from_prehash(digest, &parsed, RecoveryId::new(odd, false)).unwrap();
    assert_eq!(key.to_sec1_point(true).as_bytes(), bytes(signer, "public_key"));
    let address = keccak256(&[&key.to_sec1_point(false).as_bytes()[1..]]);
    assert_eq!(address[12..], bytes(signer, "address"));

    let secret = SigningKey::from_slice(&bytes(signer, "private_key")).unwrap();
    let (own, recovery) = secret.sign_prehash_recoverable(digest);
    assert_eq!((own, recovery.is_y_odd()), (parsed, odd));
}

fn verifier(file: &Value) -> Domain {
    let domain = &file["domain"];
    Domain { chain_id: int(domain, "chain_id"), verifying_contract: fixed(domain, "verifying_contract") }
}

fn registry(file: &Value) -> Domain {
    Domain { verifying_contract: fixed(&file["domain"], "policy_registry"), ..verifier(file) }
}

fn ticket(v: &Value) -> Challenge {
    Challenge {
        circuit_version: int(v, "circuit_version"),
        sid: fixed(v, "sid"),
        device_id: fixed(v, "device_id"),
        group: int(v, "group"),
        index: int(v, "index"),
        nonce: fixed(v, "nonce"),
        epoch: int(v, "epoch"),
        epoch_challenge: fixed(v, "epoch_challenge"),
        policy_hash: fixed(v, "policy_hash"),
        issued: int(v, "issued"),
        answer_by: int(v, "answer_by"),
        deadline: int(v, "deadline"),
        gw_eph: fixed(v, "gw_eph"),
        dev_eph: fixed(v, "dev_eph"),
        h: fixed(v, "h"),
        signature: fixed(v, "signature"),
    }
}

fn head(v: &Value) -> Head {
    Head {
        group: int(v, "group"),
        index: int(v, "index"),
        epoch: int(v, "epoch"),
        challenge: fixed(v, "challenge"),
        policy_hash: fixed(v, "policy_hash"),
        n: int(v, "n"),
        head: fixed(v, "head"),
    }
}

fn policy_ack(v: &Value) -> PolicyAck {
    PolicyAck {
        epoch: int(v, "epoch"),
        n: int(v, "n"),
        prev_head: fixed(v, "prev_head"),
        version: int(v, "version"),
        policy_hash: fixed(v, "policy_hash"),
        first_epoch: int(v, "first_epoch"),
        signature: fixed(v, "signature"),
    }
}

fn checkpoint(v: &Value) -> TelemCheckpoint {
    TelemCheckpoint {
        epoch: int(v, "epoch"),
        n: int(v, "n"),
        prev_head: fixed(v, "prev_head"),
        battery: fixed(v, "battery"),
        segment: fixed(v, "segment"),
        seq: int(v, "seq"),
        time_ms: int(v, "time_ms"),
        fp: fixed(v, "fp"),
        prev_seq: int(v, "prev_seq"),
        prev_fp: fixed(v, "prev_fp"),
        signature: fixed(v, "signature"),
    }
}

fn charge_end_hash(v: &Value, meter: fn(&[u8]) -> Option<&[u8]>) -> Hash {
    let held = bytes(v, "meter");
    let end = ChargeEnd {
        sid: fixed(v, "sid"),
        wh: int(v, "wh"),
        minutes: int(v, "minutes"),
        cause: int(v, "cause"),
        meter: meter(&held),
        signature: fixed(v, "signature"),
    };
    digest::charge_end_hash(&fixed(v, "device_id"), &end)
}
