//! The state machine by itself, then the submitter on a scripted chain.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::*;
use crate::chain::signer::TransactionSigner;
use crate::chain::{Chain, ChainError, DeviceEvent, HeadEvent, Heads, LedgerEvent, Receipt};
use crate::clock::Clock;
use crate::error::JournalError;
use crate::view::Policy;

const GDRIP: u128 = 1_000_000_000;
const SIGNER: Address = [0xee; 20];

fn settings() -> SubmitterSettings {
    SubmitterSettings {
        fees: FeePolicy { max_fee_per_gas_cap: 100 * GDRIP, tip_per_gas: GDRIP },
        rebroadcast_blocks: 5,
        replace_blocks: 60,
        poll_interval_ms: 1_000,
    }
}

fn batch(number: u64) -> BatchRecord {
    BatchRecord {
        batch: number,
        kind: BatchKind::Record,
        epoch: 3,
        to: [9; 20],
        calldata: vec![1, 2, 3],
        members: Vec::new(),
        expires_block: 10_000,
    }
}

fn receipt(block: u64, block_hash: u8) -> Receipt {
    Receipt { succeeded: true, block, block_hash: [block_hash; 32], gas_used: 50_000, fee_drip: 7 }
}

/// What an executor would store for a plan: bytes that name nonce and attempt.
fn attempt(plan: &AttemptPlan) -> AttemptRecord {
    let tag = [u8::try_from(plan.nonce).unwrap(), u8::try_from(plan.attempt).unwrap()];
    let mut transaction = [0; 32];
    transaction[..2].copy_from_slice(&tag);
    AttemptRecord {
        batch: plan.batch,
        signer: SIGNER,
        nonce: plan.nonce,
        attempt: plan.attempt,
        gas_limit: plan.gas_limit,
        max_fee_per_gas: plan.fees.max_fee_per_gas,
        max_priority_fee_per_gas: plan.fees.max_priority_fee_per_gas,
        raw: tag.to_vec(),
        transaction,
    }
}

fn look(latest: u64, safe: u64, nonce: u64) -> Observation {
    Observation { latest, safe, nonce, base_fee: 20 * GDRIP, sightings: Vec::new() }
}

fn sighted(observation: Observation, batch: u64, receipts: &[(Hash, Option<Receipt>)]) -> Event {
    let sighting = Sighting { receipts: receipts.to_vec(), canonical: None };
    Event::Observed(Observation { sightings: vec![(batch, sighting)], ..observation })
}

fn planned(submissions: &mut Submissions, batch: u64) -> AttemptPlan {
    match submissions.step(Event::Planned { batch, gas_limit: 60_000 }).as_slice() {
        [Effect::Attempt(plan)] => *plan,
        other => panic!("{other:?}"),
    }
}

fn submitted(submissions: &mut Submissions, batch: u64) -> AttemptRecord {
    let record = attempt(&planned(submissions, batch));
    submissions.step(Event::Durable(record.clone()));
    record
}

/// Batch 1 with nonce 4, sent at block 100.
fn one_in_flight() -> (Submissions, AttemptRecord) {
    let mut submissions = Submissions::new(SIGNER, settings());
    submissions.step(Event::Cut(batch(1)));
    assert_eq!(submissions.step(Event::Observed(look(100, 40, 4))), [Effect::Plan { batch: 1 }]);
    let record = submitted(&mut submissions, 1);
    (submissions, record)
}

#[test]
fn nothing_is_broadcast_before_it_is_durable() {
    let mut submissions = Submissions::new(SIGNER, settings());
    assert!(submissions.step(Event::Cut(batch(1))).is_empty());
    submissions.step(Event::Observed(look(100, 40, 4)));
    let plan = planned(&mut submissions, 1);
    assert_eq!((plan.nonce, plan.attempt), (4, 1));
    let record = attempt(&plan);
    let effects = submissions.step(Event::Durable(record.clone()));
    assert_eq!(effects, [Effect::Broadcast { batch: 1, raw: record.raw }]);
}

