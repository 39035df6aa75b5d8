use super::*;

fn ticket(device: u8, n: u8, epoch: u32) -> Record {
    let [ticket, _] = fixtures::granted(device, epoch, n);
    ticket
}

#[test]
fn tickets_are_counted_by_device_and_begin_anew_with_each_epoch() {
    let mut state = State::default();
    for (device, sid, epoch) in [(1, 1, 5), (1, 2, 5), (2, 3, 5)] {
        state.apply(&ticket(device, sid, epoch));
    }
    assert_eq!((state.tickets_of(&[1; 32], 5), state.tickets_of(&[2; 32], 5)), (2, 1));
    assert_eq!(state.tickets_of(&[1; 32], 6), 0);
    state.apply(&ticket(1, 4, 6));
    assert_eq!(state.tickets_of(&[1; 32], 6), 1);
    assert_eq!(state.tickets.len(), 4);
}

#[test]
fn a_head_of_no_statement_covers_nothing() {
    let mut state = State::default();
    let kind = StatementKind::PolicyAck { version: 1, policy_hash: [0; 32], first_epoch: 0 };
    let (device_id, head) = ([1; 32], [2; 32]);
    let (group, index, epoch, n, prev_head, signature) = (1, 7, 5, 1, [0; 32], vec![0; 64]);
    let statement = StatementRecord { device_id, group, index, epoch, n, prev_head, head, signature, kind };
    state.apply(&Record::Statement(statement));
    let (n, transaction, block) = (0, [3; 32], 9);
    state.apply(&Record::HeadSafe { group, index, epoch, n, head, transaction, block });
    assert_eq!((state.counts.statements_safe, state.uncovered.len()), (0, 1));
}

#[test]
fn a_statement_is_held_a_conflict_or_new() {
    let mut state = State::default();
    let kind = StatementKind::PolicyAck { version: 1, policy_hash: [0; 32], first_epoch: 0 };
    state.apply(&Record::Statement(StatementRecord {
        device_id: [1; 32],
        group: 1,
        index: 7,
        epoch: 5,
        n: 2,
        prev_head: [1; 32],
        head: [2; 32],
        signature: vec![0; 64],
        kind,
    }));
    let place = (1, 7, 5);
    assert_eq!(state.check_chain(place, 2, &[1; 32], &[2; 32]), Ok(true));
    assert_eq!(state.check_chain(place, 2, &[1; 32], &[9; 32]), Err(ChainConflict::SameNumber));
    assert_eq!(state.check_chain(place, 3, &[2; 32], &[3; 32]), Ok(false));
    assert_eq!(state.check_chain(place, 3, &[8; 32], &[3; 32]), Err(ChainConflict::Broken));
    assert_eq!(
        state.check_chain(place, 1, &[0; 32], &[8; 32]),
        Err(ChainConflict::Broken),
        "2 does not follow"
    );
    assert_eq!(state.check_chain(place, 1, &[0; 32], &[1; 32]), Ok(false));
}
