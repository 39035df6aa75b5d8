use super::*;
use crate::journal::record::AttemptRecord;
use crate::state::MessageState;
use crate::view::Epoch;

const EVERY_GROUP: fn(u32) -> bool = |_| true;

const DEPLOYMENT: &str = r#"{ "chain_id": 1235, "start_block": 1, "epoch_len_blocks": 20, "ring_epochs": 32,
  "access_manager": "0x0000000000000000000000000000000000000001", "device_registry": "0x0000000000000000000000000000000000000002",
  "gateway_registry": "0x0000000000000000000000000000000000000003", "policy_registry": "0x0000000000000000000000000000000000000004",
  "battery_ledger": "0x0000000000000000000000000000000000000005", "policy_signer": "0x0000000000000000000000000000000000000006",
  "verifiers": [ { "address": "0x0000000000000000000000000000000000000007", "label": "v1" } ] }"#;

fn settings(records_max: usize) -> BatchSettings {
    let deployment = Deployment::parse("test", DEPLOYMENT).unwrap();
    BatchSettings {
        close_grace_ms: 500,
        records_max,
        advance_max: 2,
        lane: LaneRule::Auto,
        root_deadline_ms: 3_000,
        deployment,
    }
}

fn announced(epoch: u32) -> Announced {
    Announced {
        epoch: Epoch { epoch, challenge: [1; 32], policy_hash: [2; 32] },
        at_ms: 1_000,
        withdrawn: false,
    }
}

/// A moment when the epoch before `epoch` has been closed for long.
fn moment(epoch: u32) -> Moment {
    Moment { announced: announced(epoch), now_ms: 10_000, latest_block: 1_000, oldest_epoch: 0 }
}

fn auth(device: u8, group: u32, epoch: u32, n: u8) -> Record {
    let kind = StatementKind::Auth {
        sid: [device.wrapping_add(n); 16],
        ticket_hash: [0; 32],
        l: [0; 32],
        request_hash: [0; 32],
        wh: 1,
        minutes: 1,
        answer: Vec::new(),
    };
    Record::Statement(statement(device, group, epoch, n, kind))
}

fn statement(device: u8, group: u32, epoch: u32, n: u8, kind: StatementKind) -> StatementRecord {
    StatementRecord {
        device_id: [device; 32],
        group,
        index: device,
        epoch,
        n,
        prev_head: [n - 1; 32],
        head: [n; 32],
        signature: vec![7; 64],
        kind,
    }
}

fn checkpoint(device: u8, epoch: u32, n: u8, from: u32, to: u32) -> Record {
    let kind = StatementKind::Checkpoint {
        battery: [device; 32],
        segment: [0; 16],
        seq: to,
        time_ms: 0,
        fp: [to as u8; 32],
        prev_seq: from,
        prev_fp: [from as u8; 32],
    };
    Record::Statement(statement(device, 1, epoch, n, kind))
}

fn head_safe(device: u8, epoch: u32, n: u8) -> Record {
    Record::HeadSafe { group: 1, index: device, epoch, n, head: [n; 32], transaction: [9; 32], block: 50 }
}

fn safe(batch: u64, block: u64) -> Record {
    Record::Safe { batch, transaction: [9; 32], block, succeeded: true }
}

fn state_of(records: &[Record]) -> State {
    let mut state = State::default();
    for record in records {
        state.apply(record);
    }
    state
}

/// Plans at a moment when every epoch before the announced one is closed, and cuts what comes out.
fn cut_all(state: &mut State, epoch: u32, settings: &BatchSettings) -> Vec<BatchRecord> {
    let batches = plan(state, &moment(epoch), settings, &EVERY_GROUP);
    for batch in &batches {
        state.apply(&Record::BatchCut(batch.clone()));
    }
    batches
}

