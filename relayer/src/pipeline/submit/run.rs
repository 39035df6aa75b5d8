//! The submitter: does what the state machine says, one effect after the other.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cip22_wire::Address;
use futures_util::future::join_all;
use metrics::{counter, gauge};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    AttemptKind, AttemptPlan, BatchOutcome, Effect, Event, InFlight, Observation, PendingBatch, Question,
    Submissions, SubmitterSettings, TxDone, TxLine, TxRefusal,
};
use crate::chain::fees;
use crate::chain::signer::{Account, Call};
use crate::chain::{ChainError, Heads, SharedChain};
use crate::clock::SharedClock;
use crate::error::JournalError;
use crate::failpoint::failpoint;
use crate::gateway::Gateway;
use crate::journal::Record;
use crate::journal::record::{AttemptRecord, TxEdit};
use crate::pipeline::batch::kind_label;
use crate::pipeline::confirm::Sighting;

/// Where the submitter's facts go: into the state and onto the disk, in one order.
#[async_trait]
pub trait RecordSink: Debug + Send + Sync {
    /// Returns once the records are durable.
    async fn append(&self, records: Vec<Record>) -> Result<(), JournalError>;
}

#[async_trait]
impl RecordSink for Gateway {
    async fn append(&self, records: Vec<Record>) -> Result<(), JournalError> {
        let durable = {
            let mut state = self.state();
            self.commit(&mut state, records)
        };
        durable.await.map(|_| ())
    }
}

/// What the dispatcher wants of a submitter.
#[derive(Debug)]
pub enum Order {
    /// Carry this batch.
    Carry(Box<PendingBatch>),
    /// Do what an operator wants.
    Edit {
        /// Batch.
        batch: u64,
        /// What.
        edit: TxEdit,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<TxDone, TxRefusal>>,
    },
}

/// What a submitter tells the dispatcher.
#[derive(Debug)]
pub enum Notice {
    /// Where it stands, after every look at the chain.
    Report(SignerReport),
    /// A batch that it cannot carry now.
    Returned {
        /// The batch.
        pending: PendingBatch,
        /// What carrying it takes at the most, drip; 0 if that is not the reason.
        needed_drip: u128,
    },
}

/// Where a signer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerReport {
    /// Newest executed block that it saw; `None` before its first look at the chain.
    pub latest: Option<u64>,
    /// Room for more.
    pub room: InFlight,
    /// Its balance, less what everything in flight may cost, drip.
    pub spendable_drip: u128,
    /// What a first attempt would offer now, drip per gas.
    pub max_fee_per_gas: u128,
    /// Orders that it took so far.
    pub orders_taken: u64,
    /// Its batches.
    pub lines: Vec<TxLine>,
}

/// A submitter's place at the dispatcher.
#[derive(Debug)]
pub struct Desk {
    /// Its number.
    pub number: usize,
    /// What it is to do.
    pub orders: mpsc::Receiver<Order>,
    /// What it tells, with its number.
    pub notices: mpsc::Sender<(usize, Notice)>,
    /// Whether batches wait for a signer.
    pub waiting: watch::Receiver<bool>,
}

/// The one owner of a signer.
#[derive(Debug)]
pub struct Submitter {
    chain: SharedChain,
    account: Account,
    sink: Arc<dyn RecordSink>,
    submissions: Submissions,
    clock: SharedClock,
    poll_interval: Duration,
    endpoint_failing: bool,
    orders_taken: u64,
}

impl Submitter {
    /// A submitter with nothing under way.
    pub fn new(
        chain: SharedChain,
        account: Account,
        clock: SharedClock,
        sink: Arc<dyn RecordSink>,
        settings: SubmitterSettings,
    ) -> Self {
        let submissions = Submissions::new(account.address(), account.signer().is_some(), settings);
        let poll_interval = Duration::from_millis(settings.poll_interval_ms);
        Self {
            chain,
            account,
            clock,
            sink,
            submissions,
            poll_interval,
            endpoint_failing: false,
            orders_taken: 0,
        }
    }

