//! What the chain shows, and what it takes back: recorded heads, their finality, reorganisations above and below a challenge.

use cip22_wire::Hash;

use super::{Entry, MessageState, Place, State};
use crate::journal::record::BatchKind;
use crate::limits::{ANCHORS_MAX, REORGANISATION_BLOCKS_MAX};
use crate::view::Epoch;

/// A head that the chain shows under `safe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedHead {
    /// Statements covered.
    pub n: u8,
    /// Transaction.
    pub transaction: Hash,
    /// Block number.
    pub block: u64,
}

impl State {
    /// An epoch's challenge and policy. Where they differ from what was known, the chain was reorganised below the challenge
    /// block: no statement of that epoch verifies any more, so all of them end, but for those that are final.
    pub(super) fn open_epoch(&mut self, opened: Epoch) {
        let Some(before) = self.epochs.insert(opened.epoch, opened).filter(|before| *before != opened) else {
            return;
        };
        self.replaced_epochs.entry(opened.epoch).or_default().push(before);
        self.roots.remove(&opened.epoch);
        let finalized = self.finalized;
        let mut lost = 0;
        for (place, chain) in self.chains.iter_mut().filter(|(place, _)| place.2 == opened.epoch) {
            chain.seen.retain(|seen| seen.block <= finalized);
            chain.covered_n = covered(&chain.seen);
            chain.given_up = true;
            for entry in chain.statements.values_mut() {
                let was_safe = entry.state == MessageState::Safe;
                if !entry.state.can_become(MessageState::ReorgedOut) {
                    continue;
                }
                entry.state = MessageState::ReorgedOut;
                lost += 1;
                if was_safe {
                    uncount_safe(&mut self.counts, entry);
                    let granted = entry
                        .sid
                        .filter(|sid| self.tickets.get(sid).is_some_and(|ticket| ticket.revoked.is_none()));
                    self.pending_grants.extend(granted);
                }
            }
            self.uncovered.remove(&(place.2, place.0, place.1));
        }
        self.counts.reorged_out += lost;
        self.batteries.epoch_replaced(opened.epoch);
    }

    /// Every event up to `block` is in.
    pub(super) fn scanned(&mut self, block: u64, hash: Hash) {
        self.anchors.insert(block, hash);
        while self.anchors.len() > ANCHORS_MAX {
            self.anchors.pop_first();
        }
        self.scanned_to = self.scanned_to.max(block);
        self.forget_settled();
    }

    /// Takes back everything that came from `from_block` on: heads that were safe are to be carried again, by the batch that
    /// carried them where there was one, and ledgers stand where they stood. What is final stays.
    pub(super) fn take_back(&mut self, from_block: u64) {
        self.counts.reorganisations += 1;
        self.anchors.split_off(&from_block);
        self.scanned_to = self.scanned_to.min(from_block.saturating_sub(1));
        self.awaiting_final.split_off(&from_block);
        let finalized = self.finalized;
        let stays = |seen: &RecordedHead| seen.block < from_block || seen.block <= finalized;
        for (place, chain) in &mut self.chains {
            if chain.seen.iter().all(stays) {
                continue;
            }
            chain.seen.retain(stays);
            chain.covered_n = covered(&chain.seen);
            chain.recorded = !chain.seen.is_empty();
            (chain.tries, chain.retry_block) = (0, 0);
            for (_, entry) in chain.statements.iter_mut().filter(|(n, _)| **n > chain.covered_n) {
                if entry.state != MessageState::Safe {
                    continue;
                }
                uncount_safe(&mut self.counts, entry);
                entry.state = MessageState::Verified;
                if let Some(sid) = entry.sid {
                    entry.state = MessageState::Granted;
                    let standing = self.tickets.get(&sid).is_some_and(|ticket| ticket.revoked.is_none());
                    self.pending_grants.extend(standing.then_some(sid));
                }
            }
            if chain.is_open() && !chain.given_up {
                self.uncovered.insert((place.2, place.0, place.1));
            }
        }
        self.batteries.take_back(from_block);
        for number in self.batches_undone_by(from_block) {
            self.take_up(number);
        }
        let numbers: Vec<u64> = self.batches.keys().copied().collect();
        for number in numbers {
            self.mark_members(number);
        }
    }

    /// Batches that were done and that a reorganisation from `from_block` on undoes, oldest first. A batch that is taken up again
    /// keeps its nonce, so that no later nonce of its signer waits for ever.
    pub fn batches_undone_by(&self, from_block: u64) -> Vec<u64> {
        let done = self.settled.iter().chain(&self.batches);
        let undone = done.filter(|(_, batch)| batch.safe.is_some_and(|(block, _)| block >= from_block));
        let mut numbers: Vec<u64> = undone.map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers
    }

