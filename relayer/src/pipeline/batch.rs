//! What goes to the chain next. [`plan`] is a pure function of the state, so that a restart plans the same again.
//!
//! A chain is carried when its epoch is closed: a newer one was announced and the grace for frames on their way is over.
//! `record` sets a pile's bit once; what comes later, or what a stranger's early record left out, goes by `extend`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cip22_wire::{Address, DeviceId};
use metrics::{counter, gauge};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::chain::contracts::{self, Advance, RecordBytes};
use crate::config::LaneRule;
use crate::deployment::Deployment;
use crate::failpoint::failpoint;
use crate::gateway::{Announced, Gateway};
use crate::journal::Record;
use crate::journal::record::{BatchKind, BatchRecord, RootRecord, StatementKind, StatementRecord};
use crate::limits::RECORDS_PER_BATCH_MAX;
use crate::pipeline::cosign::Lane2;
use crate::pipeline::lease::Leases;
use crate::pipeline::round::plan::{Piles, plan_roots};
use crate::state::{PileChain, Root, State};

/// Bounds of a batch, and where it goes.
#[derive(Debug, Clone)]
pub struct BatchSettings {
    /// Time after a new epoch's announcement during which the old one's frames are still awaited, ms.
    pub close_grace_ms: u64,
    /// Records in a `recordMany` or `extend` call.
    pub records_max: usize,
    /// Items in an `advance` call.
    pub advance_max: usize,
    /// Which lane heads take.
    pub lane: LaneRule,
    /// Time in which piles co-sign a root, ms.
    pub root_deadline_ms: u64,
    /// Deployment.
    pub deployment: Deployment,
}

/// How often the planner looks, ms.
const PLAN_INTERVAL_MS: u64 = 200;

/// Cuts batches until told to stop, and hands each to the submitter once it is durable.
pub async fn run(
    gateway: Arc<Gateway>,
    settings: BatchSettings,
    submitter: mpsc::Sender<BatchRecord>,
    stop: CancellationToken,
) {
    let mut leases = Leases::default();
    let reconnected_ms = gateway.clock.monotonic_ms().saturating_add(settings.root_deadline_ms);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = gateway.failed.cancelled() => return,
            () = gateway.clock.sleep(Duration::from_millis(PLAN_INTERVAL_MS)) => {}
        }
        // After a start the piles that could co-sign come back first.
        let lane2 = settings.lane != LaneRule::Ecdsa && gateway.cosign.lane2() != Lane2::Missing;
        if lane2 && gateway.clock.monotonic_ms() < reconnected_ms {
            continue;
        }
        for batch in cut(&gateway, &settings, &mut leases).await {
            if submitter.send(batch).await.is_err() {
                return;
            }
        }
    }
}

#[tracing::instrument(name = "batch", skip_all)]
async fn cut(gateway: &Gateway, settings: &BatchSettings, leases: &mut Leases) -> Vec<BatchRecord> {
    let Some(announced) = *gateway.announced().borrow() else { return Vec::new() };
    let oldest_epoch = gateway.oldest_epoch();
    let moment = Moment {
        announced,
        now_ms: gateway.clock.monotonic_ms(),
        latest_block: gateway.view.borrow().latest_block,
        oldest_epoch,
    };
    let groups: BTreeSet<u32> = {
        let mut state = gateway.state();
        expire(gateway, &mut state, oldest_epoch);
        let closed =
            state.uncovered.iter().filter(|(epoch, ..)| moment.closes(*epoch, settings.close_grace_ms));
        closed.map(|(_, group, _)| *group).collect()
    };
    leases.take(gateway, groups, moment.latest_block).await;
    let may_cut = |group: u32| leases.holds(group, moment.latest_block);
    let (batches, roots, durable) = {
        let mut state = gateway.state();
        let roots = roots(gateway, &state, &moment, settings, &may_cut);
        if !roots.is_empty() {
            failpoint("root::before_cut");
            drop(gateway.commit(&mut state, roots.iter().cloned().map(Record::RootCut).collect()));
        }
        let batches = plan(&state, &moment, settings, &may_cut);
        gauge!("chains_uncovered").set(state.uncovered.len() as f64);
        if batches.is_empty() && roots.is_empty() {
            return Vec::new();
        }
        if !batches.is_empty() {
            failpoint("batch::before_cut");
        }
        let records = batches.iter().cloned().map(Record::BatchCut).collect();
        (batches, roots.len(), gateway.commit(&mut state, records))
    };
    for batch in &batches {
        tracing::info!(
            batch = batch.batch,
            kind = ?batch.kind,
            epoch = batch.epoch,
            members = batch.members.len(),
            bytes = batch.calldata.len(),
            "batch cut"
        );
        counter!("batches_cut_total", "kind" => kind_label(batch.kind)).increment(1);
    }
    if durable.await.is_err() {
        return Vec::new();
    }
    if roots > 0 {
        counter!("roots_cut_total").increment(roots as u64);
        failpoint("root::after_cut");
        gateway.cosign.tell();
    }
    if !batches.is_empty() {
        failpoint("batch::after_cut");
    }
    batches
}

