//! A tree over heads and what `recordRoot` takes of it, made apart from the relayer's (docs/distilled-batches.md).

use std::collections::BTreeMap;

use alloy::primitives::Bytes;
use alloy::sol;
use alloy::sol_types::SolCall;
use blst::min_sig::{AggregateSignature, Signature};
use cip22_wire::batch_tree::{self, EMPTY};
use cip22_wire::{BlsSignature, Hash};

sol! {
    #[derive(Debug)]
    event RootRecorded(uint32 indexed group, uint32 indexed epoch, bytes32 groupRoot, uint224 signers, bytes32 before);
    function recordRoot(uint32 epoch, bytes calldata signature, bytes calldata batches) external returns (uint256 recorded);
    function rootChain(uint32 group, uint32 epoch) external view returns (bytes32);
    function openHead(uint32 group, uint8 index, uint32 epoch, uint8 n, bytes32 head, bytes calldata opening) external view returns (bool);
}

const PLACES: usize = 256;

/// The newest head of a pile in the tree's epoch.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    /// Group.
    pub group: u32,
    /// Index.
    pub index: u8,
    /// Number of its last statement.
    pub n: u8,
    /// Its head.
    pub head: Hash,
}

/// One tree for the groups of its leaves.
#[derive(Debug)]
pub struct Tree {
    /// Rows of each group's subtree, leaves first.
    groups: BTreeMap<u32, Vec<Vec<Hash>>>,
    /// Rows above them.
    above: Vec<Vec<Hash>>,
}

impl Tree {
    /// The tree of these leaves.
    pub fn over(leaves: &[Leaf]) -> Self {
        let mut places: BTreeMap<u32, Vec<Hash>> = BTreeMap::new();
        for leaf in leaves {
            let row = places.entry(leaf.group).or_insert_with(|| vec![EMPTY; PLACES]);
            row[usize::from(leaf.index)] = batch_tree::leaf(leaf.group, leaf.index, leaf.n, &leaf.head);
        }
        let groups: BTreeMap<u32, Vec<Vec<Hash>>> =
            places.into_iter().map(|(group, row)| (group, rows(row))).collect();
        let mut top: Vec<Hash> =
            groups.iter().map(|(group, rows)| batch_tree::group_leaf(*group, &top_of(rows))).collect();
        top.resize(top.len().next_power_of_two(), EMPTY);
        Self { groups, above: rows(top) }
    }

    /// Root of the whole tree.
    pub fn root(&self) -> Hash {
        top_of(&self.above)
    }

    /// Root of a group's 256 places.
    pub fn group_root(&self, group: u32) -> Hash {
        top_of(&self.groups[&group])
    }

    /// A leaf's siblings, in its group and above.
    pub fn path(&self, group: u32, index: u8) -> Vec<u8> {
        let place = self.groups.keys().position(|known| *known == group).expect("a group of the tree");
        [siblings(&self.groups[&group], usize::from(index)), siblings(&self.above, place)].concat()
    }
}

/// One group of a `recordRoot` call.
#[derive(Clone, Debug, Default)]
pub struct RootGroup {
    /// Group.
    pub group: u32,
    /// Root of its places.
    pub group_root: Hash,
    /// Indices that signed.
    pub signers: Vec<u8>,
    /// The records of others, 98 bytes each.
    pub records: Vec<Vec<u8>>,
}

/// The sum of signatures, x ‖ y.
pub fn aggregate(signatures: &[BlsSignature]) -> [u8; 96] {
    let signatures: Vec<Signature> =
        signatures.iter().map(|bytes| Signature::from_bytes(bytes).expect("a signature")).collect();
    let sum = AggregateSignature::aggregate(&signatures.iter().collect::<Vec<_>>(), false);
    sum.expect("at least one signature").to_signature().serialize()
}

/// Calldata of `recordRoot`.
pub fn record_root_calldata(epoch: u32, signature: &[u8; 96], groups: &[RootGroup]) -> Vec<u8> {
    let mut batches = Vec::new();
    for group in groups {
        let mut bitmap = [0; 28];
        for index in &group.signers {
            bitmap[27 - usize::from(index / 8)] |= 1 << (index % 8);
        }
        batches.extend_from_slice(&group.group.to_be_bytes());
        batches.extend_from_slice(&group.group_root);
        batches.extend_from_slice(&bitmap);
        batches.push(u8::try_from(group.records.len()).expect("a count of one byte"));
        batches.extend(group.records.iter().flatten());
    }
    recordRootCall { epoch, signature: Bytes::from(signature.to_vec()), batches: batches.into() }.abi_encode()
}

fn rows(lowest: Vec<Hash>) -> Vec<Vec<Hash>> {
    let mut rows = vec![lowest];
    while rows[rows.len() - 1].len() > 1 {
        let below = &rows[rows.len() - 1];
        rows.push(below.chunks(2).map(|pair| batch_tree::node(&pair[0], &pair[1])).collect());
    }
    rows
}

fn top_of(rows: &[Vec<Hash>]) -> Hash {
    rows[rows.len() - 1][0]
}

fn siblings(rows: &[Vec<Hash>], place: usize) -> Vec<u8> {
    let below_the_top = rows[..rows.len() - 1].iter().enumerate();
    below_the_top.flat_map(|(level, row)| row[(place >> level) ^ 1]).collect()
}
