//! Whose the epochs of a group are to cut: a lease in the journal, which ends by the chain's blocks.

use std::collections::{BTreeSet, HashMap};

use metrics::gauge;

use crate::gateway::Gateway;
use crate::journal::Lease;
use crate::limits::LEASE_BLOCKS;

/// The leases that this process holds, each up to a block.
#[derive(Debug, Default)]
pub struct Leases {
    until: HashMap<u32, u64>,
    /// Groups whose lease another owner was seen to have.
    elsewhere: BTreeSet<u32>,
}

impl Leases {
    /// Whether a group's epochs may be cut at `latest`.
    pub fn holds(&self, group: u32, latest: u64) -> bool {
        self.until.get(&group).is_some_and(|until| latest <= *until)
    }

    /// Takes the leases of these groups, and renews those that are half over. Another's lease is asked about again at the next look.
    pub async fn take(&mut self, gateway: &Gateway, groups: BTreeSet<u32>, latest: u64) {
        for group in groups {
            let until = self.until.get(&group).copied().unwrap_or(0);
            if until >= latest.saturating_add(LEASE_BLOCKS / 2) {
                continue;
            }
            match gateway.appender().lease(group, latest, latest.saturating_add(LEASE_BLOCKS)).await {
                Ok(Lease::Ours { until }) => {
                    self.until.insert(group, until);
                    self.elsewhere.remove(&group);
                }
                Ok(Lease::Theirs { owner, until }) => {
                    self.until.remove(&group);
                    if self.elsewhere.insert(group) {
                        tracing::warn!(
                            group,
                            owner,
                            until,
                            "another owner has this group's lease: its epochs wait"
                        );
                    }
                }
                // The journal has failed: whoever waits for an answer notices.
                Err(_) => return,
            }
        }
        gauge!("groups_leased_elsewhere").set(self.elsewhere.len() as f64);
    }
}
