//! What the chain shows under `safe`, taken in and told to the piles: AUTH_FINAL, TELEM_ACK with level SAFE.
//!
//! Events decide, whoever sent the transaction: a statement is on chain when a recorded head covers it.

use std::collections::VecDeque;
use std::sync::Arc;

use cip22_wire::message::{AuthFinal, TelemAck};
use cip22_wire::{DeviceId, Hash, Level, Sid};
use metrics::counter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::frame_bytes;
use crate::chain::{HeadEvent, LedgerEvent};
use crate::failpoint::failpoint;
use crate::gateway::Gateway;
use crate::journal::Record;
use crate::limits::RETRY_AFTER_BLOCKS;
use crate::pipeline::submit::BatchOutcome;
use crate::policy::watch::ChainFact;
use crate::state::MessageState;

/// Journal cursor: blocks whose events have been taken in.
pub const SCANNED_CURSOR: &str = "scanned_to";

/// The cursor is written after this many blocks at the latest; events read twice change nothing.
const CURSOR_INTERVAL_BLOCKS: u64 = 20;

/// Takes in facts and outcomes until told to stop.
pub async fn run(
    gateway: Arc<Gateway>,
    mut facts: mpsc::Receiver<ChainFact>,
    mut outcomes: mpsc::Receiver<BatchOutcome>,
    stop: CancellationToken,
) {
    let mut stage = Stage { gateway, cursor: 0, awaiting_final: VecDeque::new() };
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

struct Stage {
    gateway: Arc<Gateway>,
    cursor: u64,
    /// Safe and not yet final, oldest first.
    awaiting_final: VecDeque<Notice>,
}

struct Notice {
    device_id: DeviceId,
    sid: Sid,
    transaction: Hash,
    block: u64,
}

impl Stage {
    async fn fact(&mut self, fact: ChainFact) {
        match fact {
            ChainFact::Head(event) => self.head(&event).await,
            ChainFact::Ledger(event) => self.ledger(&event).await,
            ChainFact::ScannedTo(block) => self.scanned(block).await,
        }
    }

    #[tracing::instrument(name = "acknowledge", skip_all, fields(group = event.group, index = event.index, epoch = event.epoch, n = event.n))]
    async fn head(&mut self, event: &HeadEvent) {
        let (notices, durable) = {
            let mut state = self.gateway.state();
            let place = (event.group, event.index, event.epoch);
            let Some(chain) = state.chains.get(&place) else { return };
            let device_id = chain.device_id;
            let before: Vec<Sid> = chain
                .statements
                .range(..=event.n)
                .filter(|(_, entry)| entry.state != MessageState::Safe && entry.state != MessageState::Final)
                .filter_map(|(_, entry)| entry.sid)
                .collect();
            failpoint("acknowledge::before_head");
            let durable = self.gateway.commit(
                &mut state,
                vec![Record::HeadSafe {
                    group: event.group,
                    index: event.index,
                    epoch: event.epoch,
                    n: event.n,
                    head: event.head,
                    transaction: event.transaction,
                    block: event.block,
                }],
            );
            let covered = state.chains.get(&place).map_or(0, |chain| chain.covered_n);
            let notices: Vec<Notice> = if covered >= event.n {
                let notice =
                    |sid| Notice { device_id, sid, transaction: event.transaction, block: event.block };
                before.into_iter().map(notice).collect()
            } else {
                Vec::new()
            };
            (notices, durable)
        };
        if durable.await.is_err() {
            return;
        }
        failpoint("acknowledge::after_head");
        counter!("auth_safe_total").increment(notices.len() as u64);
        for notice in notices {
            self.gateway.push(&notice.device_id, final_frame(&notice, Level::Safe));
            self.awaiting_final.push_back(notice);
        }
    }

    async fn ledger(&mut self, event: &LedgerEvent) {
        let durable = {
            let mut state = self.gateway.state();
            failpoint("acknowledge::before_ledger");
            let record = Record::LedgerSafe {
                battery: event.battery,
                seq: event.seq,
                fp: event.fp,
                block: event.block,
            };
            self.gateway.commit(&mut state, vec![record])
        };
        if durable.await.is_err() {
            return;
        }
        counter!("checkpoints_safe_total").increment(1);
        let ack =
            TelemAck { battery: event.battery, seq: event.seq, level: Level::Safe.code(), checkpoint: 1 };
        self.gateway.push(&event.device_id, frame_bytes(&ack));
    }

    async fn scanned(&mut self, block: u64) {
        self.settle(block);
        self.tell_final();
        if block >= self.cursor.saturating_add(CURSOR_INTERVAL_BLOCKS) {
            self.cursor = block;
            if self.gateway.appender().set_cursor(SCANNED_CURSOR, block).await.is_err() {
                self.gateway.failed.cancel();
            }
        }
    }

    fn settle(&self, block: u64) {
        let mut state = self.gateway.state();
        let scanned_to = state.scanned_to.max(block);
        if state.settles(scanned_to) {
            let before = state.counts.rejected_by_contract;
            // The cursor is written behind it; whoever waits for an answer notices a failed disk.
            drop(self.gateway.commit(&mut state, vec![Record::Settled { scanned_to }]));
            let given_up = state.counts.rejected_by_contract.saturating_sub(before);
            if given_up > 0 {
                counter!("statements_rejected_total").increment(given_up);
                tracing::error!(given_up, "the contract would not take these statements");
            }
        }
        state.scanned_to = scanned_to;
    }

    fn tell_final(&mut self) {
        let finalized = self.gateway.view.borrow().finalized_block;
        while self.awaiting_final.front().is_some_and(|notice| notice.block <= finalized) {
            if let Some(notice) = self.awaiting_final.pop_front() {
                self.gateway.push(&notice.device_id, final_frame(&notice, Level::Final));
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
        let record = Record::BatchDropped { batch: outcome.batch, retry_block };
        let durable = {
            let mut state = self.gateway.state();
            self.gateway.commit(&mut state, vec![record])
        };
        // A failed disk is noticed by whoever waits for an answer.
        let _ = durable.await;
    }
}

fn final_frame(notice: &Notice, level: Level) -> Vec<u8> {
    frame_bytes(&AuthFinal {
        sid: notice.sid,
        level: level.code(),
        transaction: notice.transaction,
        block: notice.block,
    })
}
