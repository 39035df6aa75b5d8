//! Whose key signed a head, under which policy, and whether it fits the chain held so far.

use cip22_wire::digest::{self, Head};
use cip22_wire::{DeviceId, Hash, NackCode, Signature};
use metrics::counter;

use crate::directory::Place;
use crate::gateway::Gateway;
use crate::gateway_key;
use crate::state::ChainConflict;
use crate::view::Epoch;

/// A statement's position and signature, as a message carries them.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// Epoch.
    pub epoch: u32,
    /// Number.
    pub n: u8,
    /// head_{n-1}.
    pub prev_head: Hash,
    /// head_n, computed here.
    pub head: Hash,
    /// The pile's signature over Head.
    pub signature: Signature,
}

/// Where the key stands and what the epoch was, of a statement that verified.
#[derive(Debug, Clone, Copy)]
pub struct Authenticated {
    /// The pile's place.
    pub place: Place,
    /// The epoch.
    pub epoch: Epoch,
}

/// Verifies the signature of a statement: the key is the device's in that epoch, the policy the epoch's.
pub fn statement(
    gateway: &Gateway,
    device_id: &DeviceId,
    position: &Position,
) -> Result<Authenticated, NackCode> {
    let place = gateway.place_at(device_id, position.epoch)?;
    let epoch = gateway.state().epochs.get(&position.epoch).copied().ok_or(NackCode::StaleEpoch)?;
    if position.epoch < gateway.oldest_epoch() {
        return Err(NackCode::StaleEpoch);
    }
    if gateway.is_withdrawn(position.epoch) {
        return Err(NackCode::NotReady);
    }
    if signed_by(gateway, &place, position, &epoch, &epoch.policy_hash) {
        return Ok(Authenticated { place, epoch });
    }
    let replaced = gateway.state().replaced_epochs.get(&position.epoch).cloned().unwrap_or_default();
    if replaced.iter().any(|before| signed_by(gateway, &place, position, before, &before.policy_hash)) {
        return Err(NackCode::StaleEpoch);
    }
    // Diagnosis only: the same head under another policy of ours tells the pile what is wrong.
    let policies = gateway.view.borrow().policies.clone();
    let stale = policies
        .iter()
        .filter(|policy| policy.policy_hash != epoch.policy_hash)
        .any(|policy| signed_by(gateway, &place, position, &epoch, &policy.policy_hash));
    counter!("authenticate_failures_total").increment(1);
    Err(if stale { NackCode::StalePolicy } else { NackCode::BadSignature })
}

/// The NACK code of a conflict.
pub fn conflict_code(_conflict: ChainConflict) -> NackCode {
    NackCode::ChainConflict
}

fn signed_by(
    gateway: &Gateway,
    place: &Place,
    position: &Position,
    epoch: &Epoch,
    policy_hash: &Hash,
) -> bool {
    let head = Head {
        group: place.group,
        index: place.index,
        epoch: position.epoch,
        challenge: epoch.challenge,
        policy_hash: *policy_hash,
        n: position.n,
        head: position.head,
    };
    let digest = gateway.digest(&digest::head_hash(&head));
    gateway_key::recover(&digest, &position.signature).is_ok_and(|(_, address)| address == place.key)
}
