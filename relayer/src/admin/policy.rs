//! `relayer policy`: every version, from when it is in force, and which devices acknowledged it.

use serde::Serialize;
use serde_json::{Value, json};

use super::why::hex0x;
use crate::gateway::Gateway;

/// Most devices named as lagging; their number is always told.
const LAGGING_NAMED_MAX: usize = 20;

/// Where a policy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Its first epoch is still to come.
    Scheduled,
    /// The announced epoch is under it.
    InForce,
    /// A later one took its place.
    Superseded,
}

/// Where each of `policies`, (version, first epoch) in the order of versions, stands in `epoch`.
pub fn standings(policies: &[(u32, u32)], epoch: Option<u32>) -> Vec<Standing> {
    let in_force = epoch.and_then(|epoch| policies.iter().rposition(|(_, first)| *first <= epoch));
    (0..policies.len())
        .map(|at| match in_force {
            Some(in_force) if at == in_force => Standing::InForce,
            Some(in_force) if at < in_force => Standing::Superseded,
            _ => Standing::Scheduled,
        })
        .collect()
}

/// Every version.
pub fn all(gateway: &Gateway) -> Value {
    let epoch = gateway.announced().borrow().map(|announced| announced.epoch.epoch);
    let policies = gateway.view.borrow().policies.clone();
    let directory = gateway.directory.load();
    let devices: Vec<_> =
        directory.devices.iter().filter(|(_, device)| !device.revoked).map(|(id, _)| *id).collect();
    let acknowledged: Vec<(_, u32)> = {
        let state = gateway.state();
        devices.iter().map(|id| (*id, state.policy_acks.get(id).copied().unwrap_or(0))).collect()
    };
    let told = |id| gateway.sessions.activity(id).and_then(|activity| activity.policy_told).unwrap_or(0);
    let places: Vec<_> = policies.iter().map(|policy| (policy.version, policy.first_epoch)).collect();
    let versions: Vec<Value> = policies
        .iter()
        .zip(standings(&places, epoch))
        .map(|(policy, standing)| {
            let mut lagging: Vec<_> = acknowledged
                .iter()
                .filter(|(_, version)| *version < policy.version)
                .map(|(id, _)| *id)
                .collect();
            lagging.sort_unstable();
            json!({
                "version": policy.version,
                "first_epoch": policy.first_epoch,
                "policy_hash": hex0x(&policy.policy_hash),
                "tariff_bytes": policy.tariff.len(),
                "standing": standing,
                "told": devices.iter().filter(|id| told(id) >= policy.version).count(),
                "acknowledged": devices.len().saturating_sub(lagging.len()),
                "lagging": lagging.len(),
                // Of a superseded policy nobody is asked for an acknowledgement any more.
                "lagging_devices": if standing == Standing::Superseded { Vec::new() } else {
                    lagging.iter().take(LAGGING_NAMED_MAX).map(|id| hex0x(id)).collect()
                },
            })
        })
        .collect();
    json!({ "epoch": epoch, "devices": devices.len(), "versions": versions })
}

#[cfg(test)]
mod tests {
    use super::Standing::{InForce, Scheduled, Superseded};
    use super::*;

    #[test]
    fn the_policy_in_force_is_the_newest_that_began() {
        let policies = [(1, 0), (2, 10), (3, 20)];
        assert_eq!(standings(&policies, Some(9)), [InForce, Scheduled, Scheduled]);
        assert_eq!(standings(&policies, Some(10)), [Superseded, InForce, Scheduled]);
        assert_eq!(standings(&policies, Some(99)), [Superseded, Superseded, InForce]);
    }

    #[test]
    fn before_the_first_epoch_nothing_is_in_force() {
        assert_eq!(standings(&[(1, 0)], None), [Scheduled]);
        assert_eq!(standings(&[(1, 5)], Some(4)), [Scheduled]);
    }
}