#[test]
fn nonce_never_leads_durable_raw_tx() {
    let mut submissions = Submissions::new(SIGNER, settings());
    submissions.step(Event::Cut(batch(1)));
    submissions.step(Event::Cut(batch(2)));
    submissions.step(Event::Observed(look(100, 40, 4)));
    let first = planned(&mut submissions, 1);
    let early = submissions.step(Event::Planned { batch: 2, gas_limit: 60_000 });
    assert!(early.is_empty(), "no second nonce while the first has no durable bytes");
    submissions.step(Event::Durable(attempt(&first)));
    let effects = submissions.step(Event::Observed(look(101, 40, 4)));
    assert_eq!(effects, [Effect::Plan { batch: 2 }], "it is asked again");
    assert_eq!(planned(&mut submissions, 2).nonce, 5);
}

#[test]
fn a_lagging_endpoint_does_not_lower_the_nonce() {
    let (mut submissions, first) = one_in_flight();
    submissions.step(Event::Cut(batch(2)));
    submissions.step(Event::Observed(look(101, 40, 2)));
    assert_eq!(planned(&mut submissions, 2).nonce, first.nonce + 1);
}

#[test]
fn rebroadcasts_send_the_identical_bytes() {
    let (mut submissions, record) = one_in_flight();
    assert!(submissions.step(Event::Observed(look(104, 44, 4))).is_empty());
    let again = [Effect::Broadcast { batch: 1, raw: record.raw }];
    assert_eq!(submissions.step(Event::Observed(look(105, 45, 4))), again);
    assert!(submissions.step(Event::Observed(look(106, 46, 4))).is_empty());
    assert_eq!(submissions.step(Event::Observed(look(110, 50, 4))), again);
}

#[test]
fn a_replacement_keeps_the_nonce_and_pays_at_least_two_percent_more() {
    let (mut submissions, record) = one_in_flight();
    let effects = submissions.step(Event::Observed(look(160, 100, 4)));
    let Some(Effect::Attempt(plan)) = effects.last() else { panic!("{effects:?}") };
    assert_eq!((plan.nonce, plan.attempt, plan.gas_limit), (record.nonce, 2, record.gas_limit));
    assert!(plan.fees.max_fee_per_gas * 100 >= record.max_fee_per_gas * 102);
    let second = attempt(plan);
    submissions.step(Event::Durable(second.clone()));
    let questions = submissions.questions(161, 100, 5);
    assert_eq!(questions[0].transactions, [record.transaction, second.transaction], "either may be mined");
}

#[test]
fn only_the_lowest_nonce_is_replaced() {
    let (mut submissions, _) = one_in_flight();
    submissions.step(Event::Cut(batch(2)));
    submissions.step(Event::Observed(look(101, 41, 4)));
    submitted(&mut submissions, 2);
    let effects = submissions.step(Event::Observed(look(170, 110, 4)));
    let replaced: Vec<u64> = effects
        .iter()
        .filter_map(|effect| if let Effect::Attempt(plan) = effect { Some(plan.batch) } else { None })
        .collect();
    assert_eq!(replaced, [1]);
}

#[test]
fn at_the_cap_it_waits_and_keeps_sending() {
    let (mut submissions, record) = one_in_flight();
    let capped = AttemptRecord { attempt: 2, max_fee_per_gas: 100 * GDRIP, ..record };
    submissions.step(Event::Durable(capped.clone()));
    let effects = submissions.step(Event::Observed(look(500, 400, 4)));
    assert_eq!(effects, [Effect::Broadcast { batch: 1, raw: capped.raw }]);
}

