//! What went wrong in other relayers, one test each.

use std::collections::BTreeSet;

use super::tests::*;
use super::*;
use crate::journal::record::TxEdit;

/// Batches 1, 2, … with nonces 4, 5, …, sent at block 100.
fn in_flight(count: u64) -> (Submissions, Vec<AttemptRecord>) {
    let mut submissions = Submissions::new(SIGNER, true, settings());
    (1..=count).for_each(|number| drop(submissions.step(taken(number))));
    submissions.step(Event::Observed(look(100, 40, 4)));
    let attempts = (1..=count).map(|number| submitted(&mut submissions, number)).collect();
    (submissions, attempts)
}

fn attempts_in(effects: &[Effect]) -> Vec<AttemptPlan> {
    let plans = effects.iter().filter_map(|effect| match effect {
        Effect::Attempt(plan) => Some(*plan),
        _ => None,
    });
    plans.collect()
}

/// An edit's attempt, made durable.
fn edited(submissions: &mut Submissions, batch: u64, edit: TxEdit) -> AttemptRecord {
    let effects = submissions.edit(batch, edit, 0).unwrap();
    let [Effect::Append(Record::TxEdited { .. }), Effect::Attempt(plan)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let record = attempt(plan);
    let sent = submissions.step(Event::Durable(record.clone()));
    assert_eq!(sent, [Effect::Broadcast { batch, raw: record.raw.clone() }]);
    record
}

#[test]
fn two_batches_of_one_signer_never_share_a_nonce() {
    let mut submissions = Submissions::new(SIGNER, true, settings());
    let mut nonces = BTreeSet::new();
    // An endpoint whose nonce trails, jumps and comes back, while batches keep coming.
    for (round, nonce) in [4, 4, 6, 3, 9, 5, 0, 12, 11].into_iter().enumerate() {
        let round = round as u64;
        (1..=3).for_each(|part| drop(submissions.step(taken(round * 3 + part))));
        for effect in submissions.step(Event::Observed(look(100 + round, 40, nonce))) {
            let Effect::Plan { batch } = effect else { continue };
            for plan in attempts_in(&submissions.step(Event::Planned { batch, gas_limit: 60_000 })) {
                assert!(nonces.insert(plan.nonce), "nonce {} twice", plan.nonce);
                submissions.step(Event::Durable(attempt(&plan)));
            }
        }
    }
    assert_eq!(nonces.len(), 27);
}

#[test]
fn a_restart_gives_no_stored_nonce_to_another_batch() {
    let (_, attempts) = in_flight(3);
    let mut submissions = Submissions::new(SIGNER, true, settings());
    for record in attempts {
        let batch = record.batch;
        submissions.step(Event::Taken(PendingBatch { attempts: vec![record], ..pending(batch) }));
    }
    submissions.step(taken(4));
    // They are in some pool: the executed nonce does not know them.
    submissions.step(Event::Observed(look(101, 41, 4)));
    assert_eq!(planned(&mut submissions, 4).nonce, 7);
}

#[test]
fn nonces_stay_within_the_window_that_the_chain_accepts() {
    let mut submissions = Submissions::new(SIGNER, true, settings());
    let record = AttemptRecord { nonce: 2_003, ..in_flight(1).1.remove(0) };
    submissions.step(Event::Taken(PendingBatch { attempts: vec![record], ..pending(1) }));
    submissions.step(taken(2));
    submissions.step(Event::Observed(look(100, 40, 4)));
    assert!(submissions.step(Event::Planned { batch: 2, gas_limit: 60_000 }).is_empty());
    submissions.step(Event::Observed(look(101, 41, 5)));
    assert_eq!(planned(&mut submissions, 2).nonce, 2_004);
}

#[test]
fn a_transaction_bigger_than_a_blocks_share_waits_and_is_not_overtaken() {
    let (mut submissions, attempts) = in_flight(1);
    submissions.step(taken(2));
    submissions.step(taken(3));
    let plans = submissions.step(Event::Observed(look(101, 41, 4)));
    assert_eq!(plans, [Effect::Plan { batch: 2 }, Effect::Plan { batch: 3 }]);
    assert!(submissions.step(Event::Planned { batch: 2, gas_limit: 12_000_000 }).is_empty());
    assert!(!submissions.has_room(), "those after it wait, or it would wait for ever");
    assert!(submissions.step(Event::Planned { batch: 3, gas_limit: 60_000 }).is_empty());
    let mined = [(attempts[0].transaction, Some(receipt(101, 1)))];
    submissions.step(sighted(look(102, 42, 5), 1, &mined));
    let effects = submissions.step(Event::Planned { batch: 2, gas_limit: 12_000_000 });
    assert_eq!(attempts_in(&effects)[0].nonce, 5, "alone it goes");
}

#[test]
fn a_cancel_replaces_the_nonce_and_blocks_nobody() {
    let (mut submissions, attempts) = in_flight(3);
    let cancel = edited(&mut submissions, 2, TxEdit::Cancel);
    assert_eq!((cancel.nonce, cancel.attempt, cancel.gas_limit), (5, 2, 21_000));
    assert!(cancel.max_fee_per_gas * 100 >= attempts[1].max_fee_per_gas * 102);
    let questions = submissions.questions(105, 45, 7);
    let asked = questions.iter().find(|question| question.batch == 2).unwrap();
    assert_eq!(asked.transactions, [attempts[1].transaction, cancel.transaction], "either may be mined");

    let done = |hash: Hash| vec![(hash, Some(receipt(104, 1)))];
    let sightings = [(1, attempts[0].transaction), (2, cancel.transaction), (3, attempts[2].transaction)];
    let observation = |latest, safe| Observation {
        sightings: sightings
            .iter()
            .map(|(batch, hash)| (*batch, Sighting { receipts: done(*hash), canonical: None }))
            .collect(),
        ..look(latest, safe, 7)
    };
    submissions.step(Event::Observed(observation(105, 45)));
    let effects = submissions.step(Event::Observed(observation(160, 104)));
    let outcome = |batch| {
        effects.iter().find_map(|effect| match effect {
            Effect::Report(outcome) if outcome.batch == batch => Some((outcome.succeeded, outcome.cancelled)),
            _ => None,
        })
    };
    assert_eq!(outcome(2), Some((false, true)), "its statements are planned again");
    assert_eq!((outcome(1), outcome(3)), (Some((true, false)), Some((true, false))));
    let not_carried =
        Record::Safe { batch: 2, transaction: cancel.transaction, block: 104, succeeded: false };
    assert!(effects.contains(&Effect::Append(not_carried)));
}

#[test]
fn a_cancel_that_comes_too_late_leaves_the_batch_carried() {
    let (mut submissions, attempts) = in_flight(1);
    edited(&mut submissions, 1, TxEdit::Cancel);
    let seen = [(attempts[0].transaction, Some(receipt(104, 1)))];
    submissions.step(sighted(look(105, 45, 5), 1, &seen));
    let effects = submissions.step(sighted(look(160, 104, 5), 1, &seen));
    let Some(Effect::Report(outcome)) = effects.last() else { panic!("{effects:?}") };
    assert!(outcome.succeeded && !outcome.cancelled);
}

#[test]
fn a_cancel_is_taken_up_after_a_restart_where_it_was() {
    let (_, attempts) = in_flight(1);
    // Noted, and killed before its attempt was durable.
    let mut submissions = Submissions::new(SIGNER, true, settings());
    let noted = PendingBatch { attempts: attempts.clone(), cancelled: true, ..pending(1) };
    submissions.step(Event::Taken(noted));
    let plans = attempts_in(&submissions.step(Event::Observed(look(200, 140, 4))));
    assert_eq!(plans[0].kind, AttemptKind::Cancel);
    // Durable, and killed before its broadcast: its bytes go out, and it stays what it is when it is replaced.
    let cancel = attempt(&plans[0]);
    let mut submissions = Submissions::new(SIGNER, true, settings());
    submissions.step(Event::Taken(PendingBatch {
        attempts: vec![attempts[0].clone(), cancel.clone()],
        cancels: vec![cancel.transaction],
        cancelled: true,
        ..pending(1)
    }));
    let effects = submissions.step(Event::Observed(look(200, 140, 4)));
    assert_eq!(effects, [Effect::Broadcast { batch: 1, raw: cancel.raw }]);
    let plans = attempts_in(&submissions.step(Event::Observed(look(300, 240, 4))));
    assert_eq!((plans[0].kind, plans[0].attempt), (AttemptKind::Cancel, 3));
}

#[test]
fn a_batch_without_a_transaction_is_cancelled_by_ending_it() {
    let mut submissions = Submissions::new(SIGNER, true, settings());
    submissions.step(taken(1));
    submissions.step(Event::Observed(look(100, 40, 4)));
    let effects = submissions.edit(1, TxEdit::Cancel, 7).unwrap();
    let noted = Record::TxEdited { batch: 1, edit: TxEdit::Cancel, unix_ms: 7 };
    let ended = BatchOutcome::unsent(&batch(1), true);
    assert_eq!(effects, [Effect::Append(noted), Effect::Report(ended)]);
    assert!(submissions.is_empty());
}

#[test]
fn a_bump_is_for_the_lowest_nonce_and_within_the_cap() {
    let (mut submissions, attempts) = in_flight(2);
    let refused = submissions.edit(2, TxEdit::Bump, 0).unwrap_err();
    assert!(matches!(refused, TxRefusal::NotLowest { batch: 2, nonce: 5, lowest: 1 }), "{refused}");
    let mut fee = attempts[0].max_fee_per_gas;
    let capped = loop {
        match submissions.edit(1, TxEdit::Bump, 0) {
            Ok(effects) => {
                let plan = attempts_in(&effects)[0];
                assert!(plan.max_fee_per_gas() * 100 >= fee * 102 && plan.max_fee_per_gas() <= 100 * GDRIP);
                fee = plan.max_fee_per_gas();
                submissions.step(Event::Durable(attempt(&plan)));
            }
            Err(refused) => break refused,
        }
    };
    assert!(matches!(capped, TxRefusal::AtCap { batch: 1, .. }), "{capped}");
    assert_eq!(fee, 100 * GDRIP);
}

impl AttemptPlan {
    fn max_fee_per_gas(&self) -> u128 {
        self.fees.max_fee_per_gas
    }
}

#[test]
fn what_is_mined_or_consumed_or_unknown_is_not_edited() {
    let (mut submissions, attempts) = in_flight(2);
    let seen = [(attempts[0].transaction, Some(receipt(104, 1)))];
    submissions.step(sighted(look(105, 45, 6), 1, &seen));
    for edit in [TxEdit::Bump, TxEdit::Cancel] {
        assert!(matches!(submissions.edit(1, edit, 0), Err(TxRefusal::Mined { block: 104, .. })));
        assert!(matches!(submissions.edit(2, edit, 0), Err(TxRefusal::NonceConsumed { nonce: 5, .. })));
        assert!(matches!(submissions.edit(9, edit, 0), Err(TxRefusal::UnknownBatch { batch: 9 })));
    }
}

#[test]
fn bytes_below_a_risen_base_fee_are_replaced_before_their_time() {
    let (mut submissions, attempts) = in_flight(1);
    let risen = |latest| Event::Observed(Observation { base_fee: 45 * GDRIP, ..look(latest, 40, 4) });
    assert!(attempts_in(&submissions.step(risen(104))).is_empty());
    let plans = attempts_in(&submissions.step(risen(105)));
    assert_eq!((plans[0].nonce, plans[0].fees.max_fee_per_gas), (attempts[0].nonce, 91 * GDRIP));
}

#[test]
fn replacements_end_at_the_cap_and_leave_later_transactions_at_todays_price() {
    let (mut submissions, _) = in_flight(1);
    let mut highest = 0;
    for round in 1..60 {
        let effects = submissions.step(Event::Observed(look(100 + round * 60, 40, 4)));
        for plan in attempts_in(&effects) {
            highest = plan.fees.max_fee_per_gas;
            submissions.step(Event::Durable(attempt(&plan)));
        }
    }
    assert_eq!(highest, 100 * GDRIP, "the cap");
    submissions.step(taken(2));
    submissions.step(Event::Observed(look(4_000, 3_900, 4)));
    let next = planned(&mut submissions, 2);
    assert_eq!(next.fees.max_fee_per_gas, 82 * GDRIP, "twice today's offer, whatever the one before pays");
    assert_eq!(next.fees.max_priority_fee_per_gas, GDRIP);
}

#[test]
fn what_cannot_be_planned_does_not_hold_up_what_can() {
    let mut submissions = Submissions::new(SIGNER, true, settings());
    (1..=60).for_each(|number| drop(submissions.step(taken(number))));
    // Sixty hopeless ones, oldest first, a few at each look.
    let mut latest = 100;
    for _ in 0..20 {
        for effect in submissions.step(Event::Observed(look(latest, 40, 4))) {
            let Effect::Plan { batch } = effect else { panic!("{effect:?}") };
            submissions.step(Event::Unplanned { batch });
        }
        latest += 1;
    }
    submissions.step(taken(61));
    let effects = submissions.step(Event::Observed(look(latest, 40, 4)));
    let planned: Vec<u64> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Plan { batch } => *batch,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(planned[0], 61, "the new one goes first");
    assert!(planned.len() <= 3, "and the old ones are tried again, two at a look: {planned:?}");
}

#[test]
fn a_replacement_that_the_signer_cannot_pay_is_not_signed() {
    let (mut submissions, attempts) = in_flight(1);
    let cost = u128::from(attempts[0].gas_limit) * attempts[0].max_fee_per_gas;
    let poor = |latest| Event::Observed(Observation { balance: cost, ..look(latest, 40, 4) });
    assert_eq!(submissions.step(poor(300)), [Effect::Broadcast { batch: 1, raw: attempts[0].raw.clone() }]);
    assert!(matches!(submissions.edit(1, TxEdit::Bump, 0), Err(TxRefusal::CannotPay { .. })));
    let rich = attempts_in(&submissions.step(Event::Observed(look(301, 40, 4))));
    assert_eq!(rich[0].attempt, 2, "funded, it goes on");
}

#[test]
fn what_is_in_flight_counts_against_the_balance() {
    let mut submissions = Submissions::new(SIGNER, true, settings());
    let cost = 60_000 * 41 * GDRIP;
    let enough_for_two = Observation { balance: 2 * cost, ..look(100, 40, 4) };
    (1..=3).for_each(|number| drop(submissions.step(taken(number))));
    submissions.step(Event::Observed(enough_for_two));
    submitted(&mut submissions, 1);
    submitted(&mut submissions, 2);
    assert_eq!(submissions.spendable_drip(), 0);
    let effects = submissions.step(Event::Planned { batch: 3, gas_limit: 60_000 });
    assert_eq!(effects, [Effect::Return { pending: pending(3), needed_drip: cost }]);
}

#[test]
fn without_its_key_stored_bytes_are_sent_and_judged_and_nothing_is_signed() {
    let (_, attempts) = in_flight(1);
    let held = PendingBatch { attempts: attempts.clone(), ..pending(1) };
    let mut submissions = Submissions::new(SIGNER, false, settings());
    submissions.step(Event::Taken(held.clone()));
    let again = Effect::Broadcast { batch: 1, raw: attempts[0].raw.clone() };
    assert_eq!(submissions.step(Event::Observed(look(100, 40, 4))), std::slice::from_ref(&again));
    assert_eq!(submissions.step(Event::Observed(look(500, 440, 4))), [again], "never replaced");
    assert!(matches!(submissions.edit(1, TxEdit::Cancel, 0), Err(TxRefusal::NoKey { .. })));
    // Its nonce went to a stranger for good: another signer may carry it, under its own nonce.
    let none = [(attempts[0].transaction, None)];
    submissions.step(sighted(look(501, 441, 5), 1, &none));
    let effects = submissions.step(sighted(look(560, 501, 5), 1, &none));
    let [Effect::NonceTaken { .. }, Effect::Return { pending, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(*pending, held);
    let mut other = Submissions::new([0xdd; 20], true, settings());
    other.step(Event::Taken(held));
    assert_eq!(other.step(Event::Observed(look(561, 502, 40))), [Effect::Plan { batch: 1 }]);
    assert_eq!(planned(&mut other, 1).nonce, 40);
}

#[test]
fn a_nonce_freed_by_a_deep_reorganisation_is_used_again_and_jams_nothing() {
    let (mut submissions, attempts) = in_flight(2);
    let receipts = |hash| [(hash, Some(receipt(104, 1)))];
    submissions.step(sighted(look(105, 45, 5), 1, &receipts(attempts[0].transaction)));
    submissions.step(sighted(look(155, 104, 5), 1, &receipts(attempts[0].transaction)));
    assert!(submissions.batch(1).is_none(), "done and forgotten");
    // `safe` was wrong: nonce 4 is free again, and nobody has its bytes. Nonce 5 waits for it.
    submissions.step(taken(3));
    submissions.step(Event::Observed(look(156, 105, 4)));
    assert_eq!(submitted(&mut submissions, 3).nonce, 6, "an endpoint that trails says the same, for a while");
    submissions.step(taken(4));
    submissions.step(Event::Observed(look(216, 160, 4)));
    assert_eq!(planned(&mut submissions, 4).nonce, 4, "the gap is filled");
}
