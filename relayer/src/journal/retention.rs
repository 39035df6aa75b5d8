//! Pruning, as it goes on beside everything else: the state forgets what nothing can depend on, and the journal's front goes after it.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use tokio_util::sync::CancellationToken;

use super::{Journal, Lsn, Record};
use crate::error::JournalError;
use crate::failpoint::failpoint;
use crate::gateway::Gateway;

/// What is kept for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionSettings {
    /// Blocks in which something may still depend on an epoch: the ring, or a ticket's life, whichever is longer.
    pub window_blocks: u64,
    /// Further blocks that an epoch is kept for.
    pub retention_blocks: u64,
    /// Blocks of an epoch.
    pub epoch_len_blocks: u64,
}

impl RetentionSettings {
    /// The first epoch that has to be kept when `safe_block` is the newest safe block.
    pub fn wanted_epoch(&self, safe_block: u64) -> u32 {
        let kept_from = safe_block.saturating_sub(self.window_blocks.saturating_add(self.retention_blocks));
        u32::try_from(kept_from / self.epoch_len_blocks.max(1)).unwrap_or(u32::MAX)
    }

    /// Epochs that are pruned at once: each time, every battery is written anew.
    pub fn step_epochs(&self) -> u32 {
        let kept = self.window_blocks.saturating_add(self.retention_blocks) / self.epoch_len_blocks.max(1);
        u32::try_from(kept / STEPS_KEPT).unwrap_or(u32::MAX).max(1)
    }
}

/// Prunes until told to stop. What a crash had left of the journal's front goes first.
pub async fn run(
    gateway: Arc<Gateway>,
    journal: Arc<dyn Journal>,
    settings: RetentionSettings,
    stop: CancellationToken,
) {
    let retention = Retention { gateway, journal, settings };
    let mut unfinished = retention.gateway.state().retained.horizon_epoch > 0;
    loop {
        let step = retention.step(std::mem::take(&mut unfinished));
        tokio::select! {
            () = stop.cancelled() => return,
            () = retention.gateway.failed.cancelled() => return,
            done = step => if let Err(error) = done {
                tracing::error!(error = &error as &dyn std::error::Error, "pruning fails, the journal grows");
            },
        }
        retention.measure();
        tokio::select! {
            () = stop.cancelled() => return,
            () = retention.gateway.clock.sleep(Duration::from_millis(LOOK_INTERVAL_MS)) => {}
        }
    }
}

struct Retention {
    gateway: Arc<Gateway>,
    journal: Arc<dyn Journal>,
    settings: RetentionSettings,
}

impl Retention {
    async fn step(&self, unfinished: bool) -> Result<(), JournalError> {
        let wanted = self.settings.wanted_epoch(self.gateway.view.borrow().safe_block);
        let (reached, horizon) = {
            let state = self.gateway.state();
            (state.retained.horizon_epoch, state.horizon(wanted))
        };
        if horizon < reached.saturating_add(self.settings.step_epochs()) {
            return if unfinished { self.cut_front(reached).await } else { Ok(()) };
        }
        self.carry_over().await?;
        failpoint("prune::before_pruned");
        let horizon = self.forget(wanted, horizon).await?;
        failpoint("prune::after_pruned");
        self.cut_front(horizon).await
    }

    /// Writes anew what has no epoch, in small groups between what sessions append.
    async fn carry_over(&self) -> Result<(), JournalError> {
        let batteries = self.gateway.state().battery_ids();
        for ids in batteries.chunks(BATTERIES_AT_ONCE) {
            let durable = {
                let mut state = self.gateway.state();
                let records = state.batteries_held(ids);
                self.gateway.commit(&mut state, records)
            };
            durable.await?;
        }
        let durable = {
            let mut state = self.gateway.state();
            let records = state.policy_acks_held(DEVICES_IN_A_RECORD);
            self.gateway.commit(&mut state, records)
        };
        durable.await.map(|_| ())
    }

    /// Moves the horizon, a few epochs under one lock. Something of an old epoch may have begun to wait since: then it stops there.
    async fn forget(&self, wanted: u32, horizon: u32) -> Result<u32, JournalError> {
        loop {
            let durable = {
                let mut state = self.gateway.state();
                let reached = state.retained.horizon_epoch;
                let next = reached.saturating_add(EPOCHS_AT_ONCE).min(horizon).min(state.horizon(wanted));
                if next <= reached {
                    return Ok(reached);
                }
                let records = state.pruned(next);
                self.gateway.commit(&mut state, records)
            };
            durable.await?;
        }
    }

    /// Removes the records before the first `EpochOpened` of an epoch from `horizon` on.
    async fn cut_front(&self, horizon: u32) -> Result<(), JournalError> {
        let mut removed = 0;
        loop {
            let journal = Arc::clone(&self.journal);
            let records = move || journal.read(journal.first()?, RECORDS_AT_ONCE);
            let front = tokio::task::spawn_blocking(records).await.map_err(|_| JournalError::Closed)??;
            let (before, last) = spent(&front, horizon);
            if before > 0 {
                removed += self.gateway.appender().truncate(before, RECORDS_AT_ONCE).await?;
                failpoint("prune::front_cut");
            }
            if last {
                break;
            }
            self.gateway.clock.sleep(Duration::from_millis(PAUSE_MS)).await;
        }
        counter!("journal_pruned_records_total").increment(removed);
        tracing::info!(horizon, removed, "journal pruned");
        Ok(())
    }

    fn measure(&self) {
        {
            let state = self.gateway.state();
            gauge!("tickets_held").set(state.tickets.len() as f64);
            gauge!("chains_held").set(state.chains.len() as f64);
            gauge!("epoch_horizon").set(f64::from(state.retained.horizon_epoch));
        }
        if let Ok(bytes) = self.journal.bytes() {
            gauge!("journal_bytes").set(bytes as f64);
        }
    }
}

/// Up to where, exclusively, the records read from the front may go, and whether that is all. 0: nothing.
fn spent(front: &[(Lsn, Record)], horizon: u32) -> (Lsn, bool) {
    let kept = front
        .iter()
        .find(|(_, record)| matches!(record, Record::EpochOpened { epoch, .. } if *epoch >= horizon));
    match (kept, front.last()) {
        (Some((lsn, _)), _) => {
            (if front.first().is_some_and(|(first, _)| first == lsn) { 0 } else { *lsn }, true)
        }
        (None, Some((lsn, _))) => (lsn.saturating_add(1), false),
        (None, None) => (0, true),
    }
}

/// What is kept is pruned in so many steps.
const STEPS_KEPT: u64 = 16;
const LOOK_INTERVAL_MS: u64 = 2_000;
const BATTERIES_AT_ONCE: usize = 32;
const DEVICES_IN_A_RECORD: usize = 1_024;
const EPOCHS_AT_ONCE: u32 = 8;
const RECORDS_AT_ONCE: usize = 512;
const PAUSE_MS: u64 = 10;

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
