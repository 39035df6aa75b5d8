//! What the chain watchers publish to the rest: heads, the epoch in force, the policies. Read through a `tokio::sync::watch` channel.

use std::sync::Arc;

use cip22_wire::{Hash, Signature};

/// One scheduled policy, as `PolicyScheduled` announced it in a block that `safe` covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Version, 1 for the first; strictly increasing.
    pub version: u32,
    /// First epoch in which it is in force.
    pub first_epoch: u32,
    /// `hashStruct(Policy)`.
    pub policy_hash: Hash,
    /// Canonical tariff bytes (protocol §10).
    pub tariff: Vec<u8>,
    /// Governance signature over it.
    pub signature: Signature,
}

/// An epoch whose challenge block is `safe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Number.
    pub epoch: u32,
    /// Hash of block `epoch × EPOCH_LEN`.
    pub challenge: Hash,
    /// Hash of the policy in force in it.
    pub policy_hash: Hash,
}

/// A failed look at the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainTrouble {
    /// The error with its causes, for people only.
    pub error: String,
    /// Monotonic milliseconds of the first failure in a row.
    pub since_ms: u64,
    /// Monotonic milliseconds of the next look.
    pub next_look_at_ms: u64,
}

/// A snapshot of the chain as this relayer believes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainView {
    /// Newest executed block.
    pub latest_block: u64,
    /// Newest block under the `safe` tag.
    pub safe_block: u64,
    /// Newest block that the `finalized` tag was seen to cover.
    pub finalized_block: u64,
    /// How often a reorganisation took a policy back that piles may hold.
    pub policy_rollbacks: u64,
    /// Monotonic milliseconds at which `latest_block` last moved.
    pub advanced_at_ms: u64,
    /// Why the newest look at the chain failed; `None` once one succeeds.
    pub trouble: Option<ChainTrouble>,
    /// The newest epoch that may be announced; `None` until one is safe.
    pub epoch: Option<Epoch>,
    /// Every epoch still inside the ring window that was announced in this run or restored, oldest first, `epoch` included.
    pub recent_epochs: Vec<Epoch>,
    /// All policies under `safe`, by version.
    pub policies: Vec<Arc<Policy>>,
}

impl ChainView {
    /// The policy in force in `epoch`: the one with the highest `first_epoch` that is not above it.
    pub fn policy_at(&self, epoch: u32) -> Option<&Arc<Policy>> {
        self.policies.iter().rev().find(|policy| policy.first_epoch <= epoch)
    }

    /// Challenge and policy of an epoch inside the window.
    pub fn epoch(&self, epoch: u32) -> Option<&Epoch> {
        self.recent_epochs.iter().rev().find(|known| known.epoch == epoch)
    }
}
