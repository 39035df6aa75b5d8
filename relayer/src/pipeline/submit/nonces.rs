//! Which nonce comes next.

use std::collections::BTreeSet;

use super::{Observation, Submissions};

impl Submissions {
    /// The nonce of the next first attempt: above all that durable bytes hold, so that none is given out twice, and without a gap.
    ///
    /// A reorganisation below `safe` can free a nonce whose batch was done and forgotten. While it stays free, everything above it waits; once
    /// it has for `replace_blocks`, the next batch takes it. A stranger's, or our own old, transaction that takes it first costs that
    /// batch its nonce, as ever.
    pub(super) fn next_nonce(&self, now: &Observation) -> u64 {
        let after = self.after_stored(now);
        match self.gap_since {
            Some(since) if now.latest >= since.saturating_add(self.settings.replace_blocks) => {
                self.lowest_gap(now).unwrap_or(after)
            }
            _ => after,
        }
    }

    /// Notes since when a nonce below ours has been free.
    pub(super) fn note_gap(&mut self, now: &Observation) {
        self.gap_since = self.lowest_gap(now).map(|_| self.gap_since.unwrap_or(now.latest));
    }

    fn after_stored(&self, now: &Observation) -> u64 {
        self.stored_nonce.map_or(now.nonce, |stored| now.nonce.max(stored.saturating_add(1)))
    }

    /// The lowest free nonce that no bytes of ours hold, although they hold a higher one.
    fn lowest_gap(&self, now: &Observation) -> Option<u64> {
        let attempts = self.batches.values().flat_map(|tracked| &tracked.attempts);
        let held: BTreeSet<u64> =
            attempts.filter(|attempt| attempt.signer == self.signer).map(|attempt| attempt.nonce).collect();
        (now.nonce..self.after_stored(now)).find(|nonce| !held.contains(nonce))
    }
}
