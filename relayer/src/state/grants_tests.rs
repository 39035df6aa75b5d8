use cip22_wire::RevokeCause::{self, DeviceRevoked, NotFinal, Rejected, ReorgedOut};

use super::*;
use crate::journal::Record;
use crate::journal::record::BatchKind;
use crate::limits::SUBMISSION_TRIES_MAX;
use crate::state::fixtures::{
    apply, batch_safe, granted, head_safe, opened, scanned, sid, state_of, submitted,
};

const EPOCH: u32 = 5;
const DEADLINE: u64 = 500;
/// Tickets of the fixtures are issued at block 100.
const IN_TIME: u64 = 600;

fn causes(state: &State, latest: u64) -> Vec<(Sid, RevokeCause)> {
    causes_with(state, latest, |_| false)
}

fn causes_with(
    state: &State,
    latest: u64,
    is_revoked: impl Fn(&DeviceId) -> bool,
) -> Vec<(Sid, RevokeCause)> {
    let due = state.due_revocations(latest, DEADLINE, is_revoked);
    due.into_iter().map(|due| (due.sid, due.cause)).collect()
}

fn revoke(state: &mut State, sid: Sid, cause: RevokeCause) {
    state.apply(&Record::Revoked { sid, cause: cause.code(), grace_wh: 50 });
}

/// A grant that the contract skipped as often as it is tried.
fn rejected(device: u8) -> State {
    let mut state = state_of(granted(device, EPOCH, 1));
    for batch in 1..=u64::from(SUBMISSION_TRIES_MAX) {
        apply(&mut state, submitted(batch, BatchKind::Record, EPOCH, &[(device, 1)]));
        state.apply(&batch_safe(batch, batch));
        apply(&mut state, scanned(batch));
    }
    state
}

#[test]
fn a_grant_is_revoked_once_its_deadline_is_over_and_not_before() {
    let mut state = state_of(granted(1, EPOCH, 1));
    assert!(causes(&state, IN_TIME).is_empty());
    assert_eq!(causes(&state, IN_TIME + 1), [(sid(1, EPOCH, 1), NotFinal)]);
    revoke(&mut state, sid(1, EPOCH, 1), NotFinal);
    assert!(causes(&state, u64::MAX).is_empty(), "once");
    assert_eq!(state.counts.revoked_not_final, 1);
}

#[test]
fn a_grant_on_chain_in_time_is_not_revoked_later() {
    let mut state = state_of(granted(1, EPOCH, 1));
    state.apply(&head_safe(1, EPOCH, 1, 300));
    assert!(causes(&state, u64::MAX).is_empty());
}

#[test]
fn a_statement_that_left_the_ring_was_not_final_in_time() {
    let mut state = state_of(granted(1, EPOCH, 1));
    state.expire_before(EPOCH + 1);
    assert_eq!(causes(&state, 0), [(sid(1, EPOCH, 1), NotFinal)]);
}

#[test]
fn each_cause_is_told_by_itself_and_counted_by_itself() {
    let mut state = rejected(1);
    assert_eq!(causes(&state, IN_TIME), [(sid(1, EPOCH, 1), Rejected)]);
    revoke(&mut state, sid(1, EPOCH, 1), Rejected);
    apply(&mut state, [opened(6, 1)].into_iter().chain(granted(2, 6, 1)).chain([opened(6, 2)]));
    assert_eq!(causes(&state, u64::MAX), [(sid(2, 6, 1), ReorgedOut)], "whatever the deadline says");
    revoke(&mut state, sid(2, 6, 1), ReorgedOut);
    apply(&mut state, granted(3, 7, 1));
    assert_eq!(causes_with(&state, u64::MAX, |device| *device == [3; 32]), [(sid(3, 7, 1), DeviceRevoked)]);
    revoke(&mut state, sid(3, 7, 1), DeviceRevoked);
    let counts = state.counts;
    assert_eq!(
        (
            counts.revoked_not_final,
            counts.revoked_rejected,
            counts.revoked_reorged_out,
            counts.revoked_device
        ),
        (0, 1, 1, 1)
    );
}

