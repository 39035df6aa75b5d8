//! The statements a pile chains within an epoch (§5.1). It signs the [`Head`](crate::digest::Head), never a statement itself.

use crate::{
    DeviceId, Hash,
    digest::{StructHash, keccak256},
    message::{PolicyAck, TelemCheckpoint},
};

/// head_0 of every epoch.
pub const FIRST_HEAD: Hash = [0; 32];

/// head_n = keccak256(head_{n-1} ‖ stmt_n).
#[must_use]
pub fn next_head(prev: &Hash, stmt: &Hash) -> Hash {
    keccak256(&[prev, stmt])
}

/// hashStruct(Auth), the statement of AUTH_RESP.
#[must_use]
pub fn auth(device_id: &DeviceId, epoch: u32, n: u8, ticket_hash: &Hash, l: &Hash) -> Hash {
    let mut fields =
        StructHash::new(b"Auth(bytes32 deviceId,uint32 epoch,uint8 n,bytes32 ticketHash,bytes32 l)");
    fields.word(device_id).uint(epoch).uint(n).word(ticket_hash).word(l);
    fields.finish()
}

/// hashStruct(Checkpoint), the statement of TELEM_CHECKPOINT. `prev_head` and `signature` are not part of it.
#[must_use]
pub fn checkpoint(device_id: &DeviceId, message: &TelemCheckpoint) -> Hash {
    let mut fields = StructHash::new(
        b"Checkpoint(bytes32 deviceId,uint32 epoch,uint8 n,bytes32 battery,bytes16 segment,uint32 seq,\
          uint64 time,bytes32 fp,uint32 prevSeq,bytes32 prevFp)",
    );
    fields
        .word(device_id)
        .uint(message.epoch)
        .uint(message.n)
        .word(&message.battery)
        .half_word(&message.segment)
        .uint(message.seq)
        .uint(message.time_ms)
        .word(&message.fp)
        .uint(message.prev_seq)
        .word(&message.prev_fp);
    fields.finish()
}

/// hashStruct(PolicyAck), the statement of POLICY_ACK. `prev_head` and `signature` are not part of it.
#[must_use]
pub fn policy_ack(device_id: &DeviceId, message: &PolicyAck) -> Hash {
    let mut fields = StructHash::new(
        b"PolicyAck(bytes32 deviceId,uint32 epoch,uint8 n,uint32 version,bytes32 policyHash,uint32 firstEpoch)",
    );
    fields
        .word(device_id)
        .uint(message.epoch)
        .uint(message.n)
        .uint(message.version)
        .word(&message.policy_hash)
        .uint(message.first_epoch);
    fields.finish()
}
