//! The tree of a batch, as `cip22_wire::batch_tree` has it: from leaves to the root, and the path of each leaf.

use cip22_wire::Hash;
use cip22_wire::batch_tree::{EMPTY, GROUP_LEVELS, group_leaf, leaf, node};

use crate::journal::record::{LeafRecord, RootGroupRecord, RootRecord};
use crate::view::Epoch;

/// Most groups under one root.
pub const GROUPS_MAX: usize = 16;

/// All nodes of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    groups: Vec<(u32, Levels)>,
    above: Levels,
}

/// The record of the root over these groups' leaves; groups are strictly increasing, as are the indices of each.
pub fn root_record(epoch: &Epoch, groups: Vec<(u32, Vec<LeafRecord>)>) -> RootRecord {
    let trees: Vec<(u32, Levels)> =
        groups.iter().map(|(group, leaves)| (*group, group_levels(*group, leaves))).collect();
    let above = above(&trees);
    let parts = groups.into_iter().zip(&trees);
    let groups = parts
        .map(|((group, leaves), (_, levels))| RootGroupRecord { group, group_root: levels.root(), leaves })
        .collect();
    let Epoch { epoch, challenge, policy_hash } = *epoch;
    RootRecord { epoch, challenge, policy_hash, root: above.root(), groups }
}

impl Tree {
    /// Builds the tree of a root anew.
    pub fn of(record: &RootRecord) -> Self {
        let groups: Vec<(u32, Levels)> =
            record.groups.iter().map(|one| (one.group, group_levels(one.group, &one.leaves))).collect();
        let above = above(&groups);
        Self { groups, above }
    }

    /// The root.
    pub fn root(&self) -> Hash {
        self.above.root()
    }

    /// `leaf` and `path` of BATCH_ROOT for an index; `None` if the group is not in the tree.
    pub fn path(&self, group: u32, index: u8) -> Option<(u16, Vec<u8>)> {
        let at = self.groups.iter().position(|(known, _)| *known == group)?;
        let (_, levels) = self.groups.get(at)?;
        let place = u8::try_from(at).ok()?;
        let siblings = levels.siblings(usize::from(index)).chain(self.above.siblings(at));
        Some((u16::from_be_bytes([place, index]), siblings.flatten().collect()))
    }
}

/// The nodes of a tree, level by level from the leaves up; the last level is the root.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Levels(Vec<Vec<Hash>>);

impl Levels {
    /// Of leaves whose number is a power of two.
    fn over(leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|below| below.len() > 1) {
            let pairs = below.chunks_exact(2);
            let level =
                pairs.map(|pair| if let [left, right] = pair { node(left, right) } else { EMPTY }).collect();
            levels.push(level);
        }
        Self(levels)
    }

    fn root(&self) -> Hash {
        self.0.last().and_then(|level| level.first()).copied().unwrap_or(EMPTY)
    }

    fn siblings(&self, mut at: usize) -> impl Iterator<Item = Hash> {
        self.0.iter().filter(|level| level.len() > 1).map(move |level| {
            let sibling = level.get(at ^ 1).copied().unwrap_or(EMPTY);
            at >>= 1;
            sibling
        })
    }
}

fn group_levels(group: u32, leaves: &[LeafRecord]) -> Levels {
    let mut places = vec![EMPTY; 1 << GROUP_LEVELS];
    for one in leaves {
        if let Some(place) = places.get_mut(usize::from(one.index)) {
            *place = leaf(group, one.index, one.n, &one.head);
        }
    }
    Levels::over(places)
}

fn above(groups: &[(u32, Levels)]) -> Levels {
    let mut leaves: Vec<Hash> =
        groups.iter().map(|(group, levels)| group_leaf(*group, &levels.root())).collect();
    leaves.resize(leaves.len().next_power_of_two(), EMPTY);
    Levels::over(leaves)
}

#[cfg(test)]
mod tests {
    use cip22_wire::batch_tree::{Roots, follow};
    use cip22_wire::limits::PILE_PAYLOAD_BYTES_MIN;
    use cip22_wire::message::BatchRoot;
    use proptest::prelude::*;

    use super::*;
    use crate::pipeline::frame_bytes;

    const EPOCH: Epoch = Epoch { epoch: 5, challenge: [1; 32], policy_hash: [2; 32] };

    fn leaves(indices: impl IntoIterator<Item = u8>) -> Vec<LeafRecord> {
        let leaf =
            |index: u8| LeafRecord { index, device_id: [index; 32], n: index / 2 + 1, head: [index; 32] };
        indices.into_iter().map(leaf).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_path_leads_to_the_root_of_its_group_and_of_all(
            sizes in proptest::collection::btree_map(1_u32..500, 1_u8..=224, 1..=GROUPS_MAX),
        ) {
            let groups = sizes.iter().map(|(group, size)| (*group, leaves(0..*size))).collect();
            let record = root_record(&EPOCH, groups);
            let tree = Tree::of(&record);
            prop_assert_eq!(tree.root(), record.root);
            for group in &record.groups {
                for one in &group.leaves {
                    let (place, path) = tree.path(group.group, one.index).unwrap();
                    let roots = follow(group.group, place, one.n, &one.head, &path);
                    prop_assert_eq!(roots, Some(Roots { group_root: group.group_root, root: record.root }));
                }
            }
        }
    }

    #[test]
    fn with_one_group_its_group_leaf_is_the_root() {
        let record = root_record(&EPOCH, vec![(7, leaves([0, 3]))]);
        assert_eq!(record.root, group_leaf(7, &record.groups[0].group_root));
        assert_eq!(Tree::of(&record).path(8, 0), None);
    }

    #[test]
    fn the_longest_batch_root_fits_the_smallest_pile() {
        let groups = (0..GROUPS_MAX as u32).map(|at| (u32::MAX - 16 + at, leaves([223]))).collect();
        let tree = Tree::of(&root_record(&EPOCH, groups));
        let (leaf, path) = tree.path(u32::MAX - 1, 223).unwrap();
        assert_eq!((leaf, path.len()), (0x0fdf, 384));
        let frame = frame_bytes(&BatchRoot {
            group: u32::MAX,
            epoch: u32::MAX,
            root: [1; 32],
            leaf,
            path: &path,
            n: 255,
            head: [2; 32],
        });
        let payload = frame.len() - cip22_wire::frame::HEADER_BYTES - 1;
        assert!(payload <= usize::from(PILE_PAYLOAD_BYTES_MIN), "{payload} bytes");
    }
}
