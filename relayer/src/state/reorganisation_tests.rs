use super::*;
use crate::journal::Record;
use crate::state::fixtures::{
    apply, batch_safe, checkpoint, granted, head_safe, opened, scanned, sid, state_of, submitted,
};

const EPOCH: u32 = 5;

/// A grant in an epoch whose batch was carried out in block 200, safe and settled.
fn recorded() -> State {
    let mut state = state_of([opened(EPOCH, 1)].into_iter().chain(granted(1, EPOCH, 1)));
    apply(&mut state, submitted(1, BatchKind::Record, EPOCH, &[(1, 1)]));
    apply(&mut state, [batch_safe(1, 200), head_safe(1, EPOCH, 1, 200)]);
    apply(&mut state, scanned(210));
    state
}

fn statement_state(state: &State, device: u8, n: u8) -> MessageState {
    state.chains[&(1, device, EPOCH)].statements[&n].state
}

#[test]
fn a_reorganisation_above_a_record_changes_nothing_of_it() {
    let mut state = recorded();
    state.apply(&Record::Reorganised { from_block: 201 });
    assert_eq!(statement_state(&state, 1, 1), MessageState::Safe);
    assert_eq!((state.counts.auth_safe, state.scanned_to), (1, 200));
    assert!(state.batches.is_empty() && state.anchors.is_empty());
}

#[test]
fn a_batch_that_a_reorganisation_undoes_is_followed_again_under_its_nonce() {
    let mut state = recorded();
    assert!(state.batches.is_empty());
    assert_eq!(state.batches_undone_by(200), [1]);
    state.apply(&Record::Reorganised { from_block: 200 });
    let batch = &state.batches[&1];
    assert_eq!((batch.mined, batch.safe), (None, None));
    assert_eq!(batch.attempts.len(), 1, "the stored bytes go out again");
    assert_eq!(statement_state(&state, 1, 1), MessageState::Submitted);
    assert_eq!((state.counts.auth_safe, state.counts.statements_safe), (0, 0));
    assert!(state.pending_grants.contains(&sid(1, EPOCH, 1)));
    let chain = &state.chains[&(1, 1, EPOCH)];
    assert_eq!((chain.in_batch, chain.covered_n, chain.recorded), (Some(1), 0, false));
    // The same transaction in another block.
    apply(&mut state, [batch_safe(1, 260), head_safe(1, EPOCH, 1, 260)]);
    apply(&mut state, scanned(270));
    assert_eq!(statement_state(&state, 1, 1), MessageState::Safe);
    assert!(state.batches.is_empty() && state.uncovered.is_empty() && state.pending_grants.is_empty());
    assert_eq!(state.counts.auth_safe, 1);
}

#[test]
fn a_record_that_a_stranger_sent_is_to_be_carried_again() {
    let mut state = state_of([opened(EPOCH, 1)].into_iter().chain(granted(1, EPOCH, 1)));
    state.apply(&head_safe(1, EPOCH, 1, 200));
    assert!(state.uncovered.is_empty());
    state.apply(&Record::Reorganised { from_block: 150 });
    assert_eq!(statement_state(&state, 1, 1), MessageState::Granted);
    assert!(state.uncovered.contains(&(EPOCH, 1, 1)));
    assert!(!state.chains[&(1, 1, EPOCH)].recorded, "a first record is needed again");
}

#[test]
fn only_the_heads_above_the_fork_are_taken_back() {
    let mut state = recorded();
    apply(&mut state, granted(1, EPOCH, 2));
    state.apply(&head_safe(1, EPOCH, 2, 240));
    state.apply(&Record::Reorganised { from_block: 230 });
    assert_eq!(statement_state(&state, 1, 1), MessageState::Safe);
    assert_eq!(statement_state(&state, 1, 2), MessageState::Granted);
    let chain = &state.chains[&(1, 1, EPOCH)];
    assert_eq!((chain.covered_n, chain.recorded), (1, true));
}

#[test]
fn a_replaced_challenge_ends_every_statement_of_its_epoch_and_of_no_other() {
    let mut state = recorded();
    apply(&mut state, granted(2, EPOCH, 1));
    apply(&mut state, granted(1, EPOCH + 1, 1));
    apply(&mut state, [Record::Reorganised { from_block: 90 }, opened(EPOCH, 9)]);
    assert_eq!(statement_state(&state, 1, 1), MessageState::ReorgedOut);
    assert_eq!(statement_state(&state, 2, 1), MessageState::ReorgedOut);
    assert_eq!(state.chains[&(1, 1, EPOCH + 1)].statements[&1].state, MessageState::Granted);
    assert_eq!(state.counts.reorged_out, 2);
    assert_eq!(state.uncovered.iter().collect::<Vec<_>>(), [&(EPOCH + 1, 1, 1)]);
    assert_eq!(state.replaced_epochs[&EPOCH][0].challenge, [1; 32]);
    // Its batch is mined all the same, skipped by the contract: that is no refusal of the pile's statement.
    state.apply(&batch_safe(1, 260));
    apply(&mut state, scanned(270));
    assert_eq!((state.counts.rejected_by_contract, state.batches.len()), (0, 0));
    assert_eq!(statement_state(&state, 1, 1), MessageState::ReorgedOut);
}

