//! The contracts' interface (docs/architecture.md): calldata out, events in.

use alloy::primitives::{B256, Bytes, FixedBytes, U256};
use alloy::rpc::types::Log;
use alloy::sol_types::{SolCall, SolEvent};
use cip22_wire::{BatteryId, DeviceId, Hash, Sid, Signature};

use super::{BlsKeyBytes, ChainError, DeviceEvent, HeadEvent, LedgerEvent, RootEvent};
use crate::signers::Signers;
use crate::view::Policy;

/// Bytes of one record on the chain: index, n, head, signature.
pub const RECORD_BYTES: usize = 98;

/// Most records of one group in a call: its count is one byte.
const RECORDS_PER_GROUP_MAX: usize = 255;

/// The functions and events themselves, as Solidity declares them.
#[allow(missing_docs, missing_debug_implementations, clippy::all, reason = "generated from the declarations")]
pub mod abi {
    alloy::sol! {
        event HeadRecorded(uint32 indexed group, uint256 indexed position, bytes32 head);
        event HeadExtended(uint32 indexed group, uint256 indexed position, bytes32 head);
        event RecordSkipped(uint32 indexed group, uint256 indexed position, uint8 reason);
        function record(uint32 group, uint32 epoch, bytes calldata records) external returns (uint256 recorded);
        function recordMany(uint32 epoch, bytes calldata batches) external returns (uint256 recorded);
        function extend(uint32 group, uint32 epoch, bytes calldata records) external returns (uint256 extended);
        function recordRoot(uint32 epoch, bytes calldata signature, bytes calldata batches) external returns (uint256 recorded);
        event RootRecorded(uint32 indexed group, uint32 indexed epoch, bytes32 groupRoot, uint224 signers, bytes32 before);
        function openRing(uint32 group, uint32 count) external returns (uint32 opened);
        function policyAt(uint32 epoch) external view returns (bytes32);
        function challengeOf(uint32 epoch) external view returns (bytes32);
        function currentEpoch() external view returns (uint32);
        function ringWord(uint32 group, uint32 epoch) external view returns (uint32 wordEpoch, uint224 bitmap);

        struct Registration { bytes32 deviceId; address key; }
        function createGroup(uint32 group) external;
        function register(uint32 group, Registration[] calldata devices) external;
        event DeviceRegistered(bytes32 indexed deviceId, uint32 indexed group, uint8 index, address key, uint32 activeFrom);
        event DeviceRotated(bytes32 indexed deviceId, uint32 indexed group, uint8 oldIndex, uint8 newIndex, address newKey, uint32 activeFrom);
        event DeviceRevoked(bytes32 indexed deviceId, uint32 indexed group, uint8 index);
        event DeviceEnrolled(bytes32 indexed deviceId, uint32 indexed group, uint8 index, bytes key, uint32 activeFrom);

        event PolicyScheduled(uint32 indexed version, uint32 indexed firstEpoch, bytes32 policyHash, bytes tariff, bytes signature);

        struct Advance {
            bytes32 deviceId; uint32 group; uint8 index; uint32 epoch; uint8 n; bytes32 battery; bytes16 segment; uint32 seq; uint64 time;
            bytes32 fp; uint32 prevSeq; bytes32 prevFp; bytes32 prevHead; bytes32[] later; bytes signature;
        }
        function advance(Advance[] calldata items) external returns (uint256 advanced);
        event BatteryAdvanced(bytes32 indexed battery, bytes32 indexed deviceId, uint32 seq, bytes32 fp, bytes16 segment, uint64 time, uint32 prevSeq);
        function headOf(bytes32 battery) external view returns (bytes32 headHash);
    }
}

/// A pile's signed head, as `record` and `extend` take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordBytes {
    /// Index inside the group.
    pub index: u8,
    /// Number of the last statement covered.
    pub n: u8,
    /// Head.
    pub head: Hash,
    /// The pile's signature over Head.
    pub signature: Signature,
}

impl RecordBytes {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.index, self.n]);
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.signature);
    }
}

