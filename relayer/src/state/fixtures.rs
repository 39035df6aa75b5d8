//! Records for tests: a device number stands for its id, index and battery; n for a head.

use cip22_wire::Sid;
use cip22_wire::message::{Body, Challenge};

use super::State;
use crate::journal::Record;
use crate::journal::record::{AttemptRecord, BatchKind, BatchRecord, StatementKind, StatementRecord};

/// The ticket of (device, epoch, n), issued at block 100, and its granted AUTH.
pub fn granted(device: u8, epoch: u32, n: u8) -> [Record; 2] {
    let sid = sid(device, epoch, n);
    let challenge = Challenge {
        circuit_version: 0,
        sid,
        device_id: [device; 32],
        group: 1,
        index: device,
        nonce: [0; 32],
        epoch,
        epoch_challenge: [epoch as u8; 32],
        policy_hash: [0; 32],
        issued: 100,
        answer_by: 400,
        deadline: 640,
        gw_eph: [2; 33],
        dev_eph: [n; 33],
        h: [0; 32],
        signature: [0; 64],
    };
    let mut frame = [0; 1024];
    let length = challenge.encode(&mut frame).unwrap();
    let challenge_payload = frame[cip22_wire::frame::HEADER_BYTES..length - 1].to_vec();
    let kind = StatementKind::Auth {
        sid,
        ticket_hash: [0; 32],
        l: [0; 32],
        request_hash: [0; 32],
        wh: 8_000,
        minutes: 80,
        answer: Vec::new(),
    };
    [
        Record::TicketIssued { challenge_payload, device_key: vec![2; 33] },
        Record::Statement(statement(device, epoch, n, kind)),
    ]
}

/// The sid of that ticket.
pub fn sid(device: u8, epoch: u32, n: u8) -> Sid {
    let mut sid = [0; 16];
    sid[..3].copy_from_slice(&[device, epoch as u8, n]);
    sid
}

/// A checkpoint of the device's battery from one seq to another.
pub fn checkpoint(device: u8, epoch: u32, n: u8, from: u32, to: u32) -> Record {
    let kind = StatementKind::Checkpoint {
        battery: [device; 32],
        segment: [0; 16],
        seq: to,
        time_ms: 0,
        fp: [to as u8; 32],
        prev_seq: from,
        prev_fp: [from as u8; 32],
    };
    Record::Statement(statement(device, epoch, n, kind))
}

fn statement(device: u8, epoch: u32, n: u8, kind: StatementKind) -> StatementRecord {
    StatementRecord {
        device_id: [device; 32],
        group: 1,
        index: device,
        epoch,
        n,
        prev_head: [n - 1; 32],
        head: [n; 32],
        signature: vec![7; 64],
        kind,
    }
}

/// An epoch with this challenge.
pub fn opened(epoch: u32, challenge: u8) -> Record {
    Record::EpochOpened { epoch, challenge: [challenge; 32], policy_hash: [0; 32] }
}

/// Batch `batch` of these (device, n), cut and signed.
pub fn submitted(batch: u64, kind: BatchKind, epoch: u32, members: &[(u8, u8)]) -> [Record; 2] {
    let members = members.iter().map(|(device, n)| ([*device; 32], *n)).collect();
    let (to, calldata) = ([0; 20], Vec::new());
    let cut = BatchRecord { batch, kind, epoch, to, calldata, members, expires_block: u64::MAX };
    let attempt = AttemptRecord {
        batch,
        signer: [1; 20],
        nonce: batch,
        attempt: 1,
        gas_limit: 1,
        max_fee_per_gas: 1,
        max_priority_fee_per_gas: 1,
        raw: vec![1],
        transaction: [9; 32],
    };
    [Record::BatchCut(cut), Record::Submitted(attempt)]
}

/// The batch is safe in `block`.
pub fn batch_safe(batch: u64, block: u64) -> Record {
    Record::Safe { batch, transaction: [9; 32], block, succeeded: true }
}

/// Events up to `block` are in: batches are settled, and the block is an anchor.
pub fn scanned(block: u64) -> [Record; 2] {
    [Record::Settled { scanned_to: block }, Record::Scanned { block, hash: [1; 32] }]
}

/// The chain shows the device's head in `block`.
pub fn head_safe(device: u8, epoch: u32, n: u8, block: u64) -> Record {
    Record::HeadSafe { group: 1, index: device, epoch, n, head: [n; 32], transaction: [9; 32], block }
}

/// What the records add up to.
pub fn state_of(records: impl IntoIterator<Item = Record>) -> State {
    let mut state = State::default();
    apply(&mut state, records);
    state
}

/// Takes in more.
pub fn apply(state: &mut State, records: impl IntoIterator<Item = Record>) {
    records.into_iter().for_each(|record| state.apply(&record));
}
