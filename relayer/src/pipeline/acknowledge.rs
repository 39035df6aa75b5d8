//! What the chain shows, taken in and told to the piles: AUTH_FINAL, TELEM_ACK with level SAFE. And what it takes back.
//!
//! Events decide, whoever sent the transaction: a statement is on chain when a recorded head covers it. Everything counts from `safe`;
//! what `finalized` covers is never taken back.

use std::sync::Arc;

use cip22_wire::message::{AuthFinal, TelemAck};
use cip22_wire::{DeviceId, Hash, Level, Sid};
use metrics::counter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::frame_bytes;
use crate::chain::{HeadEvent, LedgerEvent, RootEvent};
use crate::failpoint::failpoint;
use crate::gateway::Gateway;
use crate::journal::Record;
use crate::limits::RETRY_AFTER_BLOCKS;
use crate::pipeline::confirm::Inclusion;
use crate::pipeline::submit::{BatchOutcome, PendingBatch};
use crate::policy::anchors::ANCHOR_DISTANCE_BLOCKS;
use crate::policy::watch::ChainFact;
use crate::state::{Batch, MessageState, Place, State};

/// Takes in facts and outcomes until told to stop. Batches that a reorganisation undid go to `undone`, once that is durable.
pub async fn run(
    gateway: Arc<Gateway>,
    mut facts: mpsc::Receiver<ChainFact>,
    mut outcomes: mpsc::Receiver<BatchOutcome>,
    undone: mpsc::Sender<PendingBatch>,
    stop: CancellationToken,
) {
    let stage = Stage { gateway, undone };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            fact = facts.recv() => match fact {
                Some(fact) => stage.fact(fact).await,
                None => return,
            },
            outcome = outcomes.recv() => match outcome {
                Some(outcome) => stage.outcome(&outcome).await,
                None => return,
            },
        }
    }
}

/// AUTH_FINAL for a device that has just connected: for its open charges whose head is safe or final, and for grants that became
/// final while it was away; those are told once in a run.
pub fn finals_for(gateway: &Gateway, device_id: &DeviceId) -> Vec<Vec<u8>> {
    let mut state = gateway.state();
    let mut sids: Vec<Sid> = state.finals_due.remove(device_id).unwrap_or_default().into();
    if let Some(open) = state.open_charges.get(device_id) {
        let more: Vec<Sid> = open.iter().filter(|sid| !sids.contains(sid)).copied().collect();
        sids.extend(more);
    }
    sids.iter().filter_map(|sid| final_frame(&state, sid)).collect()
}

/// A batch as the submitter takes it up: with every attempt made.
pub fn pending(batch: &Batch) -> PendingBatch {
    PendingBatch {
        batch: batch.record.clone(),
        attempts: batch.attempts.clone(),
        cancels: batch.cancels.clone(),
        cancelled: batch.cancelled,
        mined: batch.mined.map(|(transaction, block, block_hash, succeeded)| Inclusion {
            transaction,
            block,
            block_hash,
            succeeded,
        }),
    }
}

struct Stage {
    gateway: Arc<Gateway>,
    undone: mpsc::Sender<PendingBatch>,
}

impl Stage {
    async fn fact(&self, fact: ChainFact) {
        match fact {
            ChainFact::Head(event) => self.head(&event).await,
            ChainFact::Root(event) => self.root(&event).await,
            ChainFact::Ledger(event) => self.ledger(&event).await,
            ChainFact::ScannedTo(block, hash) => {
                self.scanned(block, hash).await;
                self.finalized().await;
            }
            ChainFact::Reorganised(from_block) => self.reorganised(from_block).await,
        }
    }