    /// Takes up what the journal holds of this signer without an end, then carries what the dispatcher gives it until told to stop.
    ///
    /// Ends early when an append fails: then nothing may be sent any more, and recovery decides from what is durable.
    pub async fn run(
        mut self,
        mut desk: Desk,
        pending: Vec<PendingBatch>,
        outcomes: mpsc::Sender<BatchOutcome>,
        shutdown: CancellationToken,
    ) {
        for pending in pending {
            self.submissions.step(Event::Taken(pending));
        }
        let mut open = true;
        loop {
            let clock = self.clock.clone();
            let first = tokio::select! {
                () = shutdown.cancelled() => return,
                () = clock.sleep(self.poll_interval) => None,
                order = desk.orders.recv(), if open => {
                    open = order.is_some();
                    order
                }
            };
            // An effect under way is finished before a stop is obeyed; every one of them has a timeout.
            if let Err(error) = self.turn(first, &mut desk, &outcomes).await {
                tracing::error!(error = &error as &dyn std::error::Error, "submitter stops");
                return;
            }
        }
    }

    /// Takes all orders, looks at the chain, does what follows, and tells where it stands.
    async fn turn(
        &mut self,
        first: Option<Order>,
        desk: &mut Desk,
        outcomes: &mpsc::Sender<BatchOutcome>,
    ) -> Result<(), JournalError> {
        let mut next = first;
        while let Some(order) = next {
            self.orders_taken = self.orders_taken.saturating_add(1);
            match order {
                Order::Carry(pending) => drop(self.submissions.step(Event::Taken(*pending))),
                Order::Edit { batch, edit, reply } => self.edit(batch, edit, reply, desk, outcomes).await?,
            }
            next = desk.orders.try_recv().ok();
        }
        self.look(desk, outcomes).await?;
        let report = self.report();
        if desk.notices.send((desk.number, Notice::Report(report))).await.is_err() {
            tracing::debug!("nobody takes reports any more");
        }
        Ok(())
    }

