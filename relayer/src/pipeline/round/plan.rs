//! Which roots are cut: for closed epochs, of groups that have none in the epoch yet, where a root is expected to cost less.

use std::collections::BTreeMap;

use cip22_wire::DeviceId;

use crate::directory::Directory;
use crate::journal::record::{LeafRecord, RootRecord};
use crate::limits::RECORDS_PER_BATCH_MAX;
use crate::pipeline::batch::{BatchSettings, Moment, ready};
use crate::pipeline::batch_tree::{self, GROUPS_MAX};
use crate::pipeline::lane::{self, GroupLoad, Lane};
use crate::state::{PileChain, State};

/// Who may be asked to co-sign.
pub struct Piles<'a> {
    /// Registered devices.
    pub directory: &'a Directory,
    /// Whether a device is left out of an epoch's roots because it signed wrongly.
    pub is_quarantined: &'a dyn Fn(&DeviceId, u32) -> bool,
    /// Whether a device has a session.
    pub is_connected: &'a dyn Fn(&DeviceId) -> bool,
}

impl std::fmt::Debug for Piles<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piles").field("devices", &self.directory.devices.len()).finish_non_exhaustive()
    }
}

/// A group's heads in an epoch.
#[derive(Debug, Default)]
struct Heads {
    leaves: Vec<LeafRecord>,
    /// Of these, those whose pile is connected.
    expected: usize,
    /// Heads that go by their record in any case.
    stragglers: usize,
}

/// The roots to cut now.
pub fn plan_roots(
    state: &State,
    moment: &Moment,
    settings: &BatchSettings,
    piles: &Piles<'_>,
    may_cut: &dyn Fn(u32) -> bool,
) -> Vec<RootRecord> {
    let mut epochs: BTreeMap<u32, BTreeMap<u32, Heads>> = BTreeMap::new();
    for (epoch, group, index) in &state.uncovered {
        let known = state.epochs.contains_key(epoch) && state.root_of(*group, *epoch).is_none();
        if !known || !may_cut(*group) || !moment.closes(*epoch, settings.close_grace_ms) {
            continue;
        }
        let Some(chain) = state.chains.get(&(*group, *index, *epoch)) else { continue };
        if moment.latest_block < chain.retry_block {
            continue;
        }
        let heads = epochs.entry(*epoch).or_default().entry(*group).or_default();
        take(heads, chain, (*group, *index, *epoch), piles);
    }
    let mut roots = Vec::new();
    for (epoch, groups) in epochs {
        let Some(opened) = state.epochs.get(&epoch) else { continue };
        let groups: Vec<(u32, Heads)> =
            groups.into_iter().filter(|(_, heads)| !heads.leaves.is_empty()).collect();
        let mut rest = groups.into_iter().peekable();
        while rest.peek().is_some() {
            let part: Vec<(u32, Heads)> = rest.by_ref().take(GROUPS_MAX).collect();
            let loads: Vec<GroupLoad> =
                part.iter().map(|(group, heads)| load(piles.directory, *group, epoch, heads)).collect();
            let records_max = settings.records_max.clamp(1, RECORDS_PER_BATCH_MAX);
            if lane::choose(settings.lane, &loads, records_max) == Lane::Root {
                let leaves = part.into_iter().map(|(group, heads)| (group, heads.leaves)).collect();
                roots.push(batch_tree::root_record(opened, leaves));
            }
        }
    }
    roots
}

fn take(heads: &mut Heads, chain: &PileChain, (group, index, epoch): (u32, u8, u32), piles: &Piles<'_>) {
    let Some(ready) = ready(chain, group, index) else { return };
    let device_id = chain.device_id;
    let asks = chain.tries == 0
        && !(piles.is_quarantined)(&device_id, epoch)
        && piles.directory.devices.get(&device_id).is_some_and(|device| {
            let at = device.enrolment_at(epoch).map(|enrolment| (enrolment.group, enrolment.index));
            !device.revoked && at == Some((group, index))
        });
    if asks {
        heads.leaves.push(LeafRecord { index, device_id, n: ready.n, head: ready.record.head });
    }
    if asks && (piles.is_connected)(&device_id) {
        heads.expected += 1;
    } else if !chain.recorded {
        heads.stragglers += 1;
    }
}

fn load(directory: &Directory, group: u32, epoch: u32, heads: &Heads) -> GroupLoad {
    let enrolled = directory.devices.values().filter_map(|device| device.enrolment_at(epoch));
    GroupLoad {
        keys: enrolled.filter(|enrolment| enrolment.group == group).count(),
        signers: heads.expected,
        stragglers: heads.stragglers,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
