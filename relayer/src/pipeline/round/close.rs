//! The end of a round: a batch with the root and the records of those who did not sign, or nothing, and all go by lane 1.

use std::collections::{BTreeMap, HashSet};

use cip22_wire::{BlsSignature, DeviceId};

use super::{Round, Seat};
use crate::chain::contracts::{self, RecordBytes, RootGroup};
use crate::config::LaneRule;
use crate::journal::Record;
use crate::journal::record::{BatchKind, BatchRecord, RootRecord};
use crate::limits::RECORDS_PER_BATCH_MAX;
use crate::pipeline::batch::{BatchSettings, Ready, ready};
use crate::pipeline::lane::{self, GroupLoad, Lane};
use crate::signers::Signers;
use crate::state::State;

/// What the end of a round goes by, beside the state.
#[derive(Debug)]
pub struct Ending<'a> {
    /// The round's root.
    pub root: &'a RootRecord,
    /// The round.
    pub round: &'a Round,
    /// Devices that are revoked by now: the contract takes no root with their signatures.
    pub revoked: &'a HashSet<DeviceId>,
    /// Indices with a BLS key in the epoch, by group.
    pub keys: &'a BTreeMap<u32, usize>,
    /// Newest executed block.
    pub latest_block: u64,
    /// Whether the root can be recorded: its epoch is in the ring, and its groups are ours to cut.
    pub may_cut: bool,
}

/// The records that end a round, the batch last where there is one, and the lane.
pub fn close(state: &State, settings: &BatchSettings, ending: &Ending<'_>) -> (Vec<Record>, Lane) {
    let Ending { root, round, revoked, .. } = *ending;
    let device = |(group, index): Seat| {
        let leaf = root.group(group)?.leaves.iter().find(|leaf| leaf.index == index)?;
        Some(leaf.device_id)
    };
    let (kept, taken_out): (Vec<_>, Vec<(Seat, BlsSignature)>) =
        round.signed().partition(|(seat, _)| device(*seat).is_some_and(|device| !revoked.contains(&device)));
    let mut signers: BTreeMap<u32, Signers> =
        root.groups.iter().map(|one| (one.group, Signers::default())).collect();
    for ((group, index), _) in kept {
        signers.entry(group).or_default().insert(index);
    }
    let mut stragglers = stragglers(state, ending, &signers);
    let loads: Vec<GroupLoad> = root
        .groups
        .iter()
        .map(|one| GroupLoad {
            keys: ending.keys.get(&one.group).copied().unwrap_or(0),
            signers: signers.get(&one.group).map_or(0, Signers::count),
            stragglers: stragglers.iter().filter(|straggler| straggler.group == one.group).count(),
        })
        .collect();
    let records_max = settings.records_max.clamp(1, RECORDS_PER_BATCH_MAX);
    let rule = if ending.may_cut { settings.lane } else { LaneRule::Ecdsa };
    let mut sum = round.sum().clone();
    taken_out.iter().for_each(|(_, signature)| sum.subtract(signature));
    let closed = Record::RootClosed {
        epoch: root.epoch,
        root: root.root,
        signers: signers.iter().map(|(group, signers)| (*group, *signers)).collect(),
    };
    let (Lane::Root, Some(signature)) = (lane::choose(rule, &loads, records_max), sum.to_bytes()) else {
        return (vec![closed], Lane::Ecdsa);
    };
    stragglers.truncate(records_max);
    let groups: Vec<RootGroup> = root
        .groups
        .iter()
        .map(|one| RootGroup {
            group: one.group,
            group_root: one.group_root,
            signers: signers.get(&one.group).copied().unwrap_or_default(),
            stragglers: records_of(&stragglers, one.group),
        })
        .collect();
    let batch = BatchRecord {
        batch: state.last_batch.saturating_add(1),
        kind: BatchKind::RecordRoot,
        epoch: root.epoch,
        to: settings.deployment.verifier(),
        calldata: contracts::record_root_calldata(root.epoch, &signature, &groups),
        members: members(root, &signers, &stragglers),
        expires_block: settings.deployment.expires_block(root.epoch),
    };
    (vec![closed, Record::BatchCut(batch)], Lane::Root)
}

/// Heads of the root's groups that nobody's bit stands for, but for those of signers, by group and index.
fn stragglers(state: &State, ending: &Ending<'_>, signers: &BTreeMap<u32, Signers>) -> Vec<Ready> {
    let epoch = ending.root.epoch;
    let places = state.uncovered.range((epoch, 0, 0)..=(epoch, u32::MAX, u8::MAX));
    places
        .filter(|(_, group, index)| signers.get(group).is_some_and(|signers| !signers.contains(*index)))
        .filter_map(|(_, group, index)| {
            let chain = state.chains.get(&(*group, *index, epoch))?;
            let waits = chain.recorded || ending.latest_block < chain.retry_block;
            if waits { None } else { ready(chain, *group, *index) }
        })
        .collect()
}

fn records_of(stragglers: &[Ready], group: u32) -> Vec<RecordBytes> {
    stragglers.iter().filter(|straggler| straggler.group == group).map(|straggler| straggler.record).collect()
}

fn members(root: &RootRecord, signers: &BTreeMap<u32, Signers>, stragglers: &[Ready]) -> Vec<(DeviceId, u8)> {
    let mut members = Vec::new();
    for one in &root.groups {
        let signed = |index: u8| signers.get(&one.group).is_some_and(|signers| signers.contains(index));
        let leaves = one.leaves.iter().filter(|leaf| signed(leaf.index));
        members.extend(leaves.map(|leaf| (leaf.device_id, leaf.n)));
        let others = stragglers.iter().filter(|straggler| straggler.group == one.group);
        members.extend(others.map(|straggler| (straggler.device_id, straggler.n)));
    }
    members
}

#[cfg(test)]
#[path = "close_tests.rs"]
mod tests;