    async fn edit(
        &mut self,
        batch: u64,
        edit: TxEdit,
        reply: oneshot::Sender<Result<TxDone, TxRefusal>>,
        desk: &Desk,
        outcomes: &mpsc::Sender<BatchOutcome>,
    ) -> Result<(), JournalError> {
        let effects = match self.submissions.edit(batch, edit, self.clock.unix_ms()) {
            Ok(effects) => effects,
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
                return Ok(());
            }
        };
        tracing::warn!(batch, ?edit, "an operator edits a transaction");
        let plan = effects.iter().find_map(|effect| match effect {
            Effect::Attempt(plan) => Some(*plan),
            _ => None,
        });
        let done = TxDone {
            batch,
            nonce: plan.map(|plan| plan.nonce),
            attempt: plan.map(|plan| plan.attempt),
            max_fee_drip: plan.map(|plan| plan.fees.max_fee_per_gas),
        };
        let performed = self.perform(effects, desk, outcomes).await;
        // Whoever asked may have gone meanwhile.
        let _ = reply.send(if performed.is_ok() { Ok(done) } else { Err(TxRefusal::Journal) });
        performed
    }

    fn report(&self) -> SignerReport {
        let signer = label(self.account.address());
        let in_flight = self.submissions.in_flight();
        let spendable_drip = self.submissions.spendable_drip();
        gauge!("signer_spendable_drip", "signer" => signer.clone()).set(spendable_drip as f64);
        gauge!("signer_in_flight", "signer" => signer).set(in_flight.transactions as f64);
        SignerReport {
            latest: self.submissions.latest(),
            room: self.submissions.room(),
            spendable_drip,
            max_fee_per_gas: self.submissions.max_fee_now(),
            orders_taken: self.orders_taken,
            lines: self.submissions.lines(),
        }
    }

    async fn look(&mut self, desk: &Desk, outcomes: &mpsc::Sender<BatchOutcome>) -> Result<(), JournalError> {
        let idle = self.submissions.is_empty() && !*desk.waiting.borrow();
        if idle && self.submissions.latest().is_some() {
            return Ok(());
        }
        match self.observe().await {
            Ok(observation) => {
                if std::mem::take(&mut self.endpoint_failing) {
                    tracing::info!("the submitter's endpoint answers again");
                }
                let effects = self.submissions.step(Event::Observed(observation));
                self.perform(effects, desk, outcomes).await
            }
            Err(error) => {
                self.report_failure(&error);
                Ok(())
            }
        }
    }

    fn report_failure(&mut self, error: &ChainError) {
        counter!("submit_look_failures_total").increment(1);
        if !std::mem::replace(&mut self.endpoint_failing, true) {
            tracing::warn!(error = error as &dyn std::error::Error, "the submitter's endpoint fails");
        }
    }

    /// Looks at the chain, and asks what the state machine wants to know.
    async fn observe(&mut self) -> Result<Observation, ChainError> {
        let account = self.account.address();
        let Heads { latest, safe, .. } = self.chain.heads().await?;
        let (nonce, balance, base_fee) =
            tokio::try_join!(self.chain.nonce(account), self.chain.balance(account), self.chain.base_fee())?;
        gauge!("signer_balance_drip", "signer" => label(account)).set(balance as f64);
        let questions = self.submissions.questions(latest, safe, nonce);
        let answers = join_all(questions.iter().map(|question| self.answer(question))).await;
        let mut sightings = Vec::with_capacity(questions.len());
        for (question, answer) in questions.iter().zip(answers) {
            match answer {
                Ok(sighting) => sightings.push((question.batch, sighting)),
                Err(error) => {
                    tracing::debug!(batch = question.batch, %error, "receipt not looked up");
                }
            }
        }
        Ok(Observation { latest, safe, nonce, balance, base_fee, sightings })
    }

    async fn answer(&self, question: &Question) -> Result<Sighting, ChainError> {
        let mut sighting = Sighting::default();
        for transaction in &question.transactions {
            sighting.receipts.push((*transaction, self.chain.receipt(*transaction).await?));
        }
        let missing = sighting.receipts.iter().all(|(_, receipt)| receipt.is_none());
        if let Some(known) = question.known.filter(|_| missing) {
            sighting.canonical = self.chain.block_hash(known.block).await?;
        }
        Ok(sighting)
    }

    async fn perform(
        &mut self,
        effects: Vec<Effect>,
        desk: &Desk,
        outcomes: &mpsc::Sender<BatchOutcome>,
    ) -> Result<(), JournalError> {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Append(record) => {
                    let mut records = vec![record];
                    while let Some(Effect::Append(_)) = queue.front() {
                        let Some(Effect::Append(record)) = queue.pop_front() else { break };
                        records.push(record);
                    }
                    self.append(records).await?;
                }
                Effect::Plan { .. } if !self.submissions.has_room() => {}
                Effect::Plan { batch } => {
                    let span = tracing::info_span!("submit", batch);
                    if let Some(event) = self.plan(batch).instrument(span).await {
                        // What follows a plan comes before the next plan: nonces are given out one by one.
                        push_front(&mut queue, self.submissions.step(event));
                    }
                }
                Effect::Attempt(plan) => {
                    let span = tracing::info_span!("submit", batch = plan.batch, nonce = plan.nonce);
                    let attempt = self.attempt(plan).instrument(span).await?;
                    push_front(&mut queue, self.submissions.step(Event::Durable(attempt)));
                }
                Effect::Broadcast { batch, raw } => {
                    let span = tracing::info_span!("submit", batch);
                    self.broadcast(&raw).instrument(span).await;
                }
                Effect::Report(outcome) => {
                    log_outcome(&outcome);
                    if outcomes.send(outcome).await.is_err() {
                        tracing::debug!(batch = outcome.batch, "nobody takes outcomes any more");
                    }
                }
                Effect::Return { pending, needed_drip } => {
                    let batch = pending.batch.batch;
                    let notice = Notice::Returned { pending, needed_drip };
                    if desk.notices.send((desk.number, notice)).await.is_err() {
                        tracing::debug!(batch, "nobody takes batches back any more");
                    }
                }
                Effect::NonceTaken { batch, nonce } => {
                    let signer = label(self.account.address());
                    tracing::error!(
                        batch,
                        nonce,
                        signer,
                        "somebody else uses this signer's key: a transaction that is not ours took the nonce"
                    );
                    counter!("foreign_nonces_total", "signer" => signer).increment(1);
                }
            }
        }
        Ok(())
    }

    async fn append(&self, records: Vec<Record>) -> Result<(), JournalError> {
        for record in &records {
            match record {
                Record::Mined { batch, transaction, block, succeeded, .. } => {
                    failpoint("confirm::before_mined");
                    let transaction = hex::encode(transaction);
                    tracing::info!(batch, transaction, block, succeeded, "batch mined");
                }
                Record::Unmined { batch } => tracing::warn!(batch, "the batch's block was reorganised away"),
                Record::Safe { .. } => failpoint("confirm::before_safe"),
                _ => {}
            }
        }
        self.sink.append(records).await
    }

    async fn plan(&self, batch: u64) -> Option<Event> {
        let record = self.submissions.batch(batch)?;
        match self.chain.estimate_gas(self.account.address(), record.to, &record.calldata).await {
            Ok(estimate) => match fees::gas_limit(estimate, record.calldata.len()) {
                Some(gas_limit) => Some(Event::Planned { batch, gas_limit }),
                None => {
                    tracing::error!(
                        estimate,
                        bytes = record.calldata.len(),
                        "batch does not fit a transaction"
                    );
                    Some(Event::Impossible { batch })
                }
            },
            Err(ChainError::Reverted { data, .. }) => {
                tracing::error!(revert = %hex::encode(&data), "batch would revert");
                Some(Event::Impossible { batch })
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "gas not estimated, asked again later"
                );
                Some(Event::Unplanned { batch })
            }
        }
    }

    async fn attempt(&self, plan: AttemptPlan) -> Result<AttemptRecord, JournalError> {
        let AttemptPlan { batch, kind, nonce, attempt, gas_limit, fees } = plan;
        let signer = self.account.signer().ok_or(JournalError::Closed)?;
        let record = self.submissions.batch(batch).ok_or(JournalError::Closed)?;
        let (to, calldata) = match kind {
            AttemptKind::Carry => (record.to, record.calldata.as_slice()),
            AttemptKind::Cancel => (signer.address(), [].as_slice()),
        };
        let call = Call { nonce, gas_limit, fees, to, calldata };
        // Signing fails only for a key that could not have been loaded.
        let (raw, transaction) =
            signer.sign(&call).map_err(|error| JournalError::Record { cause: error.to_string() })?;
        let record = AttemptRecord {
            batch,
            signer: signer.address(),
            nonce,
            attempt,
            gas_limit,
            max_fee_per_gas: fees.max_fee_per_gas,
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
            raw,
            transaction,
        };
        failpoint("submit::before_persist");
        let durable = match kind {
            AttemptKind::Carry => Record::Submitted(record.clone()),
            AttemptKind::Cancel => Record::CancelSubmitted(record.clone()),
        };
        self.sink.append(vec![durable]).await?;
        failpoint("submit::after_persist");
        counter!("submit_attempts_total").increment(1);
        tracing::info!(
            ?kind,
            attempt,
            gas_limit,
            max_fee_drip = fees.max_fee_per_gas,
            transaction = %hex::encode(transaction),
            "attempt durable"
        );
        Ok(record)
    }

    async fn broadcast(&self, raw: &[u8]) {
        match self.chain.send_raw(raw).await {
            Ok(()) => {
                counter!("broadcasts_total", "result" => "accepted").increment(1);
                failpoint("submit::after_broadcast");
            }
            // Nothing is concluded: the bytes go out again until a receipt tells.
            Err(error) => {
                counter!("broadcasts_total", "result" => "failed").increment(1);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "broadcast failed, sent again later"
                );
            }
        }
    }
}

fn push_front(queue: &mut VecDeque<Effect>, effects: Vec<Effect>) {
    effects.into_iter().rev().for_each(|effect| queue.push_front(effect));
}

/// A signer, as metrics and operators see it.
pub(in crate::pipeline) fn label(account: Address) -> String {
    format!("0x{}", hex::encode(account))
}

pub(in crate::pipeline) fn log_outcome(outcome: &BatchOutcome) {
    let kind = kind_label(outcome.kind);
    let result = match (outcome.succeeded, outcome.transaction) {
        (true, _) => "succeeded",
        _ if outcome.cancelled => "cancelled",
        (false, Some(_)) => "reverted",
        (false, None) => "unsent",
    };
    counter!("batch_outcomes_total", "kind" => kind, "result" => result).increment(1);
    counter!("gas_charged_total").increment(outcome.gas_charged);
    tracing::info!(
        batch = outcome.batch,
        kind,
        result,
        block = outcome.block,
        gas_used = outcome.gas_used,
        gas_charged = outcome.gas_charged,
        fee_drip = outcome.fee_drip,
        "batch ended"
    );
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