#[test]
fn a_missing_receipt_is_unknown_even_when_the_nonce_is_gone() {
    let (mut submissions, record) = one_in_flight();
    let effects = submissions.step(sighted(look(110, 50, 5), 1, &[(record.transaction, None)]));
    assert!(effects.is_empty(), "neither failure nor another attempt: {effects:?}");
    let effects =
        submissions.step(sighted(look(111, 51, 5), 1, &[(record.transaction, Some(receipt(109, 1)))]));
    assert!(matches!(effects.as_slice(), [Effect::Append(Record::Mined { block: 109, .. })]));
}

#[test]
fn a_foreign_transaction_costs_the_batch_its_nonce_only_under_safe() {
    let (mut submissions, record) = one_in_flight();
    let none = [(record.transaction, None)];
    assert!(submissions.step(sighted(look(110, 50, 5), 1, &none)).is_empty());
    assert!(submissions.step(sighted(look(160, 109, 5), 1, &none)).is_empty());
    assert_eq!(submissions.step(sighted(look(161, 110, 5), 1, &none)), [Effect::Plan { batch: 1 }]);
    let plan = planned(&mut submissions, 1);
    assert_eq!((plan.nonce, plan.attempt), (5, 2));
}

#[test]
fn a_foreign_transaction_that_is_reorganised_away_costs_nothing() {
    let (mut submissions, record) = one_in_flight();
    submissions.step(sighted(look(110, 50, 5), 1, &[(record.transaction, None)]));
    let freed = submissions.step(Event::Observed(look(120, 60, 4)));
    assert_eq!(freed, [Effect::Broadcast { batch: 1, raw: record.raw }]);
    let effects = submissions.step(sighted(look(125, 115, 5), 1, &[(record.transaction, None)]));
    assert!(effects.is_empty(), "the wait for `safe` begins anew: {effects:?}");
}

#[test]
fn safe_is_told_once_and_only_after_it_is_durable() {
    let (mut submissions, record) = one_in_flight();
    let seen = [(record.transaction, Some(receipt(109, 1)))];
    submissions.step(sighted(look(110, 50, 5), 1, &seen));
    assert!(submissions.questions(112, 60, 5).is_empty(), "nothing to ask before safe or the recheck");
    let effects = submissions.step(sighted(look(165, 109, 5), 1, &seen));
    let [Effect::Append(Record::Safe { batch: 1, block: 109, .. }), Effect::Report(outcome)] =
        effects.as_slice()
    else {
        panic!("{effects:?}")
    };
    assert!(outcome.succeeded);
    assert_eq!((outcome.gas_used, outcome.gas_charged, outcome.fee_drip), (50_000, 50_000, 7));
    assert!(submissions.is_empty());
}

#[test]
fn a_reorganisation_unmines_and_sends_the_stored_bytes_again() {
    let (mut submissions, record) = one_in_flight();
    submissions.step(sighted(look(110, 50, 5), 1, &[(record.transaction, Some(receipt(109, 1)))]));
    assert!(!submissions.questions(112, 50, 4).is_empty(), "a nonce that is free again is a sign");
    let gone = Sighting { receipts: vec![(record.transaction, None)], canonical: Some([2; 32]) };
    let observation = Observation { sightings: vec![(1, gone)], ..look(112, 50, 4) };
    assert_eq!(
        submissions.step(Event::Observed(observation)),
        [
            Effect::Append(Record::Unmined { batch: 1 }),
            Effect::Broadcast { batch: 1, raw: record.raw.clone() }
        ]
    );
    let moved =
        submissions.step(sighted(look(130, 70, 5), 1, &[(record.transaction, Some(receipt(128, 3)))]));
    assert!(matches!(moved.as_slice(), [Effect::Append(Record::Mined { block: 128, .. })]));
}

#[test]
fn no_more_than_the_bound_are_in_flight() {
    let mut submissions = Submissions::new(SIGNER, settings());
    for number in 1..=40 {
        submissions.step(Event::Cut(batch(number)));
    }
    let plans = submissions.step(Event::Observed(look(100, 40, 4)));
    assert_eq!(plans.len(), IN_FLIGHT_MAX);
    for number in 1..=16 {
        submitted(&mut submissions, number);
    }
    assert!(submissions.step(Event::Observed(look(101, 41, 4))).is_empty());
}

