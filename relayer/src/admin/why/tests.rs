use cip22_wire::FrameType;
use cip22_wire::body::{Deny, SUITE_SM4_GCM};
use cip22_wire::message::{AuthDeny, Body, Challenge};

use super::*;
use crate::gateway_key::SiteSecret;
use crate::journal::Record;
use crate::journal::record::{
    AttemptRecord, BatchRecord, LeafRecord, StatementKind, StatementRecord, TxEdit,
};
use crate::pipeline::batch_tree;
use crate::pipeline::frame_bytes;
use crate::seal::TicketKeys;
use crate::view::Epoch;

const SID: Sid = [7; 16];
const EPOCH: u32 = 10;
const OURS: [u8; 32] = [0xaa; 32];

fn ticket() -> Record {
    let challenge = Challenge {
        circuit_version: 0,
        sid: SID,
        device_id: [1; 32],
        group: 3,
        index: 4,
        nonce: [0; 32],
        epoch: EPOCH,
        epoch_challenge: [0; 32],
        policy_hash: [0; 32],
        issued: 205,
        answer_by: 215,
        deadline: 240,
        gw_eph: [2; 33],
        dev_eph: [2; 33],
        h: [0; 32],
        signature: [0; 64],
    };
    let frame = frame_bytes(&challenge);
    let parsed = cip22_wire::frame::parse(&frame, u16::MAX).unwrap().unwrap();
    Record::TicketIssued { challenge_payload: parsed.payload.to_vec(), device_key: vec![2; 33] }
}

fn granted() -> Record {
    let kind = StatementKind::Auth {
        sid: SID,
        ticket_hash: [0; 32],
        l: [0; 32],
        request_hash: [0; 32],
        wh: 5_000,
        minutes: 30,
        answer: Vec::new(),
    };
    Record::Statement(StatementRecord {
        device_id: [1; 32],
        group: 3,
        index: 4,
        epoch: EPOCH,
        n: 2,
        prev_head: [1; 32],
        head: [2; 32],
        signature: vec![0; 64],
        kind,
    })
}

fn cut(batch: u64, device: u8, n: u8) -> Record {
    Record::BatchCut(BatchRecord {
        batch,
        kind: BatchKind::Record,
        epoch: EPOCH,
        to: [0; 20],
        calldata: Vec::new(),
        members: vec![([device; 32], n)],
        expires_block: 839,
    })
}

fn submitted(batch: u64, attempt: u32) -> Record {
    Record::Submitted(AttemptRecord {
        batch,
        signer: [5; 20],
        nonce: 42,
        attempt,
        gas_limit: 90_000,
        max_fee_per_gas: 20_000_000_000,
        max_priority_fee_per_gas: 1,
        raw: Vec::new(),
        transaction: OURS,
    })
}

fn head(n: u8, transaction: [u8; 32]) -> Record {
    Record::HeadSafe { group: 3, index: 4, epoch: EPOCH, n, head: [2; 32], transaction, block: 230 }
}

fn mined(succeeded: bool) -> Record {
    Record::Mined { batch: 1, transaction: OURS, block: 230, block_hash: [9; 32], succeeded }
}

fn story(records: &[Record]) -> Story {
    let mut story = Story::of(SID);
    for (at, record) in records.iter().enumerate() {
        story.take(at as u64 + 1, record);
    }
    story
}

/// Epoch 11 is announced, all is well.
fn moment() -> Moment {
    Moment {
        latest: 228,
        safe: 221,
        finalized: 0,
        head_age_ms: 400,
        trouble: None,
        next_look_ms: 0,
        epoch: Some(EPOCH + 1),
        oldest_epoch: 0,
        epoch_len_blocks: 20,
        ring_epochs: 32,
        batch_next: None,
    }
}

fn ask(records: &[Record], standing: Option<(MessageState, u64)>, moment: Moment) -> Explanation {
    let standing = standing.map(|(state, retry_block)| Standing { state, retry_block });
    explain(SID, story(records), standing, moment)
}

#[test]
fn a_sid_that_the_journal_does_not_hold_is_unknown_and_nobodys_fault() {
    let other = Record::AuthAcked { sid: [8; 16], a: [0; 32] };
    let said = ask(&[other], None, moment());
    assert_eq!((said.stage, said.fault, said.history.len()), (Stage::Unknown, "nobody", 0));
}

