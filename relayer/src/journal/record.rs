//! The facts that the journal holds.

use cip22_wire::{Address, BatteryId, DeviceId, Hash, Sid};
use serde::{Deserialize, Serialize};

use crate::signers::Signers;

/// Bytes of a signature; serde has no arrays of 64.
pub type SignatureBytes = Vec<u8>;

/// One fact. Variants are only ever added at the end: postcard numbers them by position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// An epoch that this relayer announced: its challenge block was safe.
    EpochOpened {
        /// Epoch.
        epoch: u32,
        /// Challenge.
        challenge: Hash,
        /// Policy in force.
        policy_hash: Hash,
    },
    /// A ticket, before its CHALLENGE leaves.
    TicketIssued {
        /// Payload of the CHALLENGE frame.
        challenge_payload: Vec<u8>,
        /// The device's public key, recovered from CHALLENGE_REQ.
        device_key: Vec<u8>,
    },
    /// A verified statement, with everything that submission needs. For AUTH it holds the answer, before that leaves.
    Statement(StatementRecord),
    /// A ticketed AUTH_RESP that verified and was denied.
    Denied {
        /// Ticket.
        sid: Sid,
        /// keccak256 of the AUTH_RESP payload: the same bytes get the same answer.
        request_hash: Hash,
        /// The AUTH_DENY frame.
        answer: Vec<u8>,
    },
    /// The pile showed the preimage of `l`: it verified our answer.
    AuthAcked {
        /// Ticket.
        sid: Sid,
        /// Preimage.
        a: Hash,
    },
    /// A charge ended; unused credit is free again.
    ChargeEnded {
        /// Ticket.
        sid: Sid,
        /// Energy drawn, Wh.
        wh: u32,
        /// Minutes.
        minutes: u16,
        /// Cause (protocol §4.3).
        cause: u8,
        /// Meter record, untouched.
        meter: Vec<u8>,
        /// The pile's signature.
        signature: SignatureBytes,
    },
    /// One telemetry record of a battery.
    Telemetry {
        /// Reporting device.
        device_id: DeviceId,
        /// Payload of the BATT_TELEM frame.
        payload: Vec<u8>,
    },
    /// A batch, immutable from here on.
    BatchCut(BatchRecord),
    /// Nonce, fees and signed bytes of one attempt, before its first broadcast.
    Submitted(AttemptRecord),
    /// A receipt was seen for an attempt.
    Mined {
        /// Batch.
        batch: u64,
        /// Transaction.
        transaction: Hash,
        /// Block number.
        block: u64,
        /// Block hash.
        block_hash: Hash,
        /// Whether execution succeeded.
        succeeded: bool,
    },
    /// `safe` covers the receipt: the batch is done.
    Safe {
        /// Batch.
        batch: u64,
        /// Transaction.
        transaction: Hash,
        /// Block number.
        block: u64,
        /// Whether execution succeeded.
        succeeded: bool,
    },
    /// A receipt is gone again.
    Unmined {
        /// Batch.
        batch: u64,
    },
    /// A head that the chain shows under `safe`, whoever sent it. Covers statements 1..=n of that pile and epoch.
    HeadSafe {
        /// Group.
        group: u32,
        /// Index.
        index: u8,
        /// Epoch.
        epoch: u32,
        /// Statements covered.
        n: u8,
        /// Head.
        head: Hash,
        /// Transaction.
        transaction: Hash,
        /// Block.
        block: u64,
    },
    /// A ledger head that the chain shows under `safe`.
    LedgerSafe {
        /// Battery.
        battery: BatteryId,
        /// Sequence number.
        seq: u32,
        /// Fingerprint.
        fp: Hash,
        /// Block.
        block: u64,
    },
    /// A batch ended without a transaction; its members may be carried again.
    BatchDropped {
        /// Batch.
        batch: u64,
        /// Not before this block.
        retry_block: u64,
    },
    /// Batches whose block's events are in were settled: what they left uncovered may be carried again.
    Settled {
        /// Blocks whose events are in.
        scanned_to: u64,
    },
    /// Statements of epochs that left the ring were given up.
    Expired {
        /// First epoch that can still be recorded.
        oldest_epoch: u32,
    },
    /// All that is held of a battery: no earlier record about it is needed.
    BatteryHeld(BatteryRecord),
    /// Policy versions that devices acknowledged.
    PolicyAcksHeld {
        /// Device and its highest version.
        acks: Vec<(DeviceId, u32)>,
    },
    /// A charge that is still open although its epoch is pruned.
    ChargeHeld(ChargeRecord),
    /// Everything of earlier epochs is forgotten, but for what the Held records before this one say.
    Pruned(PrunedRecord),
    /// What an operator wanted of a batch's transaction.
    TxEdited {
        /// Batch.
        batch: u64,
        /// The edit.
        edit: TxEdit,
        /// When, Unix ms.
        unix_ms: u64,
    },
    /// An attempt that only uses up the batch's nonce, before its first broadcast.
    CancelSubmitted(AttemptRecord),
    /// Every event up to this block, which has this hash, has been taken in.
    Scanned {
        /// Block.
        block: u64,
        /// Its hash then: if the chain has another there, it was reorganised.
        hash: Hash,
    },
    /// The chain has other blocks from this one on: what came from them is taken back.
    Reorganised {
        /// First block that may be another.
        from_block: u64,
    },
    /// `finalized` covers this block: what was recorded up to it is final.
    Finalized {
        /// Block.
        block: u64,
    },
    /// A grant was revoked, before its AUTH_REVOKE leaves.
    Revoked {
        /// Ticket.
        sid: Sid,
        /// A `RevokeCause`.
        cause: u8,
        /// Energy that may still flow, Wh.
        grace_wh: u32,
    },
    /// The credit of an open charge was reduced, before its CREDIT_UPDATE leaves.
    CreditReduced {
        /// Ticket.
        sid: Sid,
        /// Number of the update, 1 for the first.
        seq: u32,
        /// New total, Wh.
        wh: u32,
        /// New total, minutes.
        minutes: u16,
    },
    /// A tree of heads whose root piles are to co-sign, before any BATCH_ROOT leaves; immutable from here on.
    RootCut(RootRecord),
    /// The round of a root is over, and what it came to: a batch follows in the same transaction, or its members go by lane 1.
    RootClosed {
        /// Epoch.
        epoch: u32,
        /// Root.
        root: Hash,
        /// Who signed it, by group.
        signers: Vec<(u32, Signers)>,
    },
    /// A root that the chain shows under `safe`, whoever sent it. Covers each signer's statements up to its leaf.
    RootSafe {
        /// Group.
        group: u32,
        /// Epoch.
        epoch: u32,
        /// Root of the group's 256 places.
        group_root: Hash,
        /// Who signed.
        signers: Signers,
        /// Transaction.
        transaction: Hash,
        /// Block.
        block: u64,
    },
}

