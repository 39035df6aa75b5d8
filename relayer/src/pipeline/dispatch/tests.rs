use std::collections::HashSet;

use super::*;
use crate::journal::record::BatchKind;

const GDRIP: u128 = 1_000_000_000;
const FEE: u128 = 41 * GDRIP;

fn batch(number: u64) -> BatchRecord {
    BatchRecord {
        batch: number,
        kind: BatchKind::Record,
        epoch: 3,
        to: [9; 20],
        calldata: vec![1; 1_000],
        members: Vec::new(),
        expires_block: 10_000,
    }
}

fn report(transactions: usize, spendable_drip: u128, orders_taken: u64) -> SignerReport {
    let room = InFlight { transactions, gas: transactions as u64 * 60_000, ..InFlight::default() };
    SignerReport {
        latest: Some(100),
        room,
        spendable_drip,
        max_fee_per_gas: FEE,
        orders_taken,
        lines: Vec::new(),
    }
}

/// Signers with this room and this much to spend.
fn dispatch(signers: &[(usize, u128)]) -> Dispatch {
    let mut dispatch = Dispatch::default();
    for (number, (transactions, spendable_drip)) in signers.iter().enumerate() {
        dispatch.add([number as u8 + 1; 20], true);
        dispatch.reported(number, report(*transactions, *spendable_drip, 0));
    }
    dispatch
}

fn given(decisions: &[Decision]) -> Vec<(u64, usize)> {
    let each = decisions.iter().map(|decision| match decision {
        Decision::Give { signer, pending } => (pending.batch.batch, *signer),
        Decision::End(..) => panic!("{decision:?}"),
    });
    each.collect()
}

#[test]
fn a_batch_goes_to_the_signer_with_the_most_room() {
    let mut dispatch = dispatch(&[(3, u128::MAX), (50, u128::MAX), (20, u128::MAX)]);
    dispatch.wait(PendingBatch::new(batch(1)), 0);
    assert_eq!(given(&dispatch.decide()), [(1, 1)]);
}

#[test]
fn equal_signers_carry_at_once() {
    let mut dispatch = dispatch(&[(50, u128::MAX), (50, u128::MAX), (50, u128::MAX)]);
    for number in 1..=6 {
        dispatch.wait(PendingBatch::new(batch(number)), 0);
    }
    let decisions = given(&dispatch.decide());
    let used: HashSet<usize> = decisions.iter().map(|(_, signer)| *signer).collect();
    assert_eq!((decisions.len(), used.len()), (6, 3), "what is on its way counts as room taken");
}

#[test]
fn no_signer_gets_more_than_it_has_room_for() {
    let mut dispatch = dispatch(&[(2, u128::MAX)]);
    for number in 1..=3 {
        dispatch.wait(PendingBatch::new(batch(number)), 0);
    }
    assert_eq!(given(&dispatch.decide()), [(1, 0), (2, 0)]);
    dispatch.reported(0, report(0, u128::MAX, 2));
    assert!(dispatch.decide().is_empty() && dispatch.is_waiting());
    dispatch.reported(0, report(1, u128::MAX, 2));
    assert_eq!(given(&dispatch.decide()), [(3, 0)]);
}

#[test]
fn an_empty_signer_gets_nothing_and_the_other_carries() {
    let mut dispatch = dispatch(&[(50, 1_000), (1, u128::MAX)]);
    dispatch.wait(PendingBatch::new(batch(1)), 0);
    assert_eq!(given(&dispatch.decide()), [(1, 1)]);
}

#[test]
fn without_money_anywhere_it_waits_and_says_who_lacks_how_much() {
    let least = 100_000 * FEE;
    let mut dispatch = dispatch(&[(50, least - 1)]);
    dispatch.wait(PendingBatch::new(batch(1)), 0);
    assert!(dispatch.decide().is_empty());
    let short = Shortage { signer: [1; 20], batch: 1, needed_drip: least, spendable_drip: least - 1 };
    assert_eq!(dispatch.shortages(), [([1; 20], Some(short))]);
    dispatch.reported(0, report(50, least, 0));
    assert_eq!(given(&dispatch.decide()), [(1, 0)], "funded, it goes on");
    assert_eq!(dispatch.shortages(), [([1; 20], None)]);
}

#[test]
fn a_batch_that_came_back_is_not_given_out_below_its_price() {
    let mut dispatch = dispatch(&[(50, 5_000_000 * FEE), (40, 9_000_000 * FEE)]);
    dispatch.wait(PendingBatch::new(batch(1)), 7_000_000 * FEE);
    assert_eq!(given(&dispatch.decide()), [(1, 1)]);
}

#[test]
fn a_signer_without_its_key_gets_no_batch() {
    let mut dispatch = Dispatch::default();
    dispatch.add([1; 20], false);
    dispatch.reported(0, report(50, u128::MAX, 0));
    dispatch.wait(PendingBatch::new(batch(1)), 0);
    assert!(dispatch.decide().is_empty());
}

#[test]
fn a_signer_that_has_not_seen_the_chain_gets_no_batch() {
    let mut dispatch = dispatch(&[(50, u128::MAX)]);
    dispatch.reported(0, SignerReport { latest: None, ..report(50, u128::MAX, 0) });
    dispatch.wait(PendingBatch::new(batch(1)), 0);
    assert!(dispatch.decide().is_empty());
}

#[test]
fn what_expires_first_goes_first_and_what_expired_ends_unsent() {
    let mut dispatch = dispatch(&[(1, u128::MAX)]);
    dispatch.wait(PendingBatch::new(batch(1)), 0);
    dispatch.wait(PendingBatch::new(BatchRecord { expires_block: 500, ..batch(2) }), 0);
    dispatch.wait(PendingBatch::new(BatchRecord { expires_block: 100, ..batch(3) }), 0);
    let decisions = dispatch.decide();
    assert!(matches!(&decisions[0], Decision::End(ended, false) if ended.batch == 3));
    assert_eq!(given(&decisions[1..]), [(2, 0)]);
}

#[test]
fn a_batch_cancelled_before_a_restart_ends_without_a_transaction() {
    let mut dispatch = dispatch(&[(1, u128::MAX)]);
    dispatch.wait(PendingBatch { cancelled: true, ..PendingBatch::new(batch(1)) }, 0);
    assert!(matches!(dispatch.decide().as_slice(), [Decision::End(_, true)]));
}

#[test]
fn a_list_shows_every_batch_wherever_it_is() {
    let mut dispatch = dispatch(&[(1, u128::MAX), (0, u128::MAX)]);
    let line = TxLine::waiting(&batch(1), String::new());
    dispatch.reported(1, SignerReport { lines: vec![line], ..report(0, u128::MAX, 0) });
    for number in [2, 3] {
        dispatch.wait(PendingBatch::new(batch(number)), 0);
    }
    dispatch.decide();
    let lines = dispatch.lines(|expires_block| expires_block - 9_930);
    let seen: Vec<(u64, Option<&str>, u64)> =
        lines.iter().map(|line| (line.batch, line.signer.as_deref(), line.age_blocks)).collect();
    let first = format!("0x{}", "01".repeat(20));
    assert_eq!(seen, [(1, None, 30), (2, Some(first.as_str()), 30), (3, None, 30)]);
    assert_eq!((dispatch.holder(1), dispatch.holder(2), dispatch.holder(3)), (Some(1), Some(0), None));
}
