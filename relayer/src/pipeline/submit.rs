//! Getting batches onto the chain: nonces, fees, attempts, broadcasts. One owner per signer.
//!
//! [`Submissions`] is the pure state machine: [`Submissions::step`] takes what happened and tells what to do next. [`Submitter`] does
//! it, one effect after the other. An attempt's nonce, fees and signed bytes are durable before its first broadcast, so a nonce that
//! the chain could see always has bytes that can be sent again, and a batch keeps its nonce until it is mined.

mod run;

use std::collections::BTreeMap;

use cip22_wire::{Address, Hash};

pub use self::run::{RecordSink, Submitter};
use super::confirm::{Inclusion, Sighting, Verdict, judge};
use crate::chain::fees::{FeePolicy, Fees, charged_gas};
use crate::journal::Record;
use crate::journal::record::{AttemptRecord, BatchKind, BatchRecord};

/// Most batches with an attempt that is not mined. eSpace packs at most 50 transactions and 3,000,000 gas of one sender in a block.
const IN_FLIGHT_MAX: usize = 16;

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
    /// Its receipt, if one was seen and not lost again.
    pub mined: Option<Inclusion>,
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
    /// Base fee of the newest block, drip per gas.
    pub base_fee: u128,
    /// Answers to [`Submissions::questions`], by batch; those that failed are left out.
    pub sightings: Vec<(u64, Sighting)>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A batch was cut and is durable.
    Cut(BatchRecord),
    /// The chain was looked at.
    Observed(Observation),
    /// A batch's gas limit is known.
    Planned {
        /// Batch.
        batch: u64,
        /// Gas limit.
        gas_limit: u64,
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
    /// Estimate the batch's gas; answer with `Planned` or `Impossible`, or not at all: it is asked again.
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
}

/// An attempt to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptPlan {
    /// Batch.
    pub batch: u64,
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

#[derive(Debug, Clone)]
struct Tracked {
    batch: BatchRecord,
    attempts: Vec<AttemptRecord>,
    mined: Option<Inclusion>,
    /// `latest` when the newest attempt was last sent; `None` to send it at the next observation.
    broadcast_at: Option<u64>,
    /// `latest` when the newest attempt was made.
    attempted_at: u64,
    /// `latest` when the nonce was first seen consumed while none of our transactions had a receipt.
    consumed_at: Option<u64>,
    /// The nonce went to somebody else's transaction: a new one is needed.
    nonce_lost: bool,
    /// `latest` when the known receipt was last looked at.
    checked_at: u64,
}

/// Every batch of one signer that has no end yet.
#[derive(Debug)]
pub struct Submissions {
    settings: SubmitterSettings,
    signer: Address,
    batches: BTreeMap<u64, Tracked>,
    /// Highest nonce that durable bytes hold.
    stored_nonce: Option<u64>,
    /// An attempt was planned and is not durable yet: no other nonce is given out meanwhile.
    signing: Option<u64>,
    seen: Option<Observation>,
}

impl Tracked {
    fn new(batch: BatchRecord) -> Self {
        Self {
            batch,
            attempts: Vec::new(),
            mined: None,
            broadcast_at: None,
            attempted_at: 0,
            consumed_at: None,
            nonce_lost: false,
            checked_at: 0,
        }
    }

    fn nonce(&self) -> Option<u64> {
        self.attempts.last().map(|attempt| attempt.nonce)
    }

    fn needs_nonce(&self) -> bool {
        self.mined.is_none() && (self.attempts.is_empty() || self.nonce_lost)
    }

    fn in_flight(&self) -> bool {
        self.mined.is_none() && !self.attempts.is_empty() && !self.nonce_lost
    }
}

impl Submissions {
    /// Nothing under way.
    pub fn new(signer: Address, settings: SubmitterSettings) -> Self {
        Self { settings, signer, batches: BTreeMap::new(), stored_nonce: None, signing: None, seen: None }
    }