/// What an operator may want of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TxEdit {
    /// A better paid attempt at once.
    Bump,
    /// Its nonce goes to a transfer of nothing to oneself; the members are planned again.
    Cancel,
}

/// A statement that a pile signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementRecord {
    /// Device.
    pub device_id: DeviceId,
    /// Group.
    pub group: u32,
    /// Index.
    pub index: u8,
    /// Epoch.
    pub epoch: u32,
    /// Number in the epoch, 1..=255.
    pub n: u8,
    /// head_{n-1}.
    pub prev_head: Hash,
    /// head_n.
    pub head: Hash,
    /// The pile's signature over Head.
    pub signature: SignatureBytes,
    /// What was stated.
    pub kind: StatementKind,
}

/// The kinds of statements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatementKind {
    /// AUTH, granted.
    Auth {
        /// Ticket.
        sid: Sid,
        /// Ticket hash.
        ticket_hash: Hash,
        /// Commitment.
        l: Hash,
        /// keccak256 of the AUTH_RESP payload.
        request_hash: Hash,
        /// Reserved credit, Wh.
        wh: u32,
        /// Reserved credit, minutes.
        minutes: u16,
        /// The AUTH_GRANT frame, byte for byte as sent.
        answer: Vec<u8>,
    },
    /// CHECKPOINT.
    Checkpoint {
        /// Battery.
        battery: BatteryId,
        /// Segment.
        segment: Sid,
        /// Sequence number.
        seq: u32,
        /// Time of that record, Unix ms.
        time_ms: u64,
        /// Fingerprint.
        fp: Hash,
        /// Sequence number of the previous checkpoint.
        prev_seq: u32,
        /// Fingerprint of the previous checkpoint.
        prev_fp: Hash,
    },
    /// POLICY_ACK.
    PolicyAck {
        /// Version.
        version: u32,
        /// Policy hash.
        policy_hash: Hash,
        /// First epoch.
        first_epoch: u32,
    },
}

/// The heads that a root stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootRecord {
    /// Epoch.
    pub epoch: u32,
    /// Its challenge.
    pub challenge: Hash,
    /// Its policy.
    pub policy_hash: Hash,
    /// The root that piles sign.
    pub root: Hash,
    /// Groups, strictly increasing, 1 to 16.
    pub groups: Vec<RootGroupRecord>,
}

/// A group's part of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootGroupRecord {
    /// Group.
    pub group: u32,
    /// Root of its 256 places.
    pub group_root: Hash,
    /// Its leaves, by index.
    pub leaves: Vec<LeafRecord>,
}

/// A pile's leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafRecord {
    /// Index.
    pub index: u8,
    /// Device.
    pub device_id: DeviceId,
    /// Statements covered.
    pub n: u8,
    /// head_n.
    pub head: Hash,
}

/// What a batch carries to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BatchKind {
    /// `recordMany`.
    Record,
    /// `extend`.
    Extend,
    /// `BatteryLedger.advance`.
    Advance,
    /// `recordRoot`: a co-signed root, and records of those who did not sign it.
    RecordRoot,
}

