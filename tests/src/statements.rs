//! What piles stated, as BatteryLedger and StatementOpener take it: statement, place in the pile's chain, evidence.

use alloy::primitives::{Address, B256, Bytes, FixedBytes, U256};
use alloy::sol;
use alloy::sol_types::SolEvent;
use cip22_wire::message::TelemCheckpoint;

use crate::chain::Chain;
use crate::co_sign::RootOffer;
use crate::pile::Pile;
use crate::roots::RootRecorded;
use crate::snapshot::Snapshot;

sol! {
    #[derive(Debug)]
    struct Advance {
        bytes32 deviceId; uint32 group; uint8 index; uint32 epoch; uint8 n; bytes32 battery; bytes16 segment; uint32 seq; uint64 time;
        bytes32 fp; uint32 prevSeq; bytes32 prevFp; bytes32 prevHead; bytes32[] later; bytes signature;
    }
    function advance(Advance[] calldata items) external returns (uint256 advanced);
    function proveTampering(Advance calldata a, Advance calldata b) external;
    #[derive(Debug)]
    event TamperingProven(bytes32 indexed battery, bytes32 indexed deviceId, uint32 seq, bytes16 segment, bytes32 fpA, bytes32 fpB);

    struct Place { bytes32 deviceId; uint32 group; uint8 index; uint32 epoch; uint8 n; bytes32 prevHead; bytes32[] later; }
    struct Checkpoint { bytes32 battery; bytes16 segment; uint32 seq; uint64 time; bytes32 fp; uint32 prevSeq; bytes32 prevFp; }
    function openAuth(Place calldata place, bytes32 ticketHash, bytes32 l, bytes calldata evidence) external returns (bytes32 statement);
    function openCheckpoint(Place calldata place, Checkpoint calldata checkpoint, bytes calldata evidence) external returns (bytes32 statement);
    #[derive(Debug, PartialEq)]
    event StatementOpened(uint8 indexed kind, bytes32 indexed deviceId, bytes32 indexed statement, uint32 epoch, uint8 n);
}

/// A CHECKPOINT that was the pile's last statement when it signed, with that signature.
pub fn advance_of(pile: &Pile, checkpoint: &TelemCheckpoint) -> Advance {
    let place = pile.place.expect("greeted");
    Advance {
        deviceId: pile.device_id.into(),
        group: place.group,
        index: place.index,
        epoch: checkpoint.epoch,
        n: checkpoint.n,
        battery: checkpoint.battery.into(),
        segment: checkpoint.segment.into(),
        seq: checkpoint.seq,
        time: checkpoint.time_ms,
        fp: checkpoint.fp.into(),
        prevSeq: checkpoint.prev_seq,
        prevFp: checkpoint.prev_fp.into(),
        prevHead: checkpoint.prev_head.into(),
        later: Vec::new(),
        signature: Bytes::from(checkpoint.signature.to_vec()),
    }
}

impl Chain {
    /// What opens the head of a co-signed root on chain, from the pile's own path and the events: `before ‖ path ‖ signers ‖ later`.
    pub async fn opening(&self, offer: &RootOffer, ring_epochs: u32) -> Bytes {
        let of_place = |root: &RootRecorded| {
            root.group == offer.group && root.epoch % ring_epochs == offer.epoch % ring_epochs
        };
        let roots: Vec<RootRecorded> = self.events().await.into_iter().filter(of_place).collect();
        let own = |root: &RootRecorded| root.epoch == offer.epoch && root.groupRoot == offer.group_root();
        let at = roots.iter().position(own).expect("the root is on chain");
        let mut opening = [&roots[at].before.0, offer.opening_path()].concat();
        opening.extend_from_slice(&signers(&roots[at]));
        for later in &roots[at + 1..] {
            let entry = [&later.epoch.to_be_bytes()[..], &later.groupRoot.0, &signers(later)].concat();
            opening.extend_from_slice(&cip22_wire::keccak256(&[&entry]));
        }
        opening.into()
    }

    /// Every event of this kind that a contract emitted, in order.
    pub async fn events_of<E: SolEvent>(&self, emitter: Address) -> Vec<E> {
        let logs = self.logs(emitter, E::SIGNATURE_HASH).await;
        logs.iter().map(|log| E::decode_log(&log.inner).expect("its event").data).collect()
    }
}

/// Where the StatementOpener stands.
#[allow(clippy::disallowed_methods, reason = "scenarios work on real files")]
pub fn statement_opener(snapshot: &Snapshot) -> Address {
    let text = std::fs::read(snapshot.deployment()).expect("the deployment file");
    let document: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    document["statement_opener"].as_str().expect("a statement opener").parse().expect("an address")
}

fn signers(root: &RootRecorded) -> [u8; 28] {
    let word: B256 = U256::from(root.signers).into();
    FixedBytes::<28>::from_slice(&word[4..]).0
}
