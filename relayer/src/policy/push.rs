//! Policies to piles: SET_POLICY in chunks that fit, the one in force and every scheduled one.

use std::sync::Arc;

use cip22_wire::limits;
use cip22_wire::message::SetPolicy;
use metrics::counter;

use crate::gateway::Gateway;
use crate::pipeline::frame_bytes;
use crate::view::Policy;

/// Frames for every policy above `version` that is in force or scheduled, and the newest version among them (or `version`).
pub fn frames_above(gateway: &Gateway, version: u32, max_payload: u16) -> (Vec<Vec<u8>>, u32) {
    let epoch = gateway.announced().borrow().map(|announced| announced.epoch.epoch);
    let view = gateway.view.borrow();
    let in_force = epoch.and_then(|epoch| view.policy_at(epoch)).map_or(0, |policy| policy.version);
    let missing: Vec<Arc<Policy>> = view
        .policies
        .iter()
        .filter(|policy| policy.version > version && policy.version >= in_force)
        .cloned()
        .collect();
    drop(view);
    let newest = missing.last().map_or(version, |policy| policy.version);
    counter!("policies_pushed_total").increment(missing.len() as u64);
    (missing.iter().flat_map(|policy| chunks(policy, max_payload)).collect(), newest)
}

/// The SET_POLICY frames of one policy.
fn chunks(policy: &Policy, max_payload: u16) -> Vec<Vec<u8>> {
    let room = usize::from(max_payload).saturating_sub(limits::SET_POLICY_OVERHEAD_BYTES);
    let size = room.clamp(1, limits::POLICY_CHUNK_BYTES_MAX);
    let total_len = u16::try_from(policy.tariff.len()).unwrap_or(u16::MAX);
    let mut offset = 0_u16;
    let mut frames = Vec::new();
    for chunk in policy.tariff.chunks(size) {
        frames.push(frame_bytes(&SetPolicy {
            version: policy.version,
            first_epoch: policy.first_epoch,
            total_len,
            offset,
            chunk,
            signature: policy.signature,
        }));
        offset = offset.saturating_add(u16::try_from(chunk.len()).unwrap_or(u16::MAX));
    }
    frames
}

#[cfg(test)]
mod tests {
    use cip22_wire::message::Body;
    use cip22_wire::{Message, frame};

    use super::*;

    #[test]
    fn the_largest_policy_reaches_the_smallest_pile_whole() {
        let tariff: Vec<u8> = (0..limits::TARIFF_BYTES_MAX).map(|i| i as u8).collect();
        let policy = Policy {
            version: 2,
            first_epoch: 9,
            policy_hash: [0; 32],
            tariff: tariff.clone(),
            signature: [7; 64],
        };
        let mut assembled = Vec::new();
        for bytes in chunks(&policy, limits::PILE_PAYLOAD_BYTES_MIN) {
            let parsed = frame::parse(&bytes, limits::PILE_PAYLOAD_BYTES_MIN).unwrap().unwrap();
            let Message::SetPolicy(set) = Message::decode(parsed.frame_type, parsed.payload).unwrap() else {
                panic!("another frame");
            };
            assert_eq!(usize::from(set.offset), assembled.len());
            assert_eq!(usize::from(set.total_len), tariff.len());
            assembled.extend_from_slice(set.chunk);
            assert_eq!(SetPolicy::decode(parsed.payload).unwrap().version, 2);
        }
        assert_eq!(assembled, tariff);
    }
}