#[test]
fn a_ticket_waits_for_its_pile_until_answer_by_and_is_unanswered_afterwards() {
    let before = Moment { latest: 210, ..moment() };
    let said = ask(&[ticket()], None, before);
    assert_eq!((said.stage, said.fault, said.next_block), (Stage::Ticketed, "device", Some(215)));
    assert!(said.next.contains("5 blocks from now"), "{}", said.next);
    assert_eq!(ask(&[ticket()], None, moment()).stage, Stage::Unanswered);
}

#[test]
fn a_denial_names_its_reason() {
    let mut body = [0; 16];
    let length = Deny { reason: 1 }.encode(&mut body).unwrap();
    let answer = frame_bytes(&AuthDeny { sid: SID, suite: 0, body: &body[..length], tag: [0; 32] });
    let denied = Record::Denied { sid: SID, request_hash: [0; 32], answer };
    let said = ask(&[ticket(), denied], None, moment());
    assert_eq!((said.stage, said.fault), (Stage::Denied, "device"));
    assert!(said.summary.contains("EXPIRED"), "{}", said.summary);
}

#[test]
fn a_sealed_denial_is_opened_before_its_reason_is_told() {
    let secret = |byte: u8| SiteSecret::new(zeroize::Zeroizing::new([byte; 32]));
    let public_key = |byte: u8| *secret(byte).ticket_key(&SID).unwrap().public_key();
    let Record::TicketIssued { challenge_payload, .. } = ticket() else { unreachable!() };
    let challenge = Challenge { dev_eph: public_key(1), ..Challenge::decode(&challenge_payload).unwrap() };
    let keys = TicketKeys::new(&secret(3), &challenge, &public_key(2)).unwrap();
    let (body, tag) = keys.body(SUITE_SM4_GCM, FrameType::AuthDeny, 0, &[1, 0, 1, 3]).unwrap();
    let answer = frame_bytes(&AuthDeny { sid: SID, suite: SUITE_SM4_GCM, body: &body, tag });
    let frame = frame_bytes(&challenge);
    let parsed = cip22_wire::frame::parse(&frame, u16::MAX).unwrap().unwrap();
    let challenge_payload = parsed.payload.to_vec();
    let mut story = Story::of(SID);
    story.take(1, &Record::TicketIssued { challenge_payload, device_key: public_key(2).to_vec() });
    story.take(2, &Record::Denied { sid: SID, request_hash: [0; 32], answer });
    let told = |story: &Story| explain(SID, story.clone(), None, moment());
    let mut of_another_site = story.clone();
    of_another_site.unseal(&secret(4));
    assert!(told(&of_another_site).summary.contains("for an unknown reason"));
    story.unseal(&secret(3));
    let said = told(&story);
    assert!(said.summary.contains("NO_CREDIT"), "{}", said.summary);
    assert_eq!(said.history[1].detail, "AUTH_DENY NO_CREDIT");
}

#[test]
fn a_grant_in_an_open_epoch_waits_for_the_next_epochs_first_block_to_be_safe() {
    let open = Moment { epoch: Some(EPOCH), safe: 203, latest: 210, ..moment() };
    let said = ask(&[ticket(), granted()], Some((MessageState::Granted, 0)), open);
    assert_eq!((said.stage, said.fault, said.next_block), (Stage::Granted, "nobody", Some(220)));
    assert!(said.next.contains("17 blocks to go"), "{}", said.next);
    assert_eq!(said.expires_block, Some(839));
    assert_eq!(said.place, Some((3, 4, 2)));
    assert_eq!(said.credit, Some((5_000, 30)));
}

#[test]
fn the_batches_of_others_and_of_earlier_statements_are_not_in_its_history() {
    let records = [ticket(), granted(), cut(1, 9, 2), cut(2, 1, 1), submitted(1, 1), submitted(2, 1)];
    let said = ask(&records, Some((MessageState::Granted, 0)), moment());
    assert_eq!(said.history.len(), 2, "{:?}", said.history);
    assert_eq!(said.stage, Stage::Granted);
}