    #[tracing::instrument(name = "acknowledge", skip_all, fields(group = event.group, index = event.index, epoch = event.epoch, n = event.n))]
    async fn head(&self, event: &HeadEvent) {
        let place = (event.group, event.index, event.epoch);
        if !self.gateway.state().chains.contains_key(&place) {
            return;
        }
        let record = Record::HeadSafe {
            group: event.group,
            index: event.index,
            epoch: event.epoch,
            n: event.n,
            head: event.head,
            transaction: event.transaction,
            block: event.block,
        };
        self.recorded(&[(place, event.n)], record).await;
    }

    #[tracing::instrument(name = "acknowledge", skip_all, fields(group = event.group, epoch = event.epoch))]
    async fn root(&self, event: &RootEvent) {
        let RootEvent { group, epoch, group_root, signers, transaction, block } = *event;
        let leaves = self.gateway.state().recorded_leaves(group, epoch, &group_root, &signers);
        if leaves.is_empty() {
            return;
        }
        let foreign = leaves.iter().filter(|(_, n, _)| *n == 0).count();
        if foreign > 0 {
            tracing::warn!(
                foreign,
                "a root that is not ours set these piles' bits: their heads go by extend"
            );
        }
        let covered: Vec<(Place, u8)> = leaves.into_iter().map(|(place, n, _)| (place, n)).collect();
        self.recorded(&covered, Record::RootSafe { group, epoch, group_root, signers, transaction, block })
            .await;
    }

    /// Takes in what the chain shows of these places, up to the n of each, and tells the piles.
    async fn recorded(&self, covered: &[(Place, u8)], record: Record) {
        let (told, durable) = {
            let mut state = self.gateway.state();
            let mut told: Vec<(DeviceId, Sid)> = Vec::new();
            for (place, n) in covered {
                let Some(chain) = state.chains.get(place) else { continue };
                let waiting = chain.statements.range(..=n).filter(|(_, entry)| {
                    entry.state != MessageState::Safe && entry.state != MessageState::Final
                });
                told.extend(waiting.filter_map(|(_, entry)| Some((chain.device_id, entry.sid?))));
            }
            failpoint("acknowledge::before_head");
            let durable = self.gateway.commit(&mut state, vec![record]);
            told.retain(|(_, sid)| matches!(state.standing(sid), Some((MessageState::Safe, _))));
            (told, durable)
        };
        if durable.await.is_err() {
            return;
        }
        failpoint("acknowledge::after_head");
        counter!("auth_safe_total").increment(told.len() as u64);
        for (device_id, sid) in told {
            let frame = final_frame(&self.gateway.state(), &sid);
            if let Some(frame) = frame {
                self.gateway.push(&device_id, frame);
            }
        }
    }

    async fn ledger(&self, event: &LedgerEvent) {
        failpoint("acknowledge::before_ledger");
        let record =
            Record::LedgerSafe { battery: event.battery, seq: event.seq, fp: event.fp, block: event.block };
        if !self.durable(record).await {
            return;
        }
        counter!("checkpoints_safe_total").increment(1);
        let ack =
            TelemAck { battery: event.battery, seq: event.seq, level: Level::Safe.code(), checkpoint: 1 };
        self.gateway.push(&event.device_id, frame_bytes(&ack));
    }

    /// Notes how far events were read, at a distance, and settles batches at once.
    async fn scanned(&self, block: u64, hash: Hash) {
        let (given_up, durable) = {
            let mut state = self.gateway.state();
            let noted = state.anchors.last_key_value().map_or(0, |(noted, _)| *noted);
            state.scanned_to = state.scanned_to.max(block);
            let mut records = Vec::new();
            if state.settles(block) {
                records.push(Record::Settled { scanned_to: state.scanned_to });
            }
            if block >= noted.saturating_add(ANCHOR_DISTANCE_BLOCKS) {
                records.push(Record::Scanned { block, hash });
            }
            if records.is_empty() {
                return;
            }
            let before = state.counts.rejected_by_contract;
            let durable = self.gateway.commit(&mut state, records);
            (state.counts.rejected_by_contract.saturating_sub(before), durable)
        };
        if given_up > 0 {
            counter!("statements_rejected_total").increment(given_up);
            tracing::error!(given_up, "the contract would not take these statements");
        }
        // A failed disk is noticed by whoever waits for an answer.
        let _ = durable.await;
    }

