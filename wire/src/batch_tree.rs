//! The tree whose root a pile co-signs (§5.5): what a leaf is, and where a path leads.
//!
//! A group always has 256 places and a pile's place is its index, so nothing else in a tree can pass for the leaf of a pile that
//! checked its own path.

use crate::{
    Hash,
    digest::keccak256,
    limits::{PATH_BYTES_MAX, PATH_NODE_BYTES},
};

/// Levels of a group's subtree: 256 places.
pub const GROUP_LEVELS: usize = 8;

/// What stands at the place of an index without statements, and of a missing group.
pub const EMPTY: Hash = [0; 32];

/// keccak256(0x00 ‖ group ‖ index ‖ n ‖ head): the pile's newest head of the epoch.
#[must_use]
pub fn leaf(group: u32, index: u8, n: u8, head: &Hash) -> Hash {
    keccak256(&[&[0x00], &group.to_be_bytes(), &[index, n], head])
}

/// keccak256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    keccak256(&[&[0x01], left, right])
}

/// keccak256(0x02 ‖ group ‖ groupRoot).
#[must_use]
pub fn group_leaf(group: u32, group_root: &Hash) -> Hash {
    keccak256(&[&[0x02], &group.to_be_bytes(), group_root])
}

/// Where a leaf's path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roots {
    /// Root of the group's 256 places.
    pub group_root: Hash,
    /// Root of the whole tree.
    pub root: Hash,
}

/// Follows `path`, the siblings from the leaf up: 8 in the group, then those among groups.
///
/// `place` is `(the group's place) << 8 | index`, as `leaf` of BATCH_ROOT. `None` if the path has another length than 8..=12 whole
/// nodes, or if the group's place is beyond what that many nodes can hold.
#[must_use]
pub fn follow(group: u32, place: u16, n: u8, head: &Hash, path: &[u8]) -> Option<Roots> {
    if path.len() > PATH_BYTES_MAX {
        return None;
    }
    let (siblings, rest) = path.as_chunks::<PATH_NODE_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    let (in_group, above) = siblings.split_at_checked(GROUP_LEVELS)?;
    let [group_place, index] = place.to_be_bytes();
    let group_root = climb(leaf(group, index, n, head), index, in_group)?;
    let root = climb(group_leaf(group, &group_root), group_place, above)?;
    Some(Roots { group_root, root })
}

/// The node above `from`, whose place at the lowest level is `place`; `None` if the place does not exist.
fn climb(from: Hash, place: u8, siblings: &[Hash]) -> Option<Hash> {
    let mut at = from;
    let mut place = place;
    for sibling in siblings {
        at = if place & 1 == 0 { node(&at, sibling) } else { node(sibling, &at) };
        place >>= 1;
    }
    (place == 0).then_some(at)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_root_from_its_own_place_only() {
        let head = [7; 32];
        let mut siblings = [[0u8; 32]; 9];
        for (byte, sibling) in (1u8..).zip(&mut siblings) {
            *sibling = [byte; 32];
        }
        // Index 5 = 0b101 and group place 1, by hand.
        let mut at = node(&siblings[0], &leaf(9, 5, 3, &head));
        at = node(&at, &siblings[1]);
        at = node(&siblings[2], &at);
        for sibling in &siblings[3..8] {
            at = node(&at, sibling);
        }
        let root = node(&siblings[8], &group_leaf(9, &at));
        let path = siblings.as_flattened();
        assert_eq!(follow(9, 0x0105, 3, &head, path), Some(Roots { group_root: at, root }));
        assert_ne!(follow(9, 0x0005, 3, &head, path).unwrap().root, root, "the other place of the group");
        assert_ne!(follow(9, 0x0104, 3, &head, path).unwrap().root, root, "another index");
        assert_ne!(follow(8, 0x0105, 3, &head, path).unwrap().root, root, "another group");
        assert_ne!(follow(9, 0x0105, 4, &head, path).unwrap().root, root, "another n");
        assert_eq!(follow(9, 0x0205, 3, &head, path), None, "a place that two groups do not have");
    }

    #[test]
    fn a_path_of_another_length_leads_nowhere() {
        let path = [0u8; 416];
        for length in [0, 31, 224, 255, 257, 385, 416] {
            assert_eq!(follow(1, 0, 1, &EMPTY, &path[..length]), None, "{length} bytes");
        }
        assert!(follow(1, 0, 1, &EMPTY, &path[..256]).is_some());
        assert!(follow(1, 0x0f00, 1, &EMPTY, &path[..384]).is_some());
        assert_eq!(follow(1, 0x0100, 1, &EMPTY, &path[..256]), None, "one group has one place");
    }
}
