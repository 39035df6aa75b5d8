//! Getting batches onto the chain: nonces, fees, attempts, broadcasts. One owner per signer.
//!
//! [`Submissions`] is the pure state machine: [`Submissions::step`] takes what happened and tells what to do next. [`Submitter`] does
//! it, one effect after the other. An attempt's nonce, fees and signed bytes are durable before its first broadcast, so a nonce that
//! the chain could see always has bytes that can be sent again, and a batch keeps its nonce until it is mined.

pub mod capacity;
mod edit;
mod nonces;
mod run;
mod tracked;

use std::collections::BTreeMap;

use cip22_wire::{Address, Hash};

use self::capacity::InFlight;
pub use self::edit::{TxDone, TxLine, TxRefusal};
pub use self::run::{Desk, Notice, Order, RecordSink, SignerReport, Submitter};
pub(super) use self::run::{label, log_outcome};
use self::tracked::Tracked;
use super::confirm::{Inclusion, Sighting, Verdict, judge};
use crate::chain::fees::{FeePolicy, Fees, charged_gas};
use crate::journal::Record;
use crate::journal::record::{AttemptRecord, BatchKind, BatchRecord};

/// eSpace takes nonces below the account's own plus this many.
const NONCE_WINDOW: u64 = 2_000;

/// Most batches that get a nonce between two looks at the chain.
const PLANS_PER_LOOK_MAX: usize = 16;

/// Most of these that failed before: what cannot be planned does not hold up what can.
const RETRIED_PLANS_PER_LOOK_MAX: usize = 2;

/// A batch whose gas could not be estimated is asked about again after this many blocks.
const PLAN_RETRY_BLOCKS: u64 = 5;

/// A receipt that waits for `safe` is looked at again after this many blocks.
const RECHECK_BLOCKS: u64 = 10;

/// What a submitter works by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubmitterSettings {
    /// Fees.
    pub fees: FeePolicy,
    /// The stored bytes go out again after this many blocks: a node forgets transactions silently.
    pub rebroadcast_blocks: u64,
    /// An attempt is replaced by a better paid one after this many blocks.
    pub replace_blocks: u64,
    /// Time between looks at the chain, ms.
    pub poll_interval_ms: u64,
}

/// A batch that the journal holds without an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingBatch {
    /// The batch.
    pub batch: BatchRecord,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// Those of them that do not carry the batch: self-transfers that only use up its nonce.
    pub cancels: Vec<Hash>,
    /// An operator wants it cancelled.
    pub cancelled: bool,
    /// Its receipt, if one was seen and not lost again.
    pub mined: Option<Inclusion>,
}

impl PendingBatch {
    /// The account whose transaction it has under way, if it has one.
    pub fn signer(&self) -> Option<Address> {
        self.attempts.last().map(|newest| newest.signer)
    }

    /// A batch that was just cut.
    pub fn new(batch: BatchRecord) -> Self {
        Self { batch, attempts: Vec::new(), cancels: Vec::new(), cancelled: false, mined: None }
    }
}

/// How a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOutcome {
    /// Batch.
    pub batch: u64,
    /// Kind.
    pub kind: BatchKind,
    /// Whether the call succeeded, in a block that `safe` covers.
    pub succeeded: bool,
    /// Whether it ended as an operator wanted: its call was not carried out.
    pub cancelled: bool,
    /// The transaction; `None` if the batch ended without one: it would revert, does not fit, or expired unsent.
    pub transaction: Option<Hash>,
    /// Its block, 0 without a transaction.
    pub block: u64,
    /// Gas used by execution.
    pub gas_used: u64,
    /// Gas charged: eSpace charges at least 3/4 of the limit.
    pub gas_charged: u64,
    /// Fee charged, drip.
    pub fee_drip: u128,
}