#[test]
fn an_impossible_batch_ends_without_burning_a_nonce() {
    let mut submissions = Submissions::new(SIGNER, settings());
    submissions.step(Event::Cut(batch(1)));
    submissions.step(Event::Cut(batch(2)));
    submissions.step(Event::Observed(look(100, 40, 4)));
    let effects = submissions.step(Event::Impossible { batch: 1 });
    assert!(matches!(
        effects.as_slice(),
        [Effect::Report(BatchOutcome { batch: 1, succeeded: false, transaction: None, .. })]
    ));
    assert_eq!(planned(&mut submissions, 2).nonce, 4);
}

#[test]
fn an_expired_batch_is_given_up_only_without_a_nonce() {
    let (mut submissions, record) = one_in_flight();
    submissions.step(Event::Cut(batch(2)));
    let effects = submissions.step(Event::Observed(look(10_000, 9_900, 4)));
    assert!(effects.contains(&Effect::Broadcast { batch: 1, raw: record.raw }), "no gap is left");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Report(outcome) if outcome.batch == 2)));
}

#[test]
fn restored_at_each_point_it_goes_on_where_it_was() {
    let (_, record) = one_in_flight();
    let restored = |attempts: &[AttemptRecord], mined| {
        let mut submissions = Submissions::new(SIGNER, settings());
        submissions.restore(vec![PendingBatch { batch: batch(1), attempts: attempts.to_vec(), mined }]);
        submissions
    };
    // Cut, nothing else.
    let mut submissions = restored(&[], None);
    assert_eq!(submissions.step(Event::Observed(look(100, 40, 4))), [Effect::Plan { batch: 1 }]);
    // Durable, perhaps never sent: the same bytes, and no other nonce.
    let mut submissions = restored(std::slice::from_ref(&record), None);
    let again = [Effect::Broadcast { batch: 1, raw: record.raw.clone() }];
    assert_eq!(submissions.step(Event::Observed(look(100, 40, 4))), again);
    submissions.step(Event::Cut(batch(2)));
    submissions.step(Event::Observed(look(101, 40, 4)));
    assert_eq!(planned(&mut submissions, 2).nonce, 5);
    // Mined while we were away.
    let mut submissions = restored(std::slice::from_ref(&record), None);
    assert_eq!(submissions.questions(120, 60, 5)[0].transactions, [record.transaction]);
    let seen = [(record.transaction, Some(receipt(109, 1)))];
    let effects = submissions.step(sighted(look(120, 60, 5), 1, &seen));
    assert!(matches!(effects.as_slice(), [Effect::Append(Record::Mined { .. })]));
    // Known as mined.
    let known =
        Inclusion { transaction: record.transaction, block: 109, block_hash: [1; 32], succeeded: true };
    let mut submissions = restored(&[record], Some(known));
    let effects = submissions.step(sighted(look(170, 109, 5), 1, &seen));
    assert!(matches!(effects.as_slice(), [Effect::Append(Record::Safe { .. }), Effect::Report(_)]));
}

#[test]
fn a_batch_cut_again_by_a_restart_is_one_batch() {
    let (mut submissions, _) = one_in_flight();
    submissions.step(Event::Cut(batch(1)));
    assert_eq!(submissions.len(), 1);
    assert!(submissions.step(Event::Observed(look(101, 41, 4))).is_empty(), "no second nonce");
}

/// A chain that does as it is told, and the log of what happened around it.
#[derive(Debug, Default)]
struct World {
    log: Mutex<Vec<String>>,
    heads: Mutex<Heads>,
    nonce: Mutex<u64>,
    sent: Mutex<Vec<Vec<u8>>>,
    receipts: Mutex<HashMap<Hash, Receipt>>,
    records: Mutex<Vec<Record>>,
    refuse_appends: Mutex<bool>,
    reverts: Mutex<bool>,
    turn: Notify,
}

