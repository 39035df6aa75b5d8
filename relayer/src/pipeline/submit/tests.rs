//! The state machine by itself.

use super::*;
use crate::chain::Receipt;

pub(super) const GDRIP: u128 = 1_000_000_000;
pub(super) const SIGNER: Address = [0xee; 20];

pub(super) fn settings() -> SubmitterSettings {
    SubmitterSettings {
        fees: FeePolicy { max_fee_per_gas_cap: 100 * GDRIP, tip_per_gas: GDRIP },
        rebroadcast_blocks: 5,
        replace_blocks: 60,
        poll_interval_ms: 1_000,
    }
}

pub(super) fn batch(number: u64) -> BatchRecord {
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

pub(super) fn pending(number: u64) -> PendingBatch {
    PendingBatch::new(batch(number))
}

pub(super) fn taken(number: u64) -> Event {
    Event::Taken(pending(number))
}

pub(super) fn receipt(block: u64, block_hash: u8) -> Receipt {
    Receipt { succeeded: true, block, block_hash: [block_hash; 32], gas_used: 50_000, fee_drip: 7 }
}

/// What an executor would store for a plan: bytes that name nonce and attempt.
pub(super) fn attempt(plan: &AttemptPlan) -> AttemptRecord {
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

pub(super) fn look(latest: u64, safe: u64, nonce: u64) -> Observation {
    Observation { latest, safe, nonce, balance: u128::MAX, base_fee: 20 * GDRIP, sightings: Vec::new() }
}

pub(super) fn sighted(observation: Observation, batch: u64, receipts: &[(Hash, Option<Receipt>)]) -> Event {
    let sighting = Sighting { receipts: receipts.to_vec(), canonical: None };
    Event::Observed(Observation { sightings: vec![(batch, sighting)], ..observation })
}

pub(super) fn planned(submissions: &mut Submissions, batch: u64) -> AttemptPlan {
    match submissions.step(Event::Planned { batch, gas_limit: 60_000 }).as_slice() {
        [Effect::Attempt(plan)] => *plan,
        other => panic!("{other:?}"),
    }
}

pub(super) fn submitted(submissions: &mut Submissions, batch: u64) -> AttemptRecord {
    let record = attempt(&planned(submissions, batch));
    submissions.step(Event::Durable(record.clone()));
    record
}

/// Batch 1 with nonce 4, sent at block 100.
pub(super) fn one_in_flight() -> (Submissions, AttemptRecord) {
    let mut submissions = Submissions::new(SIGNER, true, settings());
    submissions.step(taken(1));
    assert_eq!(submissions.step(Event::Observed(look(100, 40, 4))), [Effect::Plan { batch: 1 }]);
    let record = submitted(&mut submissions, 1);
    (submissions, record)
}

#[test]
fn nothing_is_broadcast_before_it_is_durable() {
    let mut submissions = Submissions::new(SIGNER, true, settings());
    assert!(submissions.step(taken(1)).is_empty());
    submissions.step(Event::Observed(look(100, 40, 4)));
    let plan = planned(&mut submissions, 1);
    assert_eq!((plan.nonce, plan.attempt), (4, 1));
    let record = attempt(&plan);
    let effects = submissions.step(Event::Durable(record.clone()));
    assert_eq!(effects, [Effect::Broadcast { batch: 1, raw: record.raw }]);
}

#[test]
fn a_nonce_never_leads_durable_bytes() {
    let mut submissions = Submissions::new(SIGNER, true, settings());
    submissions.step(taken(1));
    submissions.step(taken(2));
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
    submissions.step(taken(2));
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
    submissions.step(taken(2));
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
    assert_eq!(
        submissions.step(sighted(look(161, 110, 5), 1, &none)),
        [Effect::NonceTaken { batch: 1, nonce: 4 }, Effect::Plan { batch: 1 }]
    );
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
fn a_signer_has_two_blocks_of_fifty_transactions_in_flight_and_no_more() {
    let mut submissions = Submissions::new(SIGNER, true, settings());
    for number in 1..=120 {
        submissions.step(taken(number));
    }
    let mut nonces = Vec::new();
    for latest in 100..120 {
        for effect in submissions.step(Event::Observed(look(latest, 40, 4))) {
            let Effect::Plan { batch } = effect else { continue };
            let effects = submissions.step(Event::Planned { batch, gas_limit: 30_000 });
            let [Effect::Attempt(plan)] = effects.as_slice() else { panic!("{effects:?}") };
            nonces.push(plan.nonce);
            submissions.step(Event::Durable(attempt(plan)));
        }
    }
    assert_eq!(nonces, (4..104).collect::<Vec<u64>>(), "contiguous");
    assert_eq!(submissions.room().transactions, 0);
}

#[test]
fn an_impossible_batch_ends_without_burning_a_nonce() {
    let mut submissions = Submissions::new(SIGNER, true, settings());
    submissions.step(taken(1));
    submissions.step(taken(2));
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
    submissions.step(taken(2));
    let effects = submissions.step(Event::Observed(look(10_000, 9_900, 4)));
    assert!(effects.contains(&Effect::Broadcast { batch: 1, raw: record.raw }), "no gap is left");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Report(outcome) if outcome.batch == 2)));
}

#[test]
fn restored_at_each_point_it_goes_on_where_it_was() {
    let (_, record) = one_in_flight();
    let restored = |attempts: &[AttemptRecord], mined| {
        let mut submissions = Submissions::new(SIGNER, true, settings());
        submissions.step(Event::Taken(PendingBatch { attempts: attempts.to_vec(), mined, ..pending(1) }));
        submissions
    };
    // Cut, nothing else.
    let mut submissions = restored(&[], None);
    assert_eq!(submissions.step(Event::Observed(look(100, 40, 4))), [Effect::Plan { batch: 1 }]);
    // Durable, perhaps never sent: the same bytes, and no other nonce.
    let mut submissions = restored(std::slice::from_ref(&record), None);
    let again = [Effect::Broadcast { batch: 1, raw: record.raw.clone() }];
    assert_eq!(submissions.step(Event::Observed(look(100, 40, 4))), again);
    submissions.step(taken(2));
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
    submissions.step(taken(1));
    assert_eq!(submissions.len(), 1);
    assert!(submissions.step(Event::Observed(look(101, 41, 4))).is_empty(), "no second nonce");
}