/// The chain as the submitter saw it at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    /// Newest executed block.
    pub latest: u64,
    /// Newest block under `safe`.
    pub safe: u64,
    /// The signer's executed nonce at `latest`.
    pub nonce: u64,
    /// Its balance at `latest`, drip.
    pub balance: u128,
    /// Base fee of the newest block, drip per gas.
    pub base_fee: u128,
    /// Answers to [`Submissions::questions`], by batch; those that failed are left out.
    pub sightings: Vec<(u64, Sighting)>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A batch is this signer's to carry.
    Taken(PendingBatch),
    /// The chain was looked at.
    Observed(Observation),
    /// A batch's gas limit is known.
    Planned {
        /// Batch.
        batch: u64,
        /// Gas limit.
        gas_limit: u64,
    },
    /// A batch's gas could not be estimated.
    Unplanned {
        /// Batch.
        batch: u64,
    },
    /// The node says that a batch's call reverts, or no transaction can hold it.
    Impossible {
        /// Batch.
        batch: u64,
    },
    /// An attempt is durable.
    Durable(AttemptRecord),
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Estimate the batch's gas; answer with `Planned`, `Impossible` or `Unplanned`.
    Plan {
        /// Batch.
        batch: u64,
    },
    /// Sign, make durable, answer with `Durable`.
    Attempt(AttemptPlan),
    /// Send these bytes.
    Broadcast {
        /// Batch.
        batch: u64,
        /// Signed bytes, exactly as stored.
        raw: Vec<u8>,
    },
    /// Make a fact durable.
    Append(Record),
    /// Tell the outcome, once everything before is durable.
    Report(BatchOutcome),
    /// Give a batch back that holds no nonce: this signer cannot carry it now.
    Return {
        /// The batch.
        pending: PendingBatch,
        /// What carrying it takes at the most, drip; 0 if that is not the reason.
        needed_drip: u128,
    },
    /// Tell that someone else's transaction used a nonce of ours, under `safe`.
    NonceTaken {
        /// Batch that had it.
        batch: u64,
        /// Nonce.
        nonce: u64,
    },
}

/// What an attempt does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptKind {
    /// Carries the batch.
    Carry,
    /// Uses up the nonce by a transfer of nothing to oneself.
    Cancel,
}

/// An attempt to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptPlan {
    /// Batch.
    pub batch: u64,
    /// What it does.
    pub kind: AttemptKind,
    /// Nonce.
    pub nonce: u64,
    /// Attempt, 1 for the first.
    pub attempt: u32,
    /// Gas limit.
    pub gas_limit: u64,
    /// Fees.
    pub fees: Fees,
}

/// A look-up that the next [`Observation`] should answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Batch.
    pub batch: u64,
    /// Transactions whose receipts are wanted.
    pub transactions: Vec<Hash>,
    /// The known inclusion: if its receipt is missing, its block's present hash is wanted.
    pub known: Option<Inclusion>,
}

/// Every batch of one signer that has no end yet.
#[derive(Debug)]
pub struct Submissions {
    settings: SubmitterSettings,
    signer: Address,
    /// Without its key, what is stored is sent and judged, and nothing new is made.
    can_sign: bool,
    batches: BTreeMap<u64, Tracked>,
    /// Highest nonce that durable bytes hold.
    stored_nonce: Option<u64>,
    /// `latest` when a nonce below `stored_nonce` was first seen free that no bytes of ours hold.
    gap_since: Option<u64>,
    /// An attempt was planned and is not durable yet: no other nonce is given out meanwhile.
    signing: Option<(u64, AttemptKind)>,
    /// The oldest batch did not fit: those after it wait, until the next look at the chain.
    full: bool,
    seen: Option<Observation>,
}

impl Submissions {
    /// Nothing under way. Without the signer's key (`can_sign`), batches that need a new attempt are given back.
    pub fn new(signer: Address, can_sign: bool, settings: SubmitterSettings) -> Self {
        Self {
            settings,
            signer,
            can_sign,
            batches: BTreeMap::new(),
            stored_nonce: None,
            gap_since: None,
            signing: None,
            full: false,
            seen: None,
        }
    }

    /// Batches without an end.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// A batch without an end.
    pub fn batch(&self, batch: u64) -> Option<&BatchRecord> {
        self.batches.get(&batch).map(|tracked| &tracked.batch)
    }

    /// Whether a plan made now could lead to an attempt.
    pub fn has_room(&self) -> bool {
        !self.full && self.signing.is_none()
    }

    /// What waits for the chain to execute it.
    pub fn in_flight(&self) -> InFlight {
        self.batches
            .values()
            .filter(|tracked| tracked.in_flight())
            .filter_map(|t| t.attempts.last())
            .collect()
    }

    /// The room left, with what waits for its first nonce counted by the least it can take.
    pub fn room(&self) -> InFlight {
        let waiting =
            self.batches.values().filter(|tracked| tracked.needs_nonce() && tracked.plan_failed_at.is_none());
        waiting.fold(self.in_flight(), |used, tracked| used.with_call(&tracked.batch.calldata)).room()
    }