impl World {
    fn note(&self, what: &str) {
        self.log.lock().unwrap().push(what.to_owned());
    }

    fn submitted(&self) -> Vec<AttemptRecord> {
        let records = self.records.lock().unwrap();
        let attempts = records.iter().filter_map(|record| match record {
            Record::Submitted(attempt) => Some(attempt.clone()),
            _ => None,
        });
        attempts.collect()
    }
}

#[async_trait]
impl RecordSink for World {
    async fn append(&self, records: Vec<Record>) -> Result<(), JournalError> {
        if *self.refuse_appends.lock().unwrap() {
            return Err(JournalError::Closed);
        }
        for record in records {
            let what = match &record {
                Record::Submitted(_) => "stored",
                Record::Mined { .. } => "mined",
                Record::Safe { .. } => "safe",
                _ => "other",
            };
            self.note(what);
            self.records.lock().unwrap().push(record);
        }
        Ok(())
    }
}

/// Each sleep ends when the test says so.
#[async_trait]
impl Clock for World {
    fn unix_ms(&self) -> u64 {
        0
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }

    async fn sleep(&self, _: Duration) {
        self.turn.notified().await;
    }
}

#[async_trait]
impl Chain for World {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        Ok(1235)
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        Ok(*self.heads.lock().unwrap())
    }

    async fn block_hash(&self, _: u64) -> Result<Option<Hash>, ChainError> {
        Ok(None)
    }

    async fn policies(&self, _: u64, _: u64) -> Result<Vec<Policy>, ChainError> {
        Ok(Vec::new())
    }

    async fn device_events(&self, _: u64, _: u64) -> Result<Vec<DeviceEvent>, ChainError> {
        Ok(Vec::new())
    }

    async fn head_events(&self, _: u64, _: u64) -> Result<Vec<HeadEvent>, ChainError> {
        Ok(Vec::new())
    }

    async fn ledger_events(&self, _: u64, _: u64) -> Result<Vec<LedgerEvent>, ChainError> {
        Ok(Vec::new())
    }

    async fn nonce(&self, _: Address) -> Result<u64, ChainError> {
        Ok(*self.nonce.lock().unwrap())
    }

    async fn balance(&self, _: Address) -> Result<u128, ChainError> {
        Ok(u128::MAX)
    }

    async fn base_fee(&self) -> Result<u128, ChainError> {
        Ok(20 * GDRIP)
    }

    async fn estimate_gas(&self, _: Address, _: Address, _: &[u8]) -> Result<u64, ChainError> {
        if *self.reverts.lock().unwrap() {
            return Err(ChainError::Reverted { method: "eth_estimateGas", data: vec![1] });
        }
        Ok(60_000)
    }

    async fn send_raw(&self, raw: &[u8]) -> Result<(), ChainError> {
        self.note("sent");
        self.sent.lock().unwrap().push(raw.to_vec());
        Ok(())
    }

    async fn receipt(&self, transaction: Hash) -> Result<Option<Receipt>, ChainError> {
        Ok(self.receipts.lock().unwrap().get(&transaction).copied())
    }

    async fn has_code(&self, _: Address) -> Result<bool, ChainError> {
        Ok(true)
    }
}