/// A CHECKPOINT with its place in the pile's chain, as `BatteryLedger.advance` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// Signing device.
    pub device_id: DeviceId,
    /// Its group.
    pub group: u32,
    /// Its index.
    pub index: u8,
    /// Epoch of the statement.
    pub epoch: u32,
    /// The statement's own number; the signed one is n + `later.len()`.
    pub n: u8,
    /// Battery.
    pub battery: BatteryId,
    /// Segment.
    pub segment: Sid,
    /// Sequence number.
    pub seq: u32,
    /// Time of that record, Unix ms.
    pub time_ms: u64,
    /// Fingerprint.
    pub fp: Hash,
    /// Sequence number of the previous checkpoint.
    pub prev_seq: u32,
    /// Fingerprint of the previous checkpoint.
    pub prev_fp: Hash,
    /// head_{n-1}.
    pub prev_head: Hash,
    /// The statements after it up to the signed one.
    pub later: Vec<Hash>,
    /// The pile's signature over the last head.
    pub signature: Signature,
}

/// Calldata of `record`: the cheapest way for a single group.
pub fn record_calldata(group: u32, epoch: u32, records: &[RecordBytes]) -> Vec<u8> {
    abi::recordCall { group, epoch, records: joined(records) }.abi_encode()
}

/// Calldata of `recordMany`: { group 4 B, count 1 B, count × 98 B } for each group, which may come more than once.
pub fn record_many_calldata(epoch: u32, groups: &[(u32, Vec<RecordBytes>)]) -> Vec<u8> {
    let mut batches = Vec::new();
    for (group, records) in groups {
        for part in records.chunks(RECORDS_PER_GROUP_MAX) {
            batches.extend_from_slice(&group.to_be_bytes());
            batches.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
            part.iter().for_each(|record| record.write(&mut batches));
        }
    }
    abi::recordManyCall { epoch, batches: batches.into() }.abi_encode()
}

/// One group of a `recordRoot` call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootGroup {
    /// Group.
    pub group: u32,
    /// Root of its 256 places.
    pub group_root: Hash,
    /// Who signed.
    pub signers: Signers,
    /// Heads of indices that did not.
    pub stragglers: Vec<RecordBytes>,
}

/// Calldata of `recordRoot`. `signature` is x ‖ y; `groups` are strictly increasing.
pub fn record_root_calldata(epoch: u32, signature: &[u8; 96], groups: &[RootGroup]) -> Vec<u8> {
    let mut batches = Vec::new();
    for group in groups {
        batches.extend_from_slice(&group.group.to_be_bytes());
        batches.extend_from_slice(&group.group_root);
        batches.extend_from_slice(&group.signers.to_bytes());
        batches.push(u8::try_from(group.stragglers.len()).unwrap_or(u8::MAX));
        group.stragglers.iter().take(RECORDS_PER_GROUP_MAX).for_each(|record| record.write(&mut batches));
    }
    abi::recordRootCall { epoch, signature: Bytes::copy_from_slice(signature), batches: batches.into() }
        .abi_encode()
}

/// Calldata of `extend`.
pub fn extend_calldata(group: u32, epoch: u32, records: &[RecordBytes]) -> Vec<u8> {
    abi::extendCall { group, epoch, records: joined(records) }.abi_encode()
}

/// Calldata of `BatteryLedger.advance`.
pub fn advance_calldata(items: &[Advance]) -> Vec<u8> {
    let items = items
        .iter()
        .map(|item| abi::Advance {
            deviceId: item.device_id.into(),
            group: item.group,
            index: item.index,
            epoch: item.epoch,
            n: item.n,
            battery: item.battery.into(),
            segment: FixedBytes(item.segment),
            seq: item.seq,
            time: item.time_ms,
            fp: item.fp.into(),
            prevSeq: item.prev_seq,
            prevFp: item.prev_fp.into(),
            prevHead: item.prev_head.into(),
            later: item.later.iter().map(|statement| B256::from(*statement)).collect(),
            signature: Bytes::copy_from_slice(&item.signature),
        })
        .collect();
    abi::advanceCall { items }.abi_encode()
}

fn joined(records: &[RecordBytes]) -> Bytes {
    let mut bytes = Vec::with_capacity(records.len() * RECORD_BYTES);
    records.iter().for_each(|record| record.write(&mut bytes));
    bytes.into()
}