    /// The balance as last seen, less what everything in flight may cost, drip.
    pub fn spendable_drip(&self) -> u128 {
        self.seen.as_ref().map_or(0, |now| now.balance.saturating_sub(self.in_flight().cost_drip))
    }

    /// What a first attempt would offer now, drip per gas; 0 before the first look at the chain.
    pub fn max_fee_now(&self) -> u128 {
        self.seen.as_ref().map_or(0, |now| self.settings.fees.initial(now.base_fee, 0).max_fee_per_gas)
    }

    /// Newest executed block as last seen; `None` before the first look at the chain.
    pub fn latest(&self) -> Option<u64> {
        self.seen.as_ref().map(|now| now.latest)
    }

    /// What to look up at these heads, given the signer's executed nonce: a transaction whose nonce is not consumed has no receipt.
    pub fn questions(&self, latest: u64, safe: u64, nonce: u64) -> Vec<Question> {
        let wanted = |tracked: &&Tracked| match (&tracked.mined, tracked.nonce()) {
            (_, None) => false,
            (None, Some(ours)) => nonce > ours,
            (Some(known), Some(ours)) => {
                known.block <= safe
                    || latest >= tracked.checked_at.saturating_add(RECHECK_BLOCKS)
                    || nonce <= ours
            }
        };
        self.batches
            .values()
            .filter(wanted)
            .map(|tracked| Question {
                batch: tracked.batch.batch,
                transactions: tracked.attempts.iter().map(|attempt| attempt.transaction).collect(),
                known: tracked.mined,
            })
            .collect()
    }