fn expire(gateway: &Gateway, state: &mut State, oldest_epoch: u32) {
    if !state.expires(oldest_epoch) {
        return;
    }
    let before = state.counts.expired;
    drop(gateway.commit(state, vec![Record::Expired { oldest_epoch }]));
    let expired = state.counts.expired.saturating_sub(before);
    counter!("statements_expired_total").increment(expired);
    tracing::error!(expired, oldest_epoch, "statements left the ring before they were recorded");
}

/// The roots that piles are to co-sign from now on.
fn roots(
    gateway: &Gateway,
    state: &State,
    moment: &Moment,
    settings: &BatchSettings,
    may_cut: &dyn Fn(u32) -> bool,
) -> Vec<RootRecord> {
    if gateway.cosign.lane2() != Lane2::Available || settings.lane == LaneRule::Ecdsa {
        return Vec::new();
    }
    gateway.cosign.release_before(moment.announced.epoch.epoch);
    let until = |device_id: &DeviceId| gateway.cosign.quarantined_until(device_id);
    let piles = Piles {
        directory: &gateway.directory.load(),
        is_quarantined: &|device_id, epoch| until(device_id).is_some_and(|until| epoch < until),
        is_connected: &|device_id| gateway.is_connected(device_id),
    };
    plan_roots(state, moment, settings, &piles, may_cut)
}

/// Label of a kind for metrics.
pub fn kind_label(kind: BatchKind) -> &'static str {
    match kind {
        BatchKind::Record => "record",
        BatchKind::Extend => "extend",
        BatchKind::Advance => "advance",
        BatchKind::RecordRoot => "record_root",
    }
}

/// When a plan is made.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The epoch that piles are told, and since when.
    pub announced: Announced,
    /// Monotonic ms.
    pub now_ms: u64,
    /// Newest executed block.
    pub latest_block: u64,
    /// First epoch that can still be recorded.
    pub oldest_epoch: u32,
}

impl Moment {
    /// Whether nothing more of an epoch is awaited, and it can still be recorded.
    pub fn closes(&self, epoch: u32, grace_ms: u64) -> bool {
        let current = self.announced.epoch.epoch;
        let in_grace = self.now_ms < self.announced.at_ms.saturating_add(grace_ms);
        epoch >= self.oldest_epoch && (epoch.saturating_add(1) < current || (epoch < current && !in_grace))
    }
}

/// The batches of lane 1 that may be cut now, numbered from the state's newest on. Heads of groups that `may_cut` denies wait, as do
/// those of a group whose root is being co-signed.
pub fn plan(
    state: &State,
    moment: &Moment,
    settings: &BatchSettings,
    may_cut: &dyn Fn(u32) -> bool,
) -> Vec<BatchRecord> {
    let mut next = state.last_batch;
    let mut number = || {
        next = next.saturating_add(1);
        next
    };
    let mut batches = plan_heads(state, moment, settings, may_cut, &mut number);
    batches.extend(plan_advances(state, moment, settings, &mut number));
    batches
}

/// A pile's newest head, ready to go.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// Device.
    pub device_id: DeviceId,
    /// Group.
    pub group: u32,
    /// Statements covered.
    pub n: u8,
    /// What the contract takes.
    pub record: RecordBytes,
}

fn plan_heads(
    state: &State,
    moment: &Moment,
    settings: &BatchSettings,
    may_cut: &dyn Fn(u32) -> bool,
    number: &mut dyn FnMut() -> u64,
) -> Vec<BatchRecord> {
    let mut fresh: BTreeMap<u32, Vec<Ready>> = BTreeMap::new();
    let mut recorded: BTreeMap<(u32, u32), Vec<Ready>> = BTreeMap::new();
    let closed = |epoch: u32| moment.closes(epoch, settings.close_grace_ms);
    for (epoch, group, index) in state.uncovered.iter().filter(|(epoch, ..)| closed(*epoch)) {
        let Some(chain) = state.chains.get(&(*group, *index, *epoch)) else { continue };
        let is_in_round = state.root_of(*group, *epoch).is_some_and(Root::is_open);
        if moment.latest_block < chain.retry_block || is_in_round || !may_cut(*group) {
            continue;
        }
        let Some(ready) = ready(chain, *group, *index) else { continue };
        if chain.recorded {
            recorded.entry((*epoch, *group)).or_default().push(ready);
        } else {
            fresh.entry(*epoch).or_default().push(ready);
        }
    }
    let records_max = settings.records_max.clamp(1, RECORDS_PER_BATCH_MAX);
    let verifier = settings.deployment.verifier();
    let mut batches = Vec::new();
    for (epoch, ready) in &fresh {
        for part in ready.chunks(records_max) {
            let mut groups: Vec<(u32, Vec<RecordBytes>)> = Vec::new();
            for one in part {
                match groups.last_mut() {
                    Some((group, records)) if *group == one.group => records.push(one.record),
                    _ => groups.push((one.group, vec![one.record])),
                }
            }
            let calldata = match groups.as_slice() {
                [(group, records)] => contracts::record_calldata(*group, *epoch, records),
                groups => contracts::record_many_calldata(*epoch, groups),
            };
            batches.push(batch(BatchKind::Record, *epoch, verifier, calldata, part, settings, number()));
        }
    }
    for ((epoch, group), ready) in &recorded {
        for part in ready.chunks(records_max) {
            let records: Vec<RecordBytes> = part.iter().map(|one| one.record).collect();
            let calldata = contracts::extend_calldata(*group, *epoch, &records);
            batches.push(batch(BatchKind::Extend, *epoch, verifier, calldata, part, settings, number()));
        }
    }
    batches
}