#[test]
fn the_order_in_which_a_reorganisation_is_noticed_does_not_matter() {
    let (mut first, mut second) = (recorded(), recorded());
    apply(&mut first, [Record::Reorganised { from_block: 90 }, opened(EPOCH, 9)]);
    apply(&mut second, [opened(EPOCH, 9), Record::Reorganised { from_block: 90 }]);
    for state in [&first, &second] {
        assert_eq!(statement_state(state, 1, 1), MessageState::ReorgedOut);
        assert_eq!((state.counts.auth_safe, state.counts.reorged_out), (0, 1));
        assert!(state.uncovered.is_empty());
        assert!(state.pending_grants.contains(&sid(1, EPOCH, 1)), "it is still to be revoked");
    }
}

#[test]
fn an_epoch_told_again_as_it_was_ends_nothing() {
    let mut state = recorded();
    state.apply(&opened(EPOCH, 1));
    assert_eq!(statement_state(&state, 1, 1), MessageState::Safe);
    assert!(state.replaced_epochs.is_empty());
}

#[test]
fn what_is_final_is_never_taken_back() {
    let mut state = recorded();
    state.apply(&Record::Finalized { block: 199 });
    assert_eq!(statement_state(&state, 1, 1), MessageState::Safe);
    state.apply(&Record::Finalized { block: 200 });
    assert_eq!(statement_state(&state, 1, 1), MessageState::Final);
    assert_eq!(state.counts.auth_final, 1);
    apply(&mut state, [Record::Reorganised { from_block: 90 }, opened(EPOCH, 9)]);
    assert_eq!(statement_state(&state, 1, 1), MessageState::Final);
    assert_eq!((state.counts.reorged_out, state.counts.auth_safe), (0, 1));
    assert!(state.batches.is_empty());
}

#[test]
fn finality_is_told_to_the_newest_grants_only() {
    let mut state = State::default();
    for n in 1..=20 {
        apply(&mut state, granted(1, EPOCH, n));
    }
    apply(&mut state, [head_safe(1, EPOCH, 20, 200), Record::Finalized { block: 200 }]);
    let due = &state.finals_due[&[1; 32]];
    assert_eq!(due.len(), crate::limits::FINALS_DUE_MAX);
    assert_eq!(due.back(), Some(&sid(1, EPOCH, 20)));
}

#[test]
fn a_ledger_move_that_is_reorganised_away_is_to_be_carried_again() {
    let mut state = state_of([checkpoint(1, EPOCH, 1, 0, 10), checkpoint(1, EPOCH, 2, 10, 20)]);
    apply(&mut state, submitted(1, BatchKind::Advance, EPOCH, &[(1, 1), (1, 2)]));
    let moved = |seq: u32, block| Record::LedgerSafe { battery: [1; 32], seq, fp: [seq as u8; 32], block };
    apply(&mut state, [batch_safe(1, 200), moved(10, 200), moved(20, 200)]);
    apply(&mut state, scanned(210));
    let battery = state.batteries.get(&[1; 32]).unwrap();
    assert!(battery.pending.is_empty());
    state.apply(&Record::Reorganised { from_block: 200 });
    let battery = state.batteries.get(&[1; 32]).unwrap();
    assert_eq!(battery.ledger.seq, 0);
    assert_eq!(battery.pending.iter().map(|pending| pending.next.seq).collect::<Vec<_>>(), [10, 20]);
    assert!(battery.pending.iter().all(|pending| pending.in_batch == Some(1)), "by the same batch");
    apply(&mut state, [moved(10, 250), moved(20, 250)]);
    assert_eq!(state.batteries.get(&[1; 32]).unwrap().ledger.seq, 20);
}

#[test]
fn a_checkpoint_under_a_replaced_challenge_leads_nowhere_and_the_pile_starts_from_the_ledger() {
    let mut state = state_of([
        opened(EPOCH, 1),
        checkpoint(1, EPOCH - 1, 1, 0, 10),
        checkpoint(1, EPOCH, 1, 10, 20),
        checkpoint(1, EPOCH + 1, 1, 20, 30),
        opened(EPOCH, 9),
    ]);
    let battery = state.batteries.get(&[1; 32]).unwrap();
    assert_eq!(battery.pending.len(), 1, "the one of the epoch before stands");
    assert_eq!(battery.anchor().seq, 10);
    state.apply(&Record::LedgerSafe { battery: [1; 32], seq: 10, fp: [10; 32], block: 200 });
    assert_eq!(state.batteries.get(&[1; 32]).unwrap().anchor().seq, 10);
}

#[test]
fn done_batches_are_kept_for_a_while_and_no_longer_than_until_they_are_final() {
    let mut state = recorded();
    assert_eq!(state.settled.len(), 1);
    apply(&mut state, scanned(200 + REORGANISATION_BLOCKS_MAX));
    assert_eq!(state.settled.len(), 1);
    apply(&mut state, scanned(201 + REORGANISATION_BLOCKS_MAX));
    assert!(state.settled.is_empty());
    let mut state = recorded();
    state.apply(&Record::Finalized { block: 200 });
    assert!(state.settled.is_empty());
}
