//! EIP-712 struct hashes and digests (§5), and the Keccak they are made of.

use sha3::{Digest, Keccak256};

use crate::{
    Address, DeviceId, Hash, PublicKey,
    message::{Challenge, ChargeEnd},
};

/// Ethereum's Keccak-256 (not SHA3-256) of the concatenation of `parts`.
#[must_use]
pub fn keccak256(parts: &[&[u8]]) -> Hash {
    let mut keccak = Keccak256::new();
    for part in parts {
        keccak.update(part);
    }
    keccak.finalize().into()
}

/// What a signature is bound to: one chain, one contract.
///
/// `verifying_contract` is the ChargingAuthVerifier, the PolicyRegistry for what governance signs, or the DeviceRegistry for a proof
/// of possession.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    /// EIP-155 id of the chain.
    pub chain_id: u64,
    /// The contract, 20 bytes.
    pub verifying_contract: Address,
}

impl Domain {
    /// EIP-712 domain separator.
    #[must_use]
    pub fn separator(&self) -> Hash {
        let mut domain = StructHash::new(
            b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
        );
        domain.bytes(b"CIP-22").bytes(b"2").uint(self.chain_id).address(&self.verifying_contract);
        domain.finish()
    }

    /// What is signed: keccak256(0x1901 ‖ separator ‖ `struct_hash`).
    #[must_use]
    pub fn digest(&self, struct_hash: &Hash) -> Hash {
        keccak256(&[&[0x19, 0x01], &self.separator(), struct_hash])
    }
}

/// The position a device signs: everything it stated in an epoch up to `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// The pile's group.
    pub group: u32,
    /// The pile's index in its group.
    pub index: u8,
    /// The epoch.
    pub epoch: u32,
    /// The epoch's challenge, as EPOCH states it.
    pub challenge: Hash,
    /// The epoch's policy, as EPOCH states it.
    pub policy_hash: Hash,
    /// Number of the newest statement.
    pub n: u8,
    /// head_n of the statement chain.
    pub head: Hash,
}

/// hashStruct(Head); the device signs it under the verifier's domain.
#[must_use]
pub fn head_hash(head: &Head) -> Hash {
    let mut fields = StructHash::new(
        b"Head(uint32 group,uint8 index,uint32 epoch,bytes32 challenge,bytes32 policyHash,uint8 n,bytes32 head)",
    );
    fields
        .uint(head.group)
        .uint(head.index)
        .uint(head.epoch)
        .word(&head.challenge)
        .word(&head.policy_hash)
        .uint(head.n)
        .word(&head.head);
    fields.finish()
}

/// hashStruct(Root); piles co-sign its digest under the verifier's domain, by BLS.
#[must_use]
pub fn root_hash(epoch: u32, challenge: &Hash, policy_hash: &Hash, root: &Hash) -> Hash {
    let mut fields = StructHash::new(b"Root(uint32 epoch,bytes32 challenge,bytes32 policyHash,bytes32 root)");
    fields.uint(epoch).word(challenge).word(policy_hash).word(root);
    fields.finish()
}

/// hashStruct(BlsPossession); a device proves under the DeviceRegistry's domain that it holds the secret of `key`, which is
/// x.c0 ‖ x.c1 ‖ y.c0 ‖ y.c1.
#[must_use]
pub fn bls_possession_hash(device_id: &DeviceId, key: &[u8; 192]) -> Hash {
    let mut fields = StructHash::new(b"BlsPossession(bytes32 deviceId,bytes key)");
    fields.word(device_id).bytes(key);
    fields.finish()
}

/// hashStruct(ChallengeReq); the device signs it under the verifier's domain.
#[must_use]
pub fn challenge_req_hash(device_id: &DeviceId, dev_eph: &PublicKey) -> Hash {
    let mut fields = StructHash::new(b"ChallengeReq(bytes32 deviceId,bytes devEph)");
    fields.word(device_id).bytes(dev_eph);
    fields.finish()
}