    /// Takes in what happened and tells what to do, in order.
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Taken(pending) => {
                self.take(pending);
                Vec::new()
            }
            Event::Observed(observation) => self.observed(observation),
            Event::Planned { batch, gas_limit } => self.planned(batch, gas_limit).into_iter().collect(),
            Event::Unplanned { batch } => {
                if let Some(tracked) = self.batches.get_mut(&batch) {
                    tracked.plan_failed_at = self.seen.as_ref().map(|now| now.latest);
                }
                Vec::new()
            }
            Event::Impossible { batch } => self.ended_unsent(batch).into_iter().collect(),
            Event::Durable(attempt) => self.durable(attempt),
        }
    }

    /// Takes a batch over. What it has in signed bytes is sent at the next observation, unless it is mined.
    fn take(&mut self, pending: PendingBatch) {
        for attempt in pending.attempts.iter().filter(|attempt| attempt.signer == self.signer) {
            self.stored_nonce = self.stored_nonce.max(Some(attempt.nonce));
        }
        self.batches.entry(pending.batch.batch).or_insert_with(|| Tracked::new(pending, self.signer));
    }

    fn observed(&mut self, mut observation: Observation) -> Vec<Effect> {
        let sightings = std::mem::take(&mut observation.sightings);
        let mut appends = Vec::new();
        let mut reports = Vec::new();
        for tracked in self.batches.values_mut() {
            if tracked.nonce().is_some_and(|ours| observation.nonce <= ours) {
                // Free again, or still: whoever consumed it was reorganised away.
                tracked.consumed_at = None;
            }
        }
        for (batch, sighting) in sightings {
            self.sighted(batch, &sighting, &observation, &mut appends, &mut reports);
        }
        self.note_gap(&observation);
        self.seen = Some(observation);
        self.full = false;
        let mut effects = appends;
        effects.append(&mut reports);
        effects.extend(self.rebroadcasts());
        effects.extend(self.replacement());
        effects.extend(self.plans());
        effects
    }

    fn sighted(
        &mut self,
        batch: u64,
        sighting: &Sighting,
        now: &Observation,
        appends: &mut Vec<Effect>,
        reports: &mut Vec<Effect>,
    ) {
        let Some(tracked) = self.batches.get_mut(&batch) else { return };
        tracked.checked_at = now.latest;
        let verdict = judge(tracked.mined.as_ref(), &tracked.without_cancels(sighting), now.safe);
        match verdict {
            Verdict::Unknown => {
                let consumed = tracked.nonce().is_some_and(|ours| now.nonce > ours);
                if consumed && tracked.mined.is_none() && !tracked.nonce_lost {
                    // Somebody else used the key. Only once `safe` covers that use is it certain not to be ours.
                    let since = *tracked.consumed_at.get_or_insert(now.latest);
                    tracked.nonce_lost = now.safe >= since;
                    if let (true, Some(nonce)) = (tracked.nonce_lost, tracked.nonce()) {
                        reports.push(Effect::NonceTaken { batch, nonce });
                    }
                }
            }
            Verdict::Mined(inclusion, _) => {
                appends.push(Effect::Append(mined_record(batch, &inclusion)));
                tracked.include(inclusion);
            }
            Verdict::Moved(inclusion, _) => {
                appends.push(Effect::Append(Record::Unmined { batch }));
                appends.push(Effect::Append(mined_record(batch, &inclusion)));
                tracked.include(inclusion);
            }
            Verdict::Gone => {
                appends.push(Effect::Append(Record::Unmined { batch }));
                tracked.mined = None;
                tracked.broadcast_at = None;
            }
            Verdict::Safe(inclusion, receipt) => {
                let Inclusion { transaction, block, succeeded, .. } = inclusion;
                appends.push(Effect::Append(Record::Safe { batch, transaction, block, succeeded }));
                reports.push(Effect::Report(BatchOutcome {
                    batch,
                    kind: tracked.batch.kind,
                    succeeded,
                    cancelled: tracked.cancels.contains(&transaction),
                    transaction: Some(transaction),
                    block,
                    gas_used: receipt.gas_used,
                    gas_charged: charged_gas(receipt.gas_used, tracked.gas_limit(&transaction)),
                    fee_drip: receipt.fee_drip,
                }));
                self.batches.remove(&batch);
            }
        }
    }

    /// Stored bytes whose nonce is still free, when their time has come.
    fn rebroadcasts(&mut self) -> Vec<Effect> {
        let Some(now) = &self.seen else { return Vec::new() };
        let interval = self.settings.rebroadcast_blocks;
        let mut effects = Vec::new();
        for (&batch, tracked) in &mut self.batches {
            let due = tracked.broadcast_at.is_none_or(|at| now.latest >= at.saturating_add(interval));
            if !tracked.in_flight() || !due {
                continue;
            }
            let Some(newest) = tracked.attempts.last().filter(|attempt| attempt.nonce >= now.nonce) else {
                continue;
            };
            effects.push(Effect::Broadcast { batch, raw: newest.raw.clone() });
            tracked.broadcast_at = Some(now.latest);
        }
        effects
    }

    /// A better paid attempt for the lowest nonce: the others wait for it, whatever they pay. One that has to be cancelled goes first.
    fn replacement(&mut self) -> Option<Effect> {
        let now = self.seen.as_ref()?;
        if self.signing.is_some() || !self.can_sign {
            return None;
        }
        let free = |tracked: &&Tracked| tracked.nonce().is_some_and(|ours| ours >= now.nonce);
        let mut cancels = self.batches.values().filter(|t| t.in_flight() && t.cancel_is_due()).filter(free);
        if let Some(plan) = cancels.find_map(|tracked| self.better_paid(tracked, AttemptKind::Cancel).ok()) {
            return Some(self.sign(plan));
        }
        let tracked = self
            .batches
            .values_mut()
            .find(|tracked| tracked.in_flight() && tracked.nonce() == Some(now.nonce))?;
        if tracked.attempted_at == 0 {
            // Restored: its time runs from now.
            tracked.attempted_at = now.latest;
        }
        if now.latest < tracked.replace_at(&self.settings, now.base_fee) {
            return None;
        }
        let batch = tracked.batch.batch;
        let tracked = self.batches.get(&batch)?;
        let plan = self.better_paid(tracked, tracked.newest_kind()).ok()?;
        Some(self.sign(plan))
    }

    fn sign(&mut self, plan: AttemptPlan) -> Effect {
        self.signing = Some((plan.batch, plan.kind));
        Effect::Attempt(plan)
    }

    /// Batches that need a nonce, as far as there is room: the first to expire first, and last those that failed before.
    fn plans(&mut self) -> Vec<Effect> {
        let Some(latest) = self.seen.as_ref().map(|now| now.latest) else { return Vec::new() };
        let mut waiting: Vec<&Tracked> =
            self.batches.values().filter(|tracked| tracked.needs_nonce()).collect();
        waiting.sort_by_key(|tracked| {
            (tracked.plan_failed_at, tracked.batch.expires_block, tracked.batch.batch)
        });
        let waiting: Vec<(u64, bool, Option<u64>)> = waiting
            .into_iter()
            .map(|tracked| {
                let over = tracked.cancelled || latest >= tracked.batch.expires_block;
                (tracked.batch.batch, over, tracked.plan_failed_at)
            })
            .collect();
        let mut room = self.in_flight().room().transactions.min(PLANS_PER_LOOK_MAX);
        let mut retries = RETRIED_PLANS_PER_LOOK_MAX;
        let mut effects = Vec::new();
        for (batch, over, failed_at) in waiting {
            if over {
                effects.extend(self.ended_unsent(batch));
            } else if !self.can_sign {
                effects.extend(self.given_back(batch, 0));
            } else if let Some(failed_at) = failed_at {
                if room > 0 && retries > 0 && latest >= failed_at.saturating_add(PLAN_RETRY_BLOCKS) {
                    (room, retries) = (room - 1, retries - 1);
                    effects.push(Effect::Plan { batch });
                }
            } else if room > 0 {
                room -= 1;
                effects.push(Effect::Plan { batch });
            }
        }
        effects
    }

    fn planned(&mut self, batch: u64, gas_limit: u64) -> Option<Effect> {
        let now = self.seen.as_ref()?;
        let tracked = self.batches.get(&batch)?;
        let nonce = self.next_nonce(now);
        if !tracked.needs_nonce() || !self.has_room() || !self.can_sign {
            return None;
        }
        let in_flight = self.in_flight();
        if !in_flight.takes(gas_limit) || nonce >= now.nonce.saturating_add(NONCE_WINDOW) {
            self.full = true;
            return None;
        }
        let fees = self.settings.fees.initial(now.base_fee, in_flight.max_fee_per_gas);
        let cost_drip = u128::from(gas_limit).saturating_mul(fees.max_fee_per_gas);
        if in_flight.cost_drip.saturating_add(cost_drip) > now.balance {
            // What has signed bytes stays with their signer, and waits.
            return if tracked.attempts.is_empty() { self.given_back(batch, cost_drip) } else { None };
        }
        let attempt = tracked.attempts.last().map_or(1, |newest| newest.attempt.saturating_add(1));
        Some(self.sign(AttemptPlan { batch, kind: AttemptKind::Carry, nonce, attempt, gas_limit, fees }))
    }

    fn durable(&mut self, attempt: AttemptRecord) -> Vec<Effect> {
        let kind = self.signing.take().map_or(AttemptKind::Carry, |(_, kind)| kind);
        self.stored_nonce = self.stored_nonce.max(Some(attempt.nonce));
        let latest = self.seen.as_ref().map_or(0, |now| now.latest);
        let Some(tracked) = self.batches.get_mut(&attempt.batch) else { return Vec::new() };
        tracked.broadcast_at = Some(latest);
        tracked.attempted_at = latest;
        tracked.consumed_at = None;
        tracked.nonce_lost = false;
        tracked.plan_failed_at = None;
        if kind == AttemptKind::Cancel {
            tracked.cancels.push(attempt.transaction);
        }
        let broadcast = Effect::Broadcast { batch: attempt.batch, raw: attempt.raw.clone() };
        tracked.attempts.push(attempt);
        vec![broadcast]
    }

    /// Ends a batch that holds no nonce.
    fn ended_unsent(&mut self, batch: u64) -> Option<Effect> {
        if !self.batches.get(&batch)?.needs_nonce() {
            return None;
        }
        let tracked = self.batches.remove(&batch)?;
        Some(Effect::Report(BatchOutcome::unsent(&tracked.batch, tracked.cancelled)))
    }

    /// Gives a batch back that holds no nonce.
    fn given_back(&mut self, batch: u64, needed_drip: u128) -> Option<Effect> {
        let pending = self.batches.remove(&batch)?.into_pending();
        Some(Effect::Return { pending, needed_drip })
    }
}

impl BatchOutcome {
    /// The end of a batch that has no transaction.
    pub fn unsent(batch: &BatchRecord, cancelled: bool) -> Self {
        Self {
            batch: batch.batch,
            kind: batch.kind,
            succeeded: false,
            cancelled,
            transaction: None,
            block: 0,
            gas_used: 0,
            gas_charged: 0,
            fee_drip: 0,
        }
    }
}

fn mined_record(batch: u64, inclusion: &Inclusion) -> Record {
    Record::Mined {
        batch,
        transaction: inclusion.transaction,
        block: inclusion.block,
        block_hash: inclusion.block_hash,
        succeeded: inclusion.succeeded,
    }
}

#[cfg(test)]
#[path = "submit/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "submit/hazard_tests.rs"]
mod hazard_tests;