/// A call to a contract, and what it carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// Number, 1 for the first; increasing.
    pub batch: u64,
    /// Kind.
    pub kind: BatchKind,
    /// Epoch of its records.
    pub epoch: u32,
    /// Contract.
    pub to: Address,
    /// Calldata.
    pub calldata: Vec<u8>,
    /// Members (device, n): the statements that it carries or covers.
    pub members: Vec<(DeviceId, u8)>,
    /// Block number after which it can no longer succeed (the ring's window), for giving up.
    pub expires_block: u64,
}

/// One signed attempt to get a batch onto the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Batch.
    pub batch: u64,
    /// Sending account.
    pub signer: Address,
    /// Nonce: the same for every attempt of a batch, unless a foreign transaction took it.
    pub nonce: u64,
    /// Attempt, 1 for the first.
    pub attempt: u32,
    /// Gas limit.
    pub gas_limit: u64,
    /// maxFeePerGas, drip.
    pub max_fee_per_gas: u128,
    /// maxPriorityFeePerGas, drip.
    pub max_priority_fee_per_gas: u128,
    /// Signed bytes.
    pub raw: Vec<u8>,
    /// Their hash.
    pub transaction: Hash,
}

/// A battery as it is held; see [`crate::telemetry::battery::Battery`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatteryRecord {
    /// Battery.
    pub battery: BatteryId,
    /// Newest record: sequence number, fingerprint.
    pub last: (u32, Hash),
    /// Its time, Unix ms.
    pub last_time_ms: u64,
    /// Its segment.
    pub last_segment: Sid,
    /// Newest checkpoint taken in.
    pub checkpoint: (u32, Hash),
    /// The ledger's head under `safe`.
    pub ledger: (u32, Hash),
    /// Checkpoints on their way to the ledger, oldest first.
    pub pending: Vec<PendingRecord>,
    /// Records since the checkpoint: sequence number, fingerprint, time in Unix ms, segment.
    pub since_checkpoint: Vec<(u32, Hash, u64, Sid)>,
    /// Moves of the ledger that a reorganisation may undo, oldest first.
    pub moves: Vec<MoveRecord>,
}

/// A move of a battery's ledger head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRecord {
    /// Block.
    pub block: u64,
    /// The head before.
    pub from: (u32, Hash),
    /// The checkpoints that it made moot.
    pub done: Vec<PendingRecord>,
}

/// A checkpoint on its way to the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRecord {
    /// The CHECKPOINT statement.
    pub statement: StatementRecord,
    /// The batch that carries it.
    pub in_batch: Option<u64>,
    /// Not before this block is it carried again.
    pub retry_block: u64,
    /// Batches that carried it in vain.
    pub tries: u8,
}

/// A granted charge without an end, with its ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeRecord {
    /// Payload of the CHALLENGE frame.
    pub challenge_payload: Vec<u8>,
    /// The device's public key.
    pub device_key: Vec<u8>,
    /// keccak256 of the AUTH_RESP payload.
    pub request_hash: Hash,
    /// The AUTH_GRANT frame.
    pub answer: Vec<u8>,
    /// Reserved credit, Wh and minutes.
    pub credit: (u32, u16),
    /// Group, index, epoch and n of the AUTH statement.
    pub statement: (u32, u8, u32, u8),
    /// Commitment.
    pub l: Hash,
    /// Whether the pile verified the answer.
    pub acked: bool,
    /// How it was revoked: cause and grace, Wh.
    pub revoked: Option<(u8, u32)>,
    /// Number of the newest CREDIT_UPDATE, 0 for none.
    pub credit_seq: u32,
}

/// A step of pruning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedRecord {
    /// First epoch that is kept.
    pub horizon_epoch: u32,
    /// Totals up to here.
    pub counts: Counts,
    /// Number of the newest batch.
    pub last_batch: u64,
    /// Charges of earlier epochs that are still open.
    pub charges: Vec<Sid>,
    /// Revocations that devices answer for, less what they got on chain since.
    pub strikes: Vec<(DeviceId, u8)>,
    /// Hashes of scanned blocks, by number.
    pub anchors: Vec<(u64, Hash)>,
    /// Newest block that is final.
    pub finalized: u64,
}

/// Totals since the journal began.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Grants.
    pub granted: u64,
    /// Ticketed denials.
    pub denied: u64,
    /// Grants whose head is safe.
    pub auth_safe: u64,
    /// Statements of any kind whose head is safe.
    pub statements_safe: u64,
    /// Statements given up: the contract would not take them.
    pub rejected_by_contract: u64,
    /// Statements given up: their epoch left the ring.
    pub expired: u64,
    /// Statements given up: what they were signed under was reorganised away.
    pub reorged_out: u64,
    /// Grants whose head is final.
    pub auth_final: u64,
    /// Reorganisations that reached blocks whose events were taken in.
    pub reorganisations: u64,
    /// Grants revoked: not recorded in time.
    pub revoked_not_final: u64,
    /// Grants revoked: the contract would not take them.
    pub revoked_rejected: u64,
    /// Grants revoked: reorganised out.
    pub revoked_reorged_out: u64,
    /// Grants revoked: the device was.
    pub revoked_device: u64,
    /// Telemetry records.
    pub telemetry: u64,
}
