//! The submitter: does what the state machine says, one effect after the other.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use metrics::{counter, gauge};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    AttemptPlan, BatchOutcome, Effect, Event, Observation, PendingBatch, Question, Submissions,
    SubmitterSettings,
};
use crate::chain::fees;
use crate::chain::signer::{Call, TransactionSigner};
use crate::chain::{ChainError, Heads, SharedChain};
use crate::clock::SharedClock;
use crate::error::JournalError;
use crate::failpoint::failpoint;
use crate::gateway::Gateway;
use crate::journal::Record;
use crate::journal::record::{AttemptRecord, BatchKind, BatchRecord};
use crate::pipeline::confirm::Sighting;

/// Blocks between looks at the signer's balance.
const BALANCE_INTERVAL_BLOCKS: u64 = 50;

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

/// The one owner of a signer.
#[derive(Debug)]
pub struct Submitter {
    chain: SharedChain,
    signer: TransactionSigner,
    sink: Arc<dyn RecordSink>,
    submissions: Submissions,
    clock: SharedClock,
    poll_interval: Duration,
    endpoint_failing: bool,
    balance_at: Option<u64>,
}

impl Submitter {
    /// A submitter with nothing under way.
    pub fn new(
        chain: SharedChain,
        signer: TransactionSigner,
        clock: SharedClock,
        sink: Arc<dyn RecordSink>,
        settings: SubmitterSettings,
    ) -> Self {
        let submissions = Submissions::new(signer.address(), settings);
        let poll_interval = Duration::from_millis(settings.poll_interval_ms);
        Self {
            chain,
            signer,
            clock,
            sink,
            submissions,
            poll_interval,
            endpoint_failing: false,
            balance_at: None,
        }
    }

    /// Takes up what the journal holds without an end, then submits what comes in until told to stop.
    ///
    /// Ends early when an append fails: then nothing may be sent any more, and recovery decides from what is durable.
    pub async fn run(
        mut self,
        mut batches: mpsc::Receiver<BatchRecord>,
        pending: Vec<PendingBatch>,
        outcomes: mpsc::Sender<BatchOutcome>,
        shutdown: CancellationToken,
    ) {
        self.submissions.restore(pending);
        let mut open = true;
        loop {
            let clock = self.clock.clone();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = clock.sleep(self.poll_interval) => {}
                batch = batches.recv(), if open => match batch {
                    Some(batch) => drop(self.submissions.step(Event::Cut(batch))),
                    None => open = false,
                },
            }
            while let Ok(batch) = batches.try_recv() {
                self.submissions.step(Event::Cut(batch));
            }
            // An effect under way is finished before a stop is obeyed; every one of them has a timeout.
            if let Err(error) = self.look(&outcomes).await {
                tracing::error!(error = &error as &dyn std::error::Error, "submitter stops");
                return;
            }
        }
    }

    async fn look(&mut self, outcomes: &mpsc::Sender<BatchOutcome>) -> Result<(), JournalError> {
        gauge!("batches_unfinished").set(self.submissions.len() as f64);
        if self.submissions.is_empty() && self.balance_at.is_some() {
            return Ok(());
        }
        match self.observe().await {
            Ok(observation) => {
                if std::mem::take(&mut self.endpoint_failing) {
                    tracing::info!("the submitter's endpoint answers again");
                }
                let effects = self.submissions.step(Event::Observed(observation));
                self.perform(effects, outcomes).await
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
        let account = self.signer.address();
        let Heads { latest, safe, .. } = self.chain.heads().await?;
        if self.balance_at.is_none_or(|at| latest >= at.saturating_add(BALANCE_INTERVAL_BLOCKS)) {
            let balance = self.chain.balance(account).await?;
            gauge!("signer_balance_drip").set(balance as f64);
            self.balance_at = Some(latest);
        }
        let (nonce, base_fee) = tokio::try_join!(self.chain.nonce(account), self.chain.base_fee())?;
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
        Ok(Observation { latest, safe, nonce, base_fee, sightings })
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
                    report(&outcome);
                    if outcomes.send(outcome).await.is_err() {
                        tracing::debug!(batch = outcome.batch, "nobody takes outcomes any more");
                    }
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
        match self.chain.estimate_gas(self.signer.address(), record.to, &record.calldata).await {
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
                None
            }
        }
    }

    async fn attempt(&self, plan: AttemptPlan) -> Result<AttemptRecord, JournalError> {
        let record = self.submissions.batch(plan.batch).ok_or(JournalError::Closed)?;
        let AttemptPlan { batch, nonce, attempt, gas_limit, fees } = plan;
        let call = Call { nonce, gas_limit, fees, to: record.to, calldata: &record.calldata };
        // Signing fails only for a key that could not have been loaded.
        let (raw, transaction) =
            self.signer.sign(&call).map_err(|error| JournalError::Write(Box::new(error)))?;
        let record = AttemptRecord {
            batch,
            signer: self.signer.address(),
            nonce,
            attempt,
            gas_limit,
            max_fee_per_gas: fees.max_fee_per_gas,
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
            raw,
            transaction,
        };
        failpoint("submit::before_persist");
        self.sink.append(vec![Record::Submitted(record.clone())]).await?;
        failpoint("submit::after_persist");
        counter!("submit_attempts_total").increment(1);
        tracing::info!(
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

fn report(outcome: &BatchOutcome) {
    let kind = match outcome.kind {
        BatchKind::Record => "record",
        BatchKind::Extend => "extend",
        BatchKind::Advance => "advance",
    };
    let result = match (outcome.succeeded, outcome.transaction) {
        (true, _) => "succeeded",
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