#[test]
fn what_the_contract_refuses_of_a_revoked_device_is_the_revocations_doing() {
    let state = rejected(1);
    assert_eq!(causes_with(&state, IN_TIME, |_| true), [(sid(1, EPOCH, 1), DeviceRevoked)]);
}

#[test]
fn a_revoked_devices_charge_is_revoked_even_when_its_grant_is_on_chain_and_not_after_its_end() {
    let mut state = state_of(granted(1, EPOCH, 1));
    state.apply(&head_safe(1, EPOCH, 1, 300));
    assert_eq!(causes_with(&state, IN_TIME, |_| true), [(sid(1, EPOCH, 1), DeviceRevoked)]);
    state.apply(&Record::ChargeEnded {
        sid: sid(1, EPOCH, 1),
        wh: 1,
        minutes: 1,
        cause: 4,
        meter: Vec::new(),
        signature: Vec::new(),
    });
    assert!(causes_with(&state, IN_TIME, |_| true).is_empty());
}

#[test]
fn a_revocation_survives_a_restart_and_is_not_made_twice() {
    let records = || {
        granted(1, EPOCH, 1).into_iter().chain([Record::Revoked {
            sid: sid(1, EPOCH, 1),
            cause: 1,
            grace_wh: 50,
        }])
    };
    let state = state_of(records());
    assert!(causes(&state, u64::MAX).is_empty());
    assert_eq!(state.revocation(&sid(1, EPOCH, 1)), Some(Revocation { cause: 1, grace_wh: 50 }));
}

#[test]
fn a_grant_that_was_revoked_for_being_late_may_still_become_safe() {
    let mut state = state_of(granted(1, EPOCH, 1));
    revoke(&mut state, sid(1, EPOCH, 1), NotFinal);
    state.apply(&head_safe(1, EPOCH, 1, 300));
    assert_eq!(state.standing(&sid(1, EPOCH, 1)).unwrap().0, MessageState::Safe);
    assert!(state.revocation(&sid(1, EPOCH, 1)).is_some(), "the revocation stands");
}

#[test]
fn only_a_cause_that_the_pile_answers_for_costs_it_credit() {
    for (cause, expected) in [
        (NotFinal, (8_000, 80, 4)),
        (ReorgedOut, (8_000, 80, 4)),
        (Rejected, (4_000, 40, 1)),
        (DeviceRevoked, (4_000, 40, 1)),
    ] {
        let mut state = state_of(granted(1, EPOCH, 1));
        revoke(&mut state, sid(1, EPOCH, 1), cause);
        assert_eq!(state.tightened(&[1; 32], 8_000, 80, 4), expected, "{cause:?}");
        assert_eq!(state.tightened(&[2; 32], 8_000, 80, 4), (8_000, 80, 4), "another device");
    }
}

#[test]
fn each_grant_on_chain_takes_one_strike_away_and_there_are_at_most_three() {
    let mut state = State::default();
    for n in 1..=5 {
        apply(&mut state, granted(1, EPOCH, n));
        revoke(&mut state, sid(1, EPOCH, n), Rejected);
    }
    assert_eq!(state.tightened(&[1; 32], 8_000, 80, 4), (1_000, 10, 1));
    assert_eq!(state.tightened(&[1; 32], 1, 1, 4), (1, 1, 1), "never nothing");
    for (n, expected) in [(1, (2_000, 20, 1)), (2, (4_000, 40, 1)), (3, (8_000, 80, 4)), (4, (8_000, 80, 4))]
    {
        apply(&mut state, granted(1, EPOCH + 1, n));
        state.apply(&head_safe(1, EPOCH + 1, n, 300));
        assert_eq!(state.tightened(&[1; 32], 8_000, 80, 4), expected);
    }
}

#[test]
fn a_reduced_credit_is_what_the_grant_is_worth_from_then_on() {
    let mut state = state_of(granted(1, EPOCH, 1));
    state.apply(&Record::CreditReduced { sid: sid(1, EPOCH, 1), seq: 1, wh: 4_000, minutes: 40 });
    let ticket = &state.tickets[&sid(1, EPOCH, 1)];
    assert_eq!((ticket.credit_seq, ticket.answer.as_ref().unwrap().credit), (1, Some((4_000, 40))));
}