/// hashStruct(Ticket), the ticket's identity everywhere; the gateway signs it under the verifier's domain. `ticket.signature`
/// is not part of it.
#[must_use]
pub fn ticket_hash(ticket: &Challenge) -> Hash {
    let mut fields = StructHash::new(
        b"Ticket(uint8 circuitVersion,bytes16 sid,bytes32 deviceId,uint32 group,uint8 index,bytes32 nonce,\
          uint32 epoch,bytes32 epochChallenge,bytes32 policyHash,uint64 issued,uint64 answerBy,uint64 deadline,\
          bytes gwEph,bytes devEph,bytes32 h)",
    );
    fields
        .uint(ticket.circuit_version)
        .half_word(&ticket.sid)
        .word(&ticket.device_id)
        .uint(ticket.group)
        .uint(ticket.index)
        .word(&ticket.nonce)
        .uint(ticket.epoch)
        .word(&ticket.epoch_challenge)
        .word(&ticket.policy_hash)
        .uint(ticket.issued)
        .uint(ticket.answer_by)
        .uint(ticket.deadline)
        .bytes(&ticket.gw_eph)
        .bytes(&ticket.dev_eph)
        .word(&ticket.h);
    fields.finish()
}

/// hashStruct(Epoch); the gateway signs it under the verifier's domain.
#[must_use]
pub fn epoch_hash(group: u32, epoch: u32, challenge: &Hash, policy_hash: &Hash) -> Hash {
    let mut fields =
        StructHash::new(b"Epoch(uint32 group,uint32 epoch,bytes32 challenge,bytes32 policyHash)");
    fields.uint(group).uint(epoch).word(challenge).word(policy_hash);
    fields.finish()
}

/// hashStruct(ChargeEnd); the device signs it under the verifier's domain. `end.signature` is not part of it.
#[must_use]
pub fn charge_end_hash(device_id: &DeviceId, end: &ChargeEnd<'_>) -> Hash {
    let mut fields = StructHash::new(
        b"ChargeEnd(bytes32 deviceId,bytes16 sid,uint32 wh,uint16 minutes,uint8 cause,bytes meter)",
    );
    fields
        .word(device_id)
        .half_word(&end.sid)
        .uint(end.wh)
        .uint(end.minutes)
        .uint(end.cause)
        .bytes(end.meter.unwrap_or_default());
    fields.finish()
}

/// hashStruct(Policy), the policy's identity everywhere; governance signs it under the PolicyRegistry's domain.
#[must_use]
pub fn policy_hash(version: u32, first_epoch: u32, tariff: &[u8]) -> Hash {
    let mut fields = StructHash::new(b"Policy(uint32 version,uint32 firstEpoch,bytes tariff)");
    fields.uint(version).uint(first_epoch).bytes(tariff);
    fields.finish()
}

/// hashStruct(TrustUpdate); governance signs it under the PolicyRegistry's domain.
#[must_use]
pub fn trust_update_hash(version: u32, kind: u8, value: &[u8]) -> Hash {
    let mut fields = StructHash::new(b"TrustUpdate(uint32 version,uint8 kind,bytes value)");
    fields.uint(version).uint(kind).bytes(value);
    fields.finish()
}

/// hashStruct under way: the type's hash, then one 32-byte word per field.
pub(crate) struct StructHash(Keccak256);

impl StructHash {
    pub(crate) fn new(type_string: &[u8]) -> Self {
        Self(Keccak256::new_with_prefix(keccak256(&[type_string])))
    }

    pub(crate) fn uint(&mut self, value: impl Into<u64>) -> &mut Self {
        self.0.update([0; 24]);
        self.0.update(value.into().to_be_bytes());
        self
    }

    pub(crate) fn word(&mut self, value: &Hash) -> &mut Self {
        self.0.update(value);
        self
    }

    /// `bytes16`, padded on the right.
    pub(crate) fn half_word(&mut self, value: &[u8; 16]) -> &mut Self {
        self.0.update(value);
        self.0.update([0; 16]);
        self
    }

    fn address(&mut self, value: &Address) -> &mut Self {
        self.0.update([0; 12]);
        self.0.update(value);
        self
    }

    /// `bytes` or `string`.
    fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.word(&keccak256(&[value]))
    }

    pub(crate) fn finish(self) -> Hash {
        self.0.finalize().into()
    }
}