struct Running {
    batches: mpsc::Sender<BatchRecord>,
    outcomes: mpsc::Receiver<BatchOutcome>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn start(world: &Arc<World>, pending: Vec<PendingBatch>) -> Running {
    let key = Zeroizing::new("11".repeat(32));
    let signer = TransactionSigner::from_hex(&key, 1235).unwrap();
    let submitter = Submitter::new(world.clone(), signer, world.clone(), world.clone(), settings());
    let (batches, batches_in) = mpsc::channel(4);
    let (outcomes_out, outcomes) = mpsc::channel(4);
    let stop = CancellationToken::new();
    let task = tokio::spawn(submitter.run(batches_in, pending, outcomes_out, stop.clone()));
    Running { batches, outcomes, stop, task }
}

/// Lets the submitter look at the chain until `done` holds.
async fn until(world: &World, done: impl Fn(&World) -> bool) {
    for _ in 0..1_000 {
        if done(world) {
            return;
        }
        world.turn.notify_one();
        tokio::task::yield_now().await;
    }
    panic!("not reached: {:?}", world.log.lock().unwrap());
}

fn world(latest: u64, safe: u64, nonce: u64) -> Arc<World> {
    let world = World::default();
    *world.heads.lock().unwrap() = Heads { latest, safe, finalized: 0 };
    *world.nonce.lock().unwrap() = nonce;
    Arc::new(world)
}

#[tokio::test]
async fn a_batch_is_stored_sent_mined_and_safe_in_this_order() {
    let world = world(100, 40, 4);
    let mut running = start(&world, Vec::new());
    running.batches.send(batch(1)).await.unwrap();
    until(&world, |world| !world.sent.lock().unwrap().is_empty()).await;
    let attempt = world.submitted()[0].clone();
    assert_eq!(world.sent.lock().unwrap()[0], attempt.raw, "what is sent is what was stored");
    world.receipts.lock().unwrap().insert(attempt.transaction, receipt(101, 1));
    *world.nonce.lock().unwrap() = 5;
    *world.heads.lock().unwrap() = Heads { latest: 102, safe: 101, finalized: 0 };
    until(&world, |world| world.log.lock().unwrap().contains(&"safe".to_owned())).await;
    let outcome = running.outcomes.recv().await.unwrap();
    assert_eq!((outcome.batch, outcome.succeeded, outcome.block), (1, true, 101));
    assert_eq!(*world.log.lock().unwrap(), ["stored", "sent", "mined", "safe"]);
    running.stop.cancel();
    running.task.await.unwrap();
}

#[tokio::test]
async fn when_the_disk_fails_nothing_is_sent_and_the_submitter_ends() {
    let world = world(100, 40, 4);
    *world.refuse_appends.lock().unwrap() = true;
    let running = start(&world, Vec::new());
    running.batches.send(batch(1)).await.unwrap();
    running.task.await.unwrap();
    assert!(world.sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn stored_bytes_that_were_never_sent_are_sent_after_a_restart_and_nothing_else() {
    let first = world(100, 40, 4);
    let running = start(&first, Vec::new());
    running.batches.send(batch(1)).await.unwrap();
    until(&first, |world| !world.submitted().is_empty()).await;
    running.stop.cancel();
    running.task.await.unwrap();
    let attempts = first.submitted();

    let second = world(100, 40, 4);
    let pending = PendingBatch { batch: batch(1), attempts: attempts.clone(), mined: None };
    let running = start(&second, vec![pending]);
    until(&second, |world| !world.sent.lock().unwrap().is_empty()).await;
    running.stop.cancel();
    running.task.await.unwrap();
    assert_eq!(*second.sent.lock().unwrap(), [attempts[0].raw.clone()]);
    assert!(second.submitted().is_empty(), "no second attempt");
}

#[tokio::test]
async fn a_batch_that_would_revert_ends_unsent() {
    let world = world(100, 40, 4);
    *world.reverts.lock().unwrap() = true;
    let mut running = start(&world, Vec::new());
    running.batches.send(batch(1)).await.unwrap();
    let outcome = running.outcomes.recv().await.unwrap();
    assert!(!outcome.succeeded && outcome.transaction.is_none());
    assert!(world.log.lock().unwrap().is_empty(), "no nonce, no bytes, no fee");
    running.stop.cancel();
    running.task.await.unwrap();
}
