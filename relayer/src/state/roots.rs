//! Roots that piles co-sign, and what the chain shows of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use cip22_wire::{DeviceId, Hash};

use super::reorganisation::RecordedHead;
use super::{Place, State};
use crate::journal::record::{LeafRecord, RootGroupRecord, RootRecord};
use crate::signers::Signers;

/// A root, from before its first BATCH_ROOT until its epoch is pruned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// What it stands for.
    pub record: Arc<RootRecord>,
    /// Who signed it, by group; `None` while the round lasts.
    pub signers: Option<BTreeMap<u32, Signers>>,
}

impl Root {
    /// Whether the round lasts.
    pub fn is_open(&self) -> bool {
        self.signers.is_none()
    }

    /// The leaf of a device in a group.
    pub fn leaf(&self, group: u32, device_id: &DeviceId) -> Option<&LeafRecord> {
        self.record.group(group)?.leaves.iter().find(|leaf| leaf.device_id == *device_id)
    }

    /// Whether an index of a group signed it, once the round is over.
    pub fn is_signed_by(&self, group: u32, index: u8) -> bool {
        let signers = self.signers.as_ref().and_then(|groups| groups.get(&group));
        signers.is_some_and(|signers| signers.contains(index))
    }
}

impl RootRecord {
    /// A group's part.
    pub fn group(&self, group: u32) -> Option<&RootGroupRecord> {
        self.groups.iter().find(|one| one.group == group)
    }
}

impl State {
    /// Roots whose round lasts, oldest epoch first.
    pub fn open_roots(&self) -> impl Iterator<Item = &Arc<RootRecord>> {
        self.roots.values().flatten().filter(|root| root.is_open()).map(|root| &root.record)
    }

    /// The root of a group in an epoch: there is one at most.
    pub fn root_of(&self, group: u32, epoch: u32) -> Option<&Root> {
        self.roots.get(&epoch)?.iter().find(|root| root.record.group(group).is_some())
    }

    pub(super) fn root_cut(&mut self, record: &RootRecord) {
        let root = Root { record: Arc::new(record.clone()), signers: None };
        self.roots.entry(record.epoch).or_default().push(root);
    }

    pub(super) fn root_closed(&mut self, epoch: u32, root: &Hash, signers: &[(u32, Signers)]) {
        let mut roots = self.roots.get_mut(&epoch).into_iter().flatten();
        if let Some(known) = roots.find(|known| known.record.root == *root) {
            known.signers = Some(signers.iter().copied().collect());
        }
    }

    /// The places that a recorded root says something of, each with the n and the head of its leaf. Of a root that is not ours only the
    /// bit is known: n is 0 then, and nothing is covered.
    pub fn recorded_leaves(
        &self,
        group: u32,
        epoch: u32,
        group_root: &Hash,
        signers: &Signers,
    ) -> Vec<(Place, u8, Hash)> {
        let roots = self.roots.get(&epoch).into_iter().flatten();
        let mut groups = roots.flat_map(|root| &root.record.groups);
        let ours = groups.find(|one| one.group == group && one.group_root == *group_root);
        let leaf = |index: u8| {
            let leaf = ours?.leaves.iter().find(|leaf| leaf.index == index)?;
            Some((leaf.n, leaf.head))
        };
        let places = signers.iter().map(|index| (group, index, epoch));
        places
            .filter(|place| self.chains.contains_key(place))
            .map(|place| {
                let (n, head) = leaf(place.1).unwrap_or_default();
                (place, n, head)
            })
            .collect()
    }

    /// The chain shows a root under `safe`.
    pub(super) fn root_recorded(
        &mut self,
        group: u32,
        epoch: u32,
        group_root: &Hash,
        signers: &Signers,
        (transaction, block): (Hash, u64),
    ) {
        for (place, n, head) in self.recorded_leaves(group, epoch, group_root, signers) {
            self.head_recorded(place, &head, RecordedHead { n, transaction, block });
        }
    }
}

#[cfg(test)]
#[path = "roots_tests.rs"]
mod tests;