#[test]
fn an_open_epoch_is_not_carried_and_a_closed_one_only_after_its_grace() {
    let state = state_of(&[auth(1, 1, 5, 1)]);
    let settings = settings(256);
    assert!(plan(&state, &moment(5), &settings, &EVERY_GROUP).is_empty(), "open");
    assert!(
        plan(&state, &Moment { now_ms: 1_400, ..moment(6) }, &settings, &EVERY_GROUP).is_empty(),
        "in its grace"
    );
    assert_eq!(plan(&state, &Moment { now_ms: 1_500, ..moment(6) }, &settings, &EVERY_GROUP).len(), 1);
    assert_eq!(
        plan(&state, &Moment { now_ms: 1_000, ..moment(7) }, &settings, &EVERY_GROUP).len(),
        1,
        "two epochs back needs no grace"
    );
}

#[test]
fn only_the_longest_head_of_a_pile_is_carried() {
    let mut state = state_of(&[auth(1, 1, 5, 1), auth(1, 1, 5, 3), auth(1, 1, 5, 2)]);
    let batches = cut_all(&mut state, 6, &settings(256));
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].members, vec![([1; 32], 3)]);
    assert!(cut_all(&mut state, 6, &settings(256)).is_empty(), "what is under way is not carried twice");
}

#[test]
fn several_groups_share_a_batch_until_it_is_full() {
    let records: Vec<Record> = (1..=5).map(|device| auth(device, u32::from(device % 2), 5, 1)).collect();
    let mut state = state_of(&records);
    let sizes: Vec<usize> =
        cut_all(&mut state, 6, &settings(2)).iter().map(|batch| batch.members.len()).collect();
    assert_eq!(sizes, vec![2, 2, 1]);
}

#[test]
fn a_statement_after_the_record_goes_by_extend() {
    let settings = settings(256);
    let mut state = state_of(&[auth(1, 1, 5, 1)]);
    let record = cut_all(&mut state, 6, &settings).remove(0);
    assert_eq!(record.kind, BatchKind::Record);
    state.apply(&auth(1, 1, 5, 2));
    state.apply(&head_safe(1, 5, 1));
    state.apply(&safe(record.batch, 50));
    assert!(cut_all(&mut state, 6, &settings).is_empty(), "the first batch is not settled");
    state.settle(50);
    let extend = cut_all(&mut state, 6, &settings).remove(0);
    assert_eq!((extend.kind, extend.members[0].1), (BatchKind::Extend, 2));
    state.apply(&head_safe(1, 5, 2));
    state.apply(&safe(extend.batch, 60));
    state.settle(60);
    assert!(state.uncovered.is_empty() && state.batches.is_empty());
    assert_eq!(state.counts.auth_safe, 2);
}

#[test]
fn a_strangers_early_record_turns_ours_into_an_extend() {
    let mut state = state_of(&[auth(1, 1, 5, 1), head_safe(1, 5, 1), auth(1, 1, 5, 2)]);
    let batches = cut_all(&mut state, 6, &settings(256));
    assert_eq!(batches[0].kind, BatchKind::Extend);
}

#[test]
fn a_skipped_record_is_tried_by_extend_and_record_in_turn_and_given_up_in_the_end() {
    let settings = settings(256);
    let mut state = state_of(&[auth(1, 1, 5, 1)]);
    let mut kinds = Vec::new();
    for block in 1..20 {
        let Some(batch) = cut_all(&mut state, 6, &settings).pop() else { break };
        kinds.push(batch.kind);
        state.apply(&safe(batch.batch, block));
        state.settle(block);
    }
    assert_eq!(kinds, [BatchKind::Record, BatchKind::Extend, BatchKind::Record, BatchKind::Extend]);
    assert_eq!(state.counts.rejected_by_contract, 1);
    assert!(state.uncovered.is_empty());
}

#[test]
fn a_statement_whose_epoch_left_the_ring_expires_and_is_not_carried() {
    let mut state = state_of(&[auth(1, 1, 5, 1)]);
    assert!(plan(&state, &Moment { oldest_epoch: 6, ..moment(40) }, &settings(256), &EVERY_GROUP).is_empty());
    assert_eq!(state.expire_before(6), 1);
    let entry = state.chains[&(1, 1, 5)].statements[&1];
    assert_eq!(entry.state, MessageState::Expired);
}