    /// Takes up what the journal holds. The next observation sends every stored attempt that is not mined again.
    pub fn restore(&mut self, pending: Vec<PendingBatch>) {
        for PendingBatch { batch, attempts, mined } in pending {
            for attempt in attempts.iter().filter(|attempt| attempt.signer == self.signer) {
                self.stored_nonce = self.stored_nonce.max(Some(attempt.nonce));
            }
            self.batches.insert(batch.batch, Tracked { attempts, mined, ..Tracked::new(batch) });
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
            Event::Cut(batch) => {
                self.batches.entry(batch.batch).or_insert_with(|| Tracked::new(batch));
                Vec::new()
            }
            Event::Observed(observation) => self.observed(observation),
            Event::Planned { batch, gas_limit } => self.planned(batch, gas_limit).into_iter().collect(),
            Event::Impossible { batch } => self.ended_unsent(batch).into_iter().collect(),
            Event::Durable(attempt) => self.durable(attempt),
        }
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
        self.seen = Some(observation);
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
        let verdict = judge(tracked.mined.as_ref(), sighting, now.safe);
        match verdict {
            Verdict::Unknown => {
                let consumed = tracked.nonce().is_some_and(|ours| now.nonce > ours);
                if consumed && tracked.mined.is_none() && !tracked.nonce_lost {
                    // Somebody else used the key. Only once `safe` covers that use is it certain not to be ours.
                    let since = *tracked.consumed_at.get_or_insert(now.latest);
                    tracked.nonce_lost = now.safe >= since;
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

    /// A better paid attempt for the lowest nonce: the others wait for it, whatever they pay.
    fn replacement(&mut self) -> Option<Effect> {
        let now = self.seen.as_ref()?;
        if self.signing.is_some() {
            return None;
        }
        let tracked = self
            .batches
            .values_mut()
            .find(|tracked| tracked.in_flight() && tracked.nonce() == Some(now.nonce))?;
        if tracked.attempted_at == 0 {
            // Restored: its time runs from now.
            tracked.attempted_at = now.latest;
        }
        if now.latest < tracked.attempted_at.saturating_add(self.settings.replace_blocks) {
            return None;
        }
        let newest = tracked.attempts.last()?;
        let before = Fees {
            max_fee_per_gas: newest.max_fee_per_gas,
            max_priority_fee_per_gas: newest.max_priority_fee_per_gas,
        };
        let plan = AttemptPlan {
            batch: newest.batch,
            nonce: newest.nonce,
            attempt: newest.attempt.saturating_add(1),
            gas_limit: newest.gas_limit,
            fees: self.settings.fees.replacement(now.base_fee, before)?,
        };
        self.signing = Some(plan.batch);
        Some(Effect::Attempt(plan))
    }

    /// Batches that need a nonce, oldest first, as far as there is room.
    fn plans(&mut self) -> Vec<Effect> {
        let Some(latest) = self.seen.as_ref().map(|now| now.latest) else { return Vec::new() };
        let waiting: Vec<(u64, bool)> = self
            .batches
            .values()
            .filter(|tracked| tracked.needs_nonce())
            .map(|tracked| (tracked.batch.batch, latest >= tracked.batch.expires_block))
            .collect();
        let flying = self.batches.values().filter(|tracked| tracked.in_flight()).count();
        let mut room = IN_FLIGHT_MAX.saturating_sub(flying);
        let mut effects = Vec::new();
        for (batch, expired) in waiting {
            if expired {
                effects.extend(self.ended_unsent(batch));
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
        if !tracked.needs_nonce() || self.signing.is_some() {
            return None;
        }
        let in_flight = self.batches.values().filter(|other| other.in_flight());
        let floor = in_flight.filter_map(|other| other.attempts.last()).map(|other| other.max_fee_per_gas);
        let plan = AttemptPlan {
            batch,
            nonce: self.stored_nonce.map_or(now.nonce, |stored| now.nonce.max(stored.saturating_add(1))),
            attempt: tracked.attempts.last().map_or(1, |newest| newest.attempt.saturating_add(1)),
            gas_limit,
            fees: self.settings.fees.initial(now.base_fee, floor.max().unwrap_or(0)),
        };
        self.signing = Some(batch);
        Some(Effect::Attempt(plan))
    }

    fn durable(&mut self, attempt: AttemptRecord) -> Vec<Effect> {
        self.signing = None;
        self.stored_nonce = self.stored_nonce.max(Some(attempt.nonce));
        let latest = self.seen.as_ref().map_or(0, |now| now.latest);
        let Some(tracked) = self.batches.get_mut(&attempt.batch) else { return Vec::new() };
        tracked.broadcast_at = Some(latest);
        tracked.attempted_at = latest;
        tracked.consumed_at = None;
        tracked.nonce_lost = false;
        let broadcast = Effect::Broadcast { batch: attempt.batch, raw: attempt.raw.clone() };
        tracked.attempts.push(attempt);
        vec![broadcast]
    }

    /// Ends a batch that holds no nonce.
    fn ended_unsent(&mut self, batch: u64) -> Option<Effect> {
        if !self.batches.get(&batch)?.needs_nonce() {
            return None;
        }
        let kind = self.batches.remove(&batch)?.batch.kind;
        Some(Effect::Report(BatchOutcome {
            batch,
            kind,
            succeeded: false,
            transaction: None,
            block: 0,
            gas_used: 0,
            gas_charged: 0,
            fee_drip: 0,
        }))
    }
}

impl Tracked {
    fn gas_limit(&self, transaction: &Hash) -> u64 {
        let attempt = self.attempts.iter().find(|attempt| attempt.transaction == *transaction);
        attempt.map_or(0, |attempt| attempt.gas_limit)
    }

    fn include(&mut self, inclusion: Inclusion) {
        self.mined = Some(inclusion);
        self.consumed_at = None;
        self.nonce_lost = false;
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