    /// Takes back what came from blocks that the chain has left; batches that were done are followed again.
    async fn reorganised(&self, from_block: u64) {
        let (undone, durable) = {
            let mut state = self.gateway.state();
            let numbers = state.batches_undone_by(from_block);
            let before = state.counts;
            let durable = self.gateway.commit(&mut state, vec![Record::Reorganised { from_block }]);
            let taken_back = before.statements_safe.saturating_sub(state.counts.statements_safe);
            counter!("statements_taken_back_total").increment(taken_back);
            tracing::warn!(from_block, taken_back, batches = numbers.len(), "what was safe is taken back");
            let undone: Vec<PendingBatch> =
                numbers.iter().filter_map(|number| state.batches.get(number)).map(pending).collect();
            (undone, durable)
        };
        if durable.await.is_err() {
            return;
        }
        for batch in undone {
            if self.undone.send(batch).await.is_err() {
                return;
            }
        }
    }

    /// What `finalized` covers now becomes final, durably, and is told.
    async fn finalized(&self) {
        let block = self.gateway.view.borrow().finalized_block;
        let covers =
            |state: &State| state.awaiting_final.first_key_value().is_some_and(|(first, _)| *first <= block);
        let (before, durable) = {
            let mut state = self.gateway.state();
            if !covers(&state) {
                return;
            }
            let before = state.counts.auth_final;
            (before, self.gateway.commit(&mut state, vec![Record::Finalized { block }]))
        };
        if durable.await.is_err() {
            return;
        }
        let due: Vec<(DeviceId, Sid, Vec<u8>)> = {
            let state = self.gateway.state();
            counter!("auth_final_total").increment(state.counts.auth_final.saturating_sub(before));
            let each =
                state.finals_due.iter().flat_map(|(device, sids)| sids.iter().map(move |sid| (device, sid)));
            each.filter_map(|(device, sid)| Some((*device, *sid, final_frame(&state, sid)?))).collect()
        };
        for (device_id, sid, frame) in due {
            if self.gateway.push(&device_id, frame) {
                let mut state = self.gateway.state();
                if let Some(sids) = state.finals_due.get_mut(&device_id) {
                    sids.retain(|due| *due != sid);
                }
                state.finals_due.retain(|_, sids| !sids.is_empty());
            }
        }
    }

    /// A batch that never got a transaction is free again after a while; the others wait until their block's events are in.
    async fn outcome(&self, outcome: &BatchOutcome) {
        if outcome.transaction.is_some() {
            return;
        }
        tracing::warn!(
            batch = outcome.batch,
            "batch ended without a transaction, its members are tried again"
        );
        let retry_block = self.gateway.view.borrow().latest_block.saturating_add(RETRY_AFTER_BLOCKS);
        // A failed disk is noticed by whoever waits for an answer.
        let _ = self.durable(Record::BatchDropped { batch: outcome.batch, retry_block }).await;
    }

    async fn durable(&self, record: Record) -> bool {
        let durable = {
            let mut state = self.gateway.state();
            self.gateway.commit(&mut state, vec![record])
        };
        durable.await.is_ok()
    }
}

/// AUTH_FINAL of a grant whose head is recorded; `None` if it is not.
fn final_frame(state: &State, sid: &Sid) -> Option<Vec<u8>> {
    let (standing, recorded) = state.standing(sid)?;
    let level = match standing {
        MessageState::Safe => Level::Safe,
        MessageState::Final => Level::Final,
        _ => return None,
    };
    let recorded = recorded?;
    Some(frame_bytes(&AuthFinal {
        sid: *sid,
        level: level.code(),
        transaction: recorded.transaction,
        block: recorded.block,
    }))
}