    fn take_up(&mut self, number: u64) {
        let Some(mut batch) = self.settled.remove(&number).or_else(|| self.batches.remove(&number)) else {
            return;
        };
        (batch.mined, batch.safe) = (None, None);
        if batch.record.kind == BatchKind::Advance {
            self.batteries.batched(&batch.record);
        }
        for (place, _) in &batch.places {
            if let Some(chain) = self.chains.get_mut(place)
                && chain.in_batch.is_none()
                && chain.is_open()
            {
                chain.in_batch = Some(number);
            }
        }
        self.batches.insert(number, batch);
    }

    /// Brings the members of a batch to where the batch stands.
    fn mark_members(&mut self, number: u64) {
        let Some(batch) = self.batches.get(&number) else { return };
        let (attempted, mined) = (!batch.attempts.is_empty(), batch.mined.is_some());
        self.set_members(number, MessageState::Batched);
        if attempted {
            self.set_members(number, MessageState::Submitted);
        }
        if mined {
            self.set_members(number, MessageState::Mined);
        }
    }

    /// The chain shows a head under `safe`, whoever sent it.
    pub(super) fn head_recorded(&mut self, place: Place, head: &Hash, seen: RecordedHead) {
        let Some(chain) = self.chains.get_mut(&place) else { return };
        let (group, index, epoch) = place;
        if chain.statements.get(&seen.n).is_some_and(|entry| entry.head != *head) {
            tracing::warn!(
                group,
                index,
                epoch,
                n = seen.n,
                "the chain shows another head than the pile gave us"
            );
            return;
        }
        chain.recorded = true;
        if !chain.seen.contains(&seen) {
            chain.seen.push(seen);
        }
        for (_, entry) in chain.statements.range_mut(..=seen.n) {
            if !entry.state.can_become(MessageState::Safe) {
                continue;
            }
            entry.state = MessageState::Safe;
            self.counts.statements_safe += 1;
            if let Some(sid) = entry.sid {
                self.counts.auth_safe += 1;
                self.pending_grants.remove(&sid);
                if let Some(strikes) = self.strikes.get_mut(&chain.device_id) {
                    *strikes = strikes.saturating_sub(1);
                }
            }
        }
        self.strikes.retain(|_, strikes| *strikes > 0);
        chain.covered_n = chain.covered_n.max(seen.n);
        self.awaiting_final.entry(seen.block).or_default().insert(place);
        if !chain.is_open() {
            self.uncovered.remove(&(epoch, group, index));
        }
    }

    /// `finalized` covers `block`: what was recorded up to it is final, and stays so whatever the chain does.
    pub(super) fn finalize(&mut self, block: u64) {
        self.finalized = self.finalized.max(block);
        let later = self.awaiting_final.split_off(&self.finalized.saturating_add(1));
        let places = std::mem::replace(&mut self.awaiting_final, later);
        for place in places.into_values().flatten() {
            let Some(chain) = self.chains.get_mut(&place) else { continue };
            let under = chain.seen.iter().filter(|seen| seen.block <= self.finalized);
            let n = under.map(|seen| seen.n).max().unwrap_or(0);
            let mut became = Vec::new();
            for (_, entry) in chain.statements.range_mut(..=n) {
                if entry.state.can_become(MessageState::Final) {
                    entry.state = MessageState::Final;
                    became.extend(entry.sid);
                }
            }
            let device_id = chain.device_id;
            for sid in became {
                self.counts.auth_final += 1;
                self.owe_final(device_id, sid);
            }
        }
        self.forget_settled();
    }

    fn forget_settled(&mut self) {
        let kept_from = self.scanned_to.saturating_sub(REORGANISATION_BLOCKS_MAX).max(self.finalized + 1);
        self.settled.retain(|_, batch| batch.safe.is_some_and(|(block, _)| block >= kept_from));
        self.batteries.forget_moves_before(kept_from);
    }
}

fn covered(seen: &[RecordedHead]) -> u8 {
    seen.iter().map(|seen| seen.n).max().unwrap_or(0)
}

fn uncount_safe(counts: &mut super::Counts, entry: &Entry) {
    counts.statements_safe = counts.statements_safe.saturating_sub(1);
    counts.auth_safe = counts.auth_safe.saturating_sub(u64::from(entry.sid.is_some()));
}

#[cfg(test)]
#[path = "reorganisation_tests.rs"]
mod tests;