/// First topics of the events that [`head_event`] reads.
pub const HEAD_TOPICS: [B256; 2] = [abi::HeadRecorded::SIGNATURE_HASH, abi::HeadExtended::SIGNATURE_HASH];
/// First topics of the events that [`device_event`] reads.
pub const DEVICE_TOPICS: [B256; 4] = [
    abi::DeviceRegistered::SIGNATURE_HASH,
    abi::DeviceRotated::SIGNATURE_HASH,
    abi::DeviceRevoked::SIGNATURE_HASH,
    abi::DeviceEnrolled::SIGNATURE_HASH,
];
/// First topics of the events that [`root_event`] reads.
pub const ROOT_TOPICS: [B256; 1] = [abi::RootRecorded::SIGNATURE_HASH];
/// First topics of the events that [`policy_event`] reads.
pub const POLICY_TOPICS: [B256; 1] = [abi::PolicyScheduled::SIGNATURE_HASH];
/// First topics of the events that [`ledger_event`] reads.
pub const LEDGER_TOPICS: [B256; 1] = [abi::BatteryAdvanced::SIGNATURE_HASH];

/// Reads `HeadRecorded` or `HeadExtended`.
pub fn head_event(log: &Log) -> Result<HeadEvent, ChainError> {
    let (group, position, head) = if log.topic0() == Some(&abi::HeadRecorded::SIGNATURE_HASH) {
        let event = decoded::<abi::HeadRecorded>(log)?;
        (event.group, event.position, event.head)
    } else {
        let event = decoded::<abi::HeadExtended>(log)?;
        (event.group, event.position, event.head)
    };
    let (epoch, index, n) = position_parts(position)?;
    let (transaction, block) = place(log)?;
    Ok(HeadEvent { group, index, epoch, n, head: head.0, transaction, block })
}

/// Reads `RootRecorded`.
pub fn root_event(log: &Log) -> Result<RootEvent, ChainError> {
    let event = decoded::<abi::RootRecorded>(log)?;
    let (transaction, block) = place(log)?;
    Ok(RootEvent {
        group: event.group,
        epoch: event.epoch,
        group_root: event.groupRoot.0,
        signers: Signers::from_bytes(event.signers.to_be_bytes()),
        transaction,
        block,
    })
}

/// Reads an event of the device registry.
pub fn device_event(log: &Log) -> Result<DeviceEvent, ChainError> {
    match log.topic0() {
        Some(&abi::DeviceRegistered::SIGNATURE_HASH) => {
            let event = decoded::<abi::DeviceRegistered>(log)?;
            Ok(DeviceEvent::Placed {
                device_id: event.deviceId.0,
                group: event.group,
                index: event.index,
                key: event.key.into_array(),
                active_from: event.activeFrom,
            })
        }
        Some(&abi::DeviceRotated::SIGNATURE_HASH) => {
            let event = decoded::<abi::DeviceRotated>(log)?;
            Ok(DeviceEvent::Placed {
                device_id: event.deviceId.0,
                group: event.group,
                index: event.newIndex,
                key: event.newKey.into_array(),
                active_from: event.activeFrom,
            })
        }
        Some(&abi::DeviceEnrolled::SIGNATURE_HASH) => {
            let event = decoded::<abi::DeviceEnrolled>(log)?;
            let key = BlsKeyBytes::try_from(event.key.as_ref())
                .map_err(|_| malformed(format!("a BLS key of {} bytes", event.key.len())))?;
            Ok(DeviceEvent::Enrolled {
                device_id: event.deviceId.0,
                group: event.group,
                index: event.index,
                key: Box::new(key),
                active_from: event.activeFrom,
            })
        }
        _ => {
            let event = decoded::<abi::DeviceRevoked>(log)?;
            Ok(DeviceEvent::Revoked { device_id: event.deviceId.0 })
        }
    }
}

/// Reads `PolicyScheduled`. Whether the hash is that of the policy is the caller's to check.
pub fn policy_event(log: &Log) -> Result<Policy, ChainError> {
    let event = decoded::<abi::PolicyScheduled>(log)?;
    let signature = event
        .signature
        .as_ref()
        .try_into()
        .map_err(|_| malformed(format!("a policy signature of {} bytes", event.signature.len())))?;
    Ok(Policy {
        version: event.version,
        first_epoch: event.firstEpoch,
        policy_hash: event.policyHash.0,
        tariff: event.tariff.to_vec(),
        signature,
    })
}

/// Reads `BatteryAdvanced`.
pub fn ledger_event(log: &Log) -> Result<LedgerEvent, ChainError> {
    let event = decoded::<abi::BatteryAdvanced>(log)?;
    let (transaction, block) = place(log)?;
    Ok(LedgerEvent {
        battery: event.battery.0,
        device_id: event.deviceId.0,
        segment: event.segment.0,
        seq: event.seq,
        fp: event.fp.0,
        transaction,
        block,
    })
}

