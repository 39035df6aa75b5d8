//! What scenarios of co-signed roots share: a relayer that takes lane 2 for the smallest fleet, and what carried a statement.

use alloy::primitives::U256;

use crate::chain::{Chain, POLLS_MAX, Recorded, pause};
use crate::pile::Pile;
use crate::relayer::Launch;
use crate::roots::RootRecorded;
use crate::world::World;

/// What first authorized (group, index, epoch) on chain.
#[derive(Debug)]
pub enum Carried {
    /// A root.
    Root(RootRecorded),
    /// The pile's record.
    Record(Recorded),
}

impl World {
    /// How to start a relayer that takes a root whenever a pile signed it.
    pub fn lane2(&self) -> Launch {
        self.launch().patient().with("RELAYER__BATCH__LANE", "bls")
    }

    /// Waits for a new epoch and lets all piles answer a ticket in it; they are in a later one only if that took longer than an epoch.
    pub async fn authorize_all(&self, piles: &mut [Pile]) {
        for pile in &mut *piles {
            pile.next_epoch().await;
        }
        for pile in piles {
            pile.authorize().await;
        }
    }
}

impl Pile {
    /// Place and head of its last AUTH_RESP.
    pub fn last_answer(&self) -> Recorded {
        let place = self.place.expect("greeted");
        let (epoch, n, head) = self.answered;
        Recorded { group: place.group, index: place.index, epoch, n, head, extended: false }
    }
}

impl Chain {
    /// Waits until the verifier shows what carried an AUTH_RESP.
    pub async fn wait_for_carried(&self, answer: Recorded) -> Carried {
        let Recorded { group, index, epoch, n, head, .. } = answer;
        for _ in 0..POLLS_MAX {
            if let Some(root) = self.root_with(group, epoch, index).await {
                return Carried::Root(root);
            }
            let heads = self.heads_of(group, index, epoch).await;
            if let Some(found) = heads.into_iter().find(|found| found.n >= n) {
                assert!(found.n > n || found.head == head, "the chain shows the head that the pile signed");
                return Carried::Record(found);
            }
            pause().await;
        }
        panic!("nothing carried {answer:?}");
    }

    /// The first root of `epoch` that gave an index its bit.
    pub async fn root_with(&self, group: u32, epoch: u32, index: u8) -> Option<RootRecorded> {
        let roots = self.roots(group, epoch).await;
        roots.into_iter().find(|root| U256::from(root.signers).bit(usize::from(index)))
    }

    /// The roots of a group and an epoch, in order.
    pub async fn roots(&self, group: u32, epoch: u32) -> Vec<RootRecorded> {
        let mut roots: Vec<RootRecorded> = self.events().await;
        roots.retain(|root| root.group == group && root.epoch == epoch);
        roots
    }
}