#[test]
fn a_replayed_journal_plans_the_same_again() {
    let settings = settings(2);
    let mut records: Vec<Record> = (1..=5).map(|device| auth(device, 1, 5, 1)).collect();
    let mut state = state_of(&records);
    let cut = cut_all(&mut state, 6, &settings);
    records.extend(cut.iter().cloned().map(Record::BatchCut));
    records.push(Record::Submitted(AttemptRecord {
        batch: 1,
        signer: [1; 20],
        nonce: 0,
        attempt: 1,
        gas_limit: 1,
        max_fee_per_gas: 1,
        max_priority_fee_per_gas: 1,
        raw: vec![1],
        transaction: [9; 32],
    }));
    let mut replayed = state_of(&records);
    assert!(cut_all(&mut replayed, 6, &settings).is_empty(), "everything is under way");
    assert_eq!(replayed.batches.len(), 3);
    assert_eq!(replayed.batches[&1].attempts.len(), 1);
    assert_eq!(replayed.chains[&(1, 1, 5)].statements[&1].state, MessageState::Submitted);
}

#[test]
fn checkpoints_go_in_the_order_of_the_ledger_one_batch_of_a_battery_at_a_time() {
    let settings = settings(256);
    let mut state = state_of(&[
        checkpoint(1, 5, 1, 0, 10),
        checkpoint(1, 5, 2, 10, 20),
        checkpoint(2, 5, 1, 0, 4),
        checkpoint(3, 5, 1, 8, 9),
    ]);
    let advances: Vec<BatchRecord> = cut_all(&mut state, 6, &settings)
        .into_iter()
        .filter(|batch| batch.kind == BatchKind::Advance)
        .collect();
    let mut members: Vec<_> = advances.iter().flat_map(|batch| batch.members.clone()).collect();
    members.sort_unstable();
    assert_eq!(
        members,
        vec![([1; 32], 1), ([1; 32], 2), ([2; 32], 1)],
        "a predecessor that the ledger lacks waits"
    );
    state.apply(&checkpoint(1, 6, 1, 20, 30));
    let is_advance = |batch: &BatchRecord| batch.kind == BatchKind::Advance;
    assert!(!cut_all(&mut state, 7, &settings).iter().any(is_advance), "the one before is not mined");
    for batch in &advances {
        let (transaction, block_hash) = ([9; 32], [8; 32]);
        state.apply(&Record::Mined {
            batch: batch.batch,
            transaction,
            block: 50,
            block_hash,
            succeeded: true,
        });
    }
    let next: Vec<_> = cut_all(&mut state, 7, &settings).into_iter().filter(is_advance).collect();
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].members, vec![([1; 32], 1)]);
    state.apply(&Record::LedgerSafe { battery: [1; 32], seq: 20, fp: [20; 32], block: 50 });
    state.apply(&Record::LedgerSafe { battery: [2; 32], seq: 4, fp: [4; 32], block: 50 });
    for batch in &advances {
        state.apply(&safe(batch.batch, 50));
    }
    state.settle(50);
    assert!(!cut_all(&mut state, 7, &settings).iter().any(is_advance), "the next one is under way");
}

#[test]
fn a_batch_that_reverted_or_never_got_a_transaction_is_tried_again_as_it_was_and_does_not_count() {
    let settings = settings(256);
    let mut state = state_of(&[auth(1, 1, 5, 1), checkpoint(2, 5, 1, 0, 4)]);
    for round in 0_u64..10 {
        let block = 100 * round;
        let at = Moment { latest_block: block, ..moment(6) };
        let batches = plan(&state, &at, &settings, &EVERY_GROUP);
        assert_eq!(batches.len(), 2, "round {round}: a head and a checkpoint");
        assert_eq!(batches[0].kind, BatchKind::Record, "round {round}");
        for batch in &batches {
            state.apply(&Record::BatchCut(batch.clone()));
            if round % 2 == 0 {
                state.apply(&Record::BatchDropped { batch: batch.batch, retry_block: block + 25 });
            } else {
                let transaction = [9; 32];
                state.apply(&Record::Safe { batch: batch.batch, transaction, block, succeeded: false });
                state.settle(block);
            }
        }
        let soon = Moment { latest_block: block + 24, ..moment(6) };
        assert!(plan(&state, &soon, &settings, &EVERY_GROUP).is_empty(), "round {round}: not at once");
    }
    assert_eq!(state.counts.rejected_by_contract, 0);
}