#[test]
fn a_batch_without_a_transaction_and_one_with_are_told_apart() {
    let records = [ticket(), granted(), cut(1, 1, 3)];
    assert_eq!(ask(&records, Some((MessageState::Batched, 0)), moment()).stage, Stage::Batched);
    let records = [ticket(), granted(), cut(1, 1, 3), submitted(1, 1)];
    let listed = Moment { batch_next: Some("sent again at block 240".to_owned()), ..moment() };
    let said = ask(&records, Some((MessageState::Submitted, 0)), listed);
    assert_eq!((said.stage, said.fault), (Stage::Submitted, "nobody"));
    assert!(said.next.starts_with("Batch 1: sent again at block 240."), "{}", said.next);
    assert!(said.summary.contains("nonce 42") && said.summary.contains(&"aa".repeat(32)), "{}", said.summary);
}

#[test]
fn while_the_endpoint_fails_it_is_the_chains_fault_and_the_next_look_is_timed() {
    let down = Moment { trouble: Some("refused".to_owned()), next_look_ms: 3_200, ..moment() };
    let records = [ticket(), granted(), cut(1, 1, 2), submitted(1, 1)];
    let said = ask(&records, Some((MessageState::Submitted, 0)), down);
    assert_eq!((said.stage, said.fault), (Stage::Submitted, "chain"));
    assert!(said.next.starts_with("The endpoint is asked again in 4 s."), "{}", said.next);
    assert!(said.summary.contains("the endpoint fails (refused)"), "{}", said.summary);
}

#[test]
fn a_head_that_stands_still_is_the_chains_fault_but_not_what_is_done_already() {
    let still = Moment { head_age_ms: HEAD_FRESH_MS + 1, ..moment() };
    let said = ask(&[ticket(), granted()], Some((MessageState::Granted, 0)), still.clone());
    assert_eq!(said.fault, "chain");
    let done = ask(&[ticket(), granted(), head(2, OURS)], Some((MessageState::Safe, 0)), still);
    assert_eq!((done.stage, done.fault), (Stage::Safe, "nobody"));
}

#[test]
fn a_replaced_transaction_is_the_chains_fault() {
    let records = [ticket(), granted(), cut(1, 1, 2), submitted(1, 1), submitted(1, 2)];
    let said = ask(&records, Some((MessageState::Submitted, 0)), moment());
    assert_eq!(said.fault, "chain");
    assert!(said.summary.contains("attempt 2"), "{}", said.summary);
}

#[test]
fn what_an_operator_did_to_its_batch_is_in_its_history() {
    let edited = Record::TxEdited { batch: 1, edit: TxEdit::Cancel, unix_ms: 5 };
    let Record::Submitted(attempt) = submitted(1, 2) else { panic!("an attempt") };
    let records =
        [ticket(), granted(), cut(1, 1, 2), submitted(1, 1), edited, Record::CancelSubmitted(attempt)];
    let said = ask(&records, Some((MessageState::Submitted, 0)), moment());
    let events: Vec<_> = said.history.iter().map(|line| line.event).collect();
    assert_eq!(events[4..], ["edited", "submitted"]);
    assert_eq!(said.fault, "operator");
    assert!(said.summary.contains("cancelled"), "{}", said.summary);
}

#[test]
fn a_mined_batch_waits_for_safe_and_after_a_reorganisation_for_a_receipt_again() {
    let mut records = vec![ticket(), granted(), cut(1, 1, 2), submitted(1, 1), mined(true)];
    let said = ask(&records, Some((MessageState::Mined, 0)), moment());
    assert_eq!((said.stage, said.fault, said.next_block), (Stage::Mined, "nobody", Some(230)));
    assert!(said.next.contains("9 blocks to go"), "{}", said.next);
    records.push(Record::Unmined { batch: 1 });
    assert_eq!(ask(&records, Some((MessageState::Submitted, 0)), moment()).stage, Stage::Submitted);
}

#[test]
fn a_head_above_it_covers_it_and_a_strangers_transaction_is_named_as_such() {
    let below = ask(&[ticket(), granted(), head(1, OURS)], Some((MessageState::Granted, 0)), moment());
    assert_eq!(below.stage, Stage::Granted);
    let said = ask(&[ticket(), granted(), head(3, [0xcc; 32])], Some((MessageState::Safe, 0)), moment());
    assert_eq!(said.stage, Stage::Safe);
    let line = said.history.last().unwrap();
    assert!(line.detail.contains("somebody else") && line.block == Some(230), "{line:?}");
}

