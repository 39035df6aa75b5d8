//! Whether the blocks whose events were read are still those of the chain, and where it forked if they are not.
//!
//! Judged by hash, never by depth: a head that goes back, an endpoint that trails, a missing block say nothing.

use std::collections::{BTreeMap, VecDeque};

use cip22_wire::Hash;

use crate::chain::{Chain, ChainError};
use crate::limits::ANCHORS_MAX;

/// Hashes that blocks had when their events were read, oldest first.
#[derive(Debug, Default)]
pub struct Anchors {
    blocks: VecDeque<(u64, Hash)>,
    /// Another hash that the newest anchor's block was seen to have, once.
    suspected: Option<Option<Hash>>,
}

/// What a look at the anchors tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The newest anchor is a block of the chain, so all of them are.
    Canonical,
    /// The endpoint lacks blocks that were read, and contradicts none: it trails behind.
    Behind,
    /// The endpoint has another block in place of one that was read; the next look decides.
    Suspected,
    /// The chain has other blocks after this anchor; `None`: after none of them.
    ForkedAfter(Option<u64>),
}

/// Anchors this close to the newest are all kept; older ones only at a distance.
const DENSE_ANCHORS: usize = 64;
/// That distance, blocks. A fork between two anchors makes the blocks after the first be read again.
pub const ANCHOR_DISTANCE_BLOCKS: u64 = 20;

impl Anchors {
    /// Anchors from the journal.
    pub fn new(known: BTreeMap<u64, Hash>) -> Self {
        Self { blocks: known.into_iter().collect(), suspected: None }
    }

    /// The newest.
    pub fn newest(&self) -> Option<(u64, Hash)> {
        self.blocks.back().copied()
    }

    /// Adds the block up to which events were read; it is above all others.
    pub fn push(&mut self, block: u64, hash: Hash) {
        self.blocks.push_back((block, hash));
        if let Some(at) = self.blocks.len().checked_sub(DENSE_ANCHORS + 2)
            && let (Some((before, _)), Some((leaving, _))) = (self.blocks.get(at), self.blocks.get(at + 1))
            && *leaving < before.saturating_add(ANCHOR_DISTANCE_BLOCKS)
        {
            self.blocks.remove(at + 1);
        }
        if self.blocks.len() > ANCHORS_MAX {
            self.blocks.pop_front();
        }
    }

    /// Forgets the anchors from a block on.
    pub fn cut(&mut self, from_block: u64) {
        self.blocks.retain(|(block, _)| *block < from_block);
        self.suspected = None;
    }

    /// Compares with the chain: one call as long as nothing changed. A fork is believed when two looks in a row agree on it.
    pub async fn look(&mut self, chain: &dyn Chain) -> Result<Standing, ChainError> {
        let Some((block, hash)) = self.newest() else { return Ok(Standing::Canonical) };
        let found = chain.block_hash(block).await?;
        if found == Some(hash) {
            self.suspected = None;
            return Ok(Standing::Canonical);
        }
        let (mut contradicted, mut below, mut above) = (found.is_some(), 0, self.blocks.len() - 1);
        while below < above {
            let middle = below + (above - below) / 2;
            let Some((block, hash)) = self.blocks.get(middle).copied() else { break };
            match chain.block_hash(block).await? {
                Some(found) if found == hash => below = middle + 1,
                found => {
                    contradicted |= found.is_some();
                    above = middle;
                }
            }
        }
        if !contradicted {
            self.suspected = None;
            return Ok(Standing::Behind);
        }
        if self.suspected.replace(found) != Some(found) {
            return Ok(Standing::Suspected);
        }
        let ancestor = below.checked_sub(1).and_then(|at| self.blocks.get(at));
        Ok(Standing::ForkedAfter(ancestor.map(|(block, _)| *block)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchors(blocks: impl IntoIterator<Item = u64>) -> Anchors {
        let mut anchors = Anchors::default();
        blocks.into_iter().for_each(|block| anchors.push(block, [block as u8; 32]));
        anchors
    }

    #[test]
    fn recent_blocks_are_all_anchors_and_older_ones_at_a_distance() {
        let anchors = anchors(1..=300);
        let numbers: Vec<u64> = anchors.blocks.iter().map(|(block, _)| *block).collect();
        let dense = numbers.len() - DENSE_ANCHORS;
        assert_eq!(numbers[dense..], (237..=300).collect::<Vec<u64>>());
        let sparse = &numbers[..dense];
        assert_eq!(sparse[0], 1);
        assert!(sparse.len() >= 10);
        assert!(sparse.windows(2).all(|pair| pair[1] - pair[0] == ANCHOR_DISTANCE_BLOCKS));
    }

    #[test]
    fn anchors_are_bounded_and_the_oldest_go_first() {
        let anchors = anchors((0..5_000).map(|number| number * ANCHOR_DISTANCE_BLOCKS));
        assert_eq!(anchors.blocks.len(), ANCHORS_MAX);
        assert_eq!(anchors.newest().unwrap().0, 4_999 * ANCHOR_DISTANCE_BLOCKS);
    }
}