/// A chain's newest head, unless a batch carries it, it was given up, or it is covered.
pub fn ready(chain: &PileChain, group: u32, index: u8) -> Option<Ready> {
    let (n, entry) = chain.statements.last_key_value()?;
    if chain.in_batch.is_some() || chain.given_up || *n <= chain.covered_n {
        return None;
    }
    let record = RecordBytes { index, n: *n, head: entry.head, signature: entry.signature };
    Some(Ready { device_id: chain.device_id, group, n: *n, record })
}

fn batch(
    kind: BatchKind,
    epoch: u32,
    to: Address,
    calldata: Vec<u8>,
    part: &[Ready],
    settings: &BatchSettings,
    batch: u64,
) -> BatchRecord {
    let members = part.iter().map(|one| (one.device_id, one.n)).collect();
    let expires_block = settings.deployment.expires_block(epoch);
    BatchRecord { batch, kind, epoch, to, calldata, members, expires_block }
}

/// Checkpoints whose predecessor is the ledger's head, and those that follow them. The next batch of a battery waits until the
/// one before it is mined: the gas of a call is estimated on the state that it will meet.
fn plan_advances(
    state: &State,
    moment: &Moment,
    settings: &BatchSettings,
    number: &mut dyn FnMut() -> u64,
) -> Vec<BatchRecord> {
    let mut by_epoch: BTreeMap<u32, Vec<&StatementRecord>> = BTreeMap::new();
    for (_, battery) in state.batteries.iter() {
        let mut head = battery.ledger;
        let mut epoch = None;
        for pending in &battery.pending {
            let statement = &pending.statement;
            if let Some(batch) = pending.in_batch {
                if pending.prev != head || !is_mined(state, batch) {
                    break;
                }
                head = pending.next;
                continue;
            }
            let ready = pending.prev == head
                && moment.latest_block >= pending.retry_block
                && moment.closes(statement.epoch, settings.close_grace_ms)
                && epoch.is_none_or(|epoch| epoch == statement.epoch);
            if !ready {
                break;
            }
            by_epoch.entry(statement.epoch).or_default().push(statement);
            epoch = Some(statement.epoch);
            head = pending.next;
        }
    }
    let mut batches = Vec::new();
    for (epoch, statements) in by_epoch {
        for part in statements.chunks(settings.advance_max.max(1)) {
            let items: Vec<Advance> = part.iter().filter_map(|statement| advance(statement)).collect();
            batches.push(BatchRecord {
                batch: number(),
                kind: BatchKind::Advance,
                epoch,
                to: settings.deployment.battery_ledger,
                calldata: contracts::advance_calldata(&items),
                members: part.iter().map(|statement| (statement.device_id, statement.n)).collect(),
                expires_block: settings.deployment.expires_block(epoch),
            });
        }
    }
    batches
}

fn is_mined(state: &State, batch: u64) -> bool {
    state.batches.get(&batch).is_some_and(|batch| batch.mined.is_some_and(|(.., succeeded)| succeeded))
}

fn advance(statement: &StatementRecord) -> Option<Advance> {
    let StatementKind::Checkpoint { battery, segment, seq, time_ms, fp, prev_seq, prev_fp } = &statement.kind
    else {
        return None;
    };
    Some(Advance {
        device_id: statement.device_id,
        group: statement.group,
        index: statement.index,
        epoch: statement.epoch,
        n: statement.n,
        battery: *battery,
        segment: *segment,
        seq: *seq,
        time_ms: *time_ms,
        fp: *fp,
        prev_seq: *prev_seq,
        prev_fp: *prev_fp,
        prev_head: statement.prev_head,
        later: Vec::new(),
        signature: statement.signature.as_slice().try_into().ok()?,
    })
}

#[cfg(test)]
mod tests;