fn decoded<E: SolEvent>(log: &Log) -> Result<E, ChainError> {
    E::decode_log(&log.inner)
        .map(|event| event.data)
        .map_err(|error| malformed(format!("{}: {error}", E::SIGNATURE)))
}

/// epoch << 16 | index << 8 | n.
fn position_parts(position: U256) -> Result<(u32, u8, u8), ChainError> {
    let position = u64::try_from(position).ok().filter(|position| *position < 1 << 48);
    let [_, _, e3, e2, e1, e0, index, n] =
        position.ok_or_else(|| malformed("a position above 48 bits".to_owned()))?.to_be_bytes();
    // The verifier records no such head: whoever says so invents it.
    if n == 0 {
        return Err(malformed("a head of no statement".to_owned()));
    }
    Ok((u32::from_be_bytes([e3, e2, e1, e0]), index, n))
}

fn place(log: &Log) -> Result<(Hash, u64), ChainError> {
    match (log.transaction_hash, log.block_number) {
        (Some(transaction), Some(block)) => Ok((transaction.0, block)),
        _ => Err(malformed("a log without transaction or block".to_owned())),
    }
}

fn malformed(what: String) -> ChainError {
    ChainError::Malformed { method: "eth_getLogs", what }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, Log as PrimitiveLog, LogData};

    use super::*;

    fn log(data: LogData) -> Log {
        Log {
            inner: PrimitiveLog { address: Address::ZERO, data },
            transaction_hash: Some(B256::repeat_byte(0xaa)),
            block_number: Some(77),
            ..Log::default()
        }
    }

    fn record(index: u8) -> RecordBytes {
        RecordBytes { index, n: 3, head: [index; 32], signature: [0x55; 64] }
    }

    #[test]
    fn record_many_packs_groups_without_padding_between_them() {
        let groups = vec![(7, vec![record(1), record(2)]), (9, vec![record(3)])];
        let calldata = record_many_calldata(5, &groups);
        let call = abi::recordManyCall::abi_decode(&calldata).unwrap();
        assert_eq!(call.epoch, 5);
        assert_eq!(call.batches.len(), 2 * 5 + 3 * RECORD_BYTES);
        assert_eq!(call.batches[..7], [0, 0, 0, 7, 2, 1, 3]);
        assert_eq!(call.batches[5 + 2 * RECORD_BYTES..][..7], [0, 0, 0, 9, 1, 3, 3]);
    }

    #[test]
    fn a_group_of_more_records_than_a_count_holds_is_split() {
        let calldata = record_many_calldata(5, &[(1, (0..=255).map(record).collect())]);
        let call = abi::recordManyCall::abi_decode(&calldata).unwrap();
        assert_eq!(call.batches[4], 255);
        assert_eq!(call.batches[5 + 255 * RECORD_BYTES..][..6], [0, 0, 0, 1, 1, 255]);
    }

    #[test]
    fn record_root_packs_root_signers_and_stragglers_of_each_group() {
        let signers: Signers = [0, 9, 223].into_iter().collect();
        let one =
            RootGroup { group: 7, group_root: [0x77; 32], signers, stragglers: vec![record(1), record(2)] };
        let two =
            RootGroup { group: 9, group_root: [0x99; 32], signers: Signers::default(), stragglers: vec![] };
        let call = abi::recordRootCall::abi_decode(&record_root_calldata(5, &[3; 96], &[one, two])).unwrap();
        assert_eq!((call.epoch, call.signature.len()), (5, 96));
        assert_eq!(call.batches.len(), 2 * 65 + 2 * RECORD_BYTES);
        assert_eq!(call.batches[..5], [0, 0, 0, 7, 0x77]);
        // Bit 223 leads the word, bits 9 and 0 end it.
        assert_eq!((call.batches[36], &call.batches[62..65]), (0x80, &[2, 1, 2][..]));
        assert_eq!(call.batches[65..67], [1, 3]);
        assert_eq!(call.batches[65 + 2 * RECORD_BYTES..][..5], [0, 0, 0, 9, 0x99]);
        assert_eq!(call.batches.last(), Some(&0));
    }

    #[test]
    fn a_root_event_tells_who_signed() {
        let event = abi::RootRecorded {
            group: 6,
            epoch: 5,
            groupRoot: B256::repeat_byte(0xbb),
            signers: alloy::primitives::Uint::from(0b101),
            before: B256::ZERO,
        };
        let event = root_event(&log(event.encode_log_data())).unwrap();
        assert_eq!(event.signers.iter().collect::<Vec<u8>>(), [0, 2]);
        assert_eq!((event.group, event.epoch, event.group_root), (6, 5, [0xbb; 32]));
        assert_eq!((event.transaction, event.block), ([0xaa; 32], 77));
    }

    #[test]
    fn an_enrolment_with_a_key_of_another_length_is_refused() {
        let enrolled = |length: usize| abi::DeviceEnrolled {
            deviceId: B256::repeat_byte(1),
            group: 2,
            index: 3,
            key: vec![5; length].into(),
            activeFrom: 6,
        };
        let expected = DeviceEvent::Enrolled {
            device_id: [1; 32],
            group: 2,
            index: 3,
            key: Box::new([5; 192]),
            active_from: 6,
        };
        assert_eq!(device_event(&log(enrolled(192).encode_log_data())).unwrap(), expected);
        assert!(device_event(&log(enrolled(96).encode_log_data())).is_err());
    }

    #[test]
    fn an_advance_survives_encoding() {
        let item = Advance {
            device_id: [1; 32],
            group: 2,
            index: 3,
            epoch: 4,
            n: 5,
            battery: [6; 32],
            segment: [7; 16],
            seq: 8,
            time_ms: 9,
            fp: [10; 32],
            prev_seq: 11,
            prev_fp: [12; 32],
            prev_head: [13; 32],
            later: vec![[14; 32], [15; 32]],
            signature: [16; 64],
        };
        let call = abi::advanceCall::abi_decode(&advance_calldata(std::slice::from_ref(&item))).unwrap();
        let decoded = &call.items[0];
        assert_eq!((decoded.seq, decoded.time, decoded.prevSeq), (8, 9, 11));
        assert_eq!(decoded.segment.0, item.segment);
        assert_eq!(decoded.later[1].0, item.later[1]);
        assert_eq!(decoded.signature.as_ref(), item.signature);
    }

    #[test]
    fn both_head_events_carry_epoch_index_and_n_in_one_word() {
        let position = U256::from((0x0102_0304_u64 << 16) | (200 << 8) | 9);
        let head = B256::repeat_byte(0xbb);
        let recorded = abi::HeadRecorded { group: 6, position, head }.encode_log_data();
        let extended = abi::HeadExtended { group: 6, position, head }.encode_log_data();
        for data in [recorded, extended] {
            let event = head_event(&log(data)).unwrap();
            assert_eq!((event.group, event.epoch, event.index, event.n), (6, 0x0102_0304, 200, 9));
            assert_eq!((event.head, event.transaction, event.block), ([0xbb; 32], [0xaa; 32], 77));
        }
    }

    #[test]
    fn a_position_that_no_epoch_has_is_refused() {
        for position in [U256::MAX, U256::from(5_u64 << 16 | 7 << 8)] {
            let event = abi::HeadRecorded { group: 6, position, head: B256::ZERO };
            assert!(head_event(&log(event.encode_log_data())).is_err());
        }
    }

    #[test]
    fn a_rotation_is_a_placement_at_the_new_index() {
        let rotated = abi::DeviceRotated {
            deviceId: B256::repeat_byte(1),
            group: 2,
            oldIndex: 3,
            newIndex: 4,
            newKey: Address::repeat_byte(5),
            activeFrom: 6,
        };
        let expected =
            DeviceEvent::Placed { device_id: [1; 32], group: 2, index: 4, key: [5; 20], active_from: 6 };
        assert_eq!(device_event(&log(rotated.encode_log_data())).unwrap(), expected);
    }

    #[test]
    fn a_policy_whose_signature_has_another_length_is_refused() {
        let event = abi::PolicyScheduled {
            version: 1,
            firstEpoch: 2,
            policyHash: B256::ZERO,
            tariff: Bytes::from_static(&[1]),
            signature: Bytes::from_static(&[0; 65]),
        };
        let error = policy_event(&log(event.encode_log_data())).unwrap_err();
        assert!(error.to_string().contains("65 bytes"));
    }
}