#[test]
fn what_finalized_covers_is_final() {
    let finalized = Moment { finalized: 230, ..moment() };
    let said = ask(&[ticket(), granted(), head(2, OURS)], Some((MessageState::Safe, 0)), finalized);
    assert_eq!((said.stage, said.fault), (Stage::Final, "nobody"));
}

#[test]
fn a_batch_that_ended_without_a_transaction_names_the_block_of_the_next_try() {
    let dropped = Record::BatchDropped { batch: 1, retry_block: 250 };
    let records = [ticket(), granted(), cut(1, 1, 2), dropped];
    let said = ask(&records, Some((MessageState::Batched, 250)), moment());
    assert_eq!((said.stage, said.fault, said.next_block), (Stage::Granted, "chain", Some(250)));
    assert!(said.next.contains("22 blocks from now"), "{}", said.next);
}

#[test]
fn a_batch_that_reverted_names_its_block_and_is_carried_again() {
    let safe = Record::Safe { batch: 1, transaction: OURS, block: 230, succeeded: false };
    let records = [ticket(), granted(), cut(1, 1, 2), submitted(1, 1), mined(false), safe];
    let said = ask(&records, Some((MessageState::Mined, 255)), moment());
    assert!(said.summary.contains("reverted in block 230"), "{}", said.summary);
    assert_eq!(said.next_block, Some(255));
}

#[test]
fn what_was_given_up_says_why_and_that_nothing_follows() {
    let records = [ticket(), granted()];
    let expired = ask(&records, Some((MessageState::Expired, 0)), moment());
    assert_eq!((expired.stage, expired.fault), (Stage::Expired, "chain"));
    let rejected = ask(&records, Some((MessageState::RejectedByContract, 0)), moment());
    assert_eq!((rejected.stage, rejected.fault), (Stage::RejectedByContract, "device"));
    assert!(rejected.next.starts_with("Nothing"));
}

#[test]
fn a_sid_is_32_hex_digits_with_or_without_0x() {
    assert_eq!(parse_sid(&format!("0x{}", "07".repeat(16))).unwrap(), SID);
    assert_eq!(parse_sid(&"07".repeat(16)).unwrap(), SID);
    for wrong in ["", "07", &"07".repeat(32), &"zz".repeat(16)] {
        assert_eq!(parse_sid(wrong).unwrap_err().code(), "argument");
    }
}

#[test]
fn a_statement_under_a_root_waits_for_the_round_and_is_recorded_with_its_signers_only() {
    let leaf = LeafRecord { index: 4, device_id: [1; 32], n: 2, head: [2; 32] };
    let epoch = Epoch { epoch: EPOCH, challenge: [0; 32], policy_hash: [0; 32] };
    let root = batch_tree::root_record(&epoch, vec![(3, vec![leaf])]);
    let group_root = root.groups[0].group_root;
    let safe = |index: u8| {
        let signers = [index].into_iter().collect();
        Record::RootSafe { group: 3, epoch: EPOCH, group_root, signers, transaction: OURS, block: 230 }
    };
    let closed =
        Record::RootClosed { epoch: EPOCH, root: root.root, signers: vec![(3, [4].into_iter().collect())] };
    let mut records = vec![ticket(), granted(), Record::RootCut(root)];
    let said = ask(&records, None, moment());
    assert_eq!((said.stage, said.fault), (Stage::Granted, "nobody"));
    assert!(said.summary.contains("co-sign"), "{}", said.summary);
    records.extend([closed, cut(1, 1, 2), submitted(1, 1), safe(5)]);
    let said = ask(&records, Some((MessageState::Submitted, 0)), moment());
    assert_eq!(said.stage, Stage::Submitted, "another index signed that one");
    records.push(safe(4));
    let said = ask(&records, Some((MessageState::Safe, 0)), moment());
    assert_eq!(said.stage, Stage::Safe);
    let recorded = said.history.last().unwrap();
    assert!(
        recorded.detail.contains("head 2") && recorded.detail.contains("our transaction"),
        "{recorded:?}"
    );
    let events: Vec<&str> = said.history.iter().map(|line| line.event).collect();
    assert!(events.contains(&"root_cut") && events.contains(&"root_closed"), "{events:?}");
}
