//! Protocol §9.

use cip22_device_sdk::{
    Error, Event, TELEMETRY_WINDOW,
    wire::{
        EndCause, FrameType, Level, NackCode,
        message::{BattTelem, TelemCheckpoint, TelemHead},
        telemetry::fingerprint,
    },
};

use crate::{
    board::{Pile, Sent},
    flow::{BATTERY, sample},
    gateway::{Gateway, bytes, nack, telem_ack},
};

fn adopted() -> (Gateway, Pile) {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.ready(&mut gateway, 10);
    pile.session.adopt_battery(BATTERY, [0; 16]);
    pile.answer(&mut gateway);
    pile.events();
    (gateway, pile)
}

fn head(seq: u32, fp: [u8; 32], ledger_seq: u32, ledger_fp: [u8; 32]) -> Vec<u8> {
    bytes(&TelemHead {
        battery: BATTERY,
        seq: Some(seq),
        fp: Some(fp),
        ledger_seq: Some(ledger_seq),
        ledger_fp: Some(ledger_fp),
    })
}

fn types(outputs: &[Sent]) -> Vec<FrameType> {
    outputs.iter().map(Sent::frame_type).collect()
}

#[test]
fn records_continue_where_another_pile_ended() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.ready(&mut gateway, 10);
    pile.session.adopt_battery(BATTERY, [3; 16]);
    assert_eq!(pile.session.telemetry(&sample(1)), Err(Error::WouldBlock), "the head is not known yet");
    let question: TelemHead = pile.output().read();
    assert_eq!((question.battery, question.seq, question.ledger_fp), (BATTERY, None, None));
    pile.give(&head(41, [7; 32], 40, [6; 32]));
    assert_eq!(pile.events(), [Event::TelemHead { battery: BATTERY, seq: 41, ledger_seq: 40 }]);
    assert_eq!(pile.session.telemetry(&sample(1)), Ok(42));
    let record: BattTelem = pile.output().read();
    assert_eq!((record.seq, record.segment, record.fp), (42, [3; 16], fingerprint(&[7; 32], &record)));

    pile.session.checkpoint().unwrap();
    assert!(pile.outputs().is_empty(), "a checkpoint names a durable record");
    pile.give(&telem_ack(BATTERY, 42, Level::Received, false));
    assert!(pile.outputs().is_empty(), "received is not durable");
    pile.give(&telem_ack(BATTERY, 42, Level::Durable, false));
    let checkpoint: TelemCheckpoint = pile.output().read();
    assert_eq!((checkpoint.seq, checkpoint.fp, checkpoint.time_ms), (42, record.fp, record.time_ms));
    assert_eq!((checkpoint.prev_seq, checkpoint.prev_fp), (40, [6; 32]));
}

#[test]
fn without_a_battery_there_is_no_telemetry() {
    let gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    assert_eq!(pile.session.telemetry(&sample(1)), Err(Error::NoBattery));
    assert_eq!(pile.session.checkpoint(), Err(Error::NoBattery));
}

#[test]
fn a_full_window_blocks_until_records_are_durable() {
    let (mut gateway, mut pile) = adopted();
    for i in 1..=TELEMETRY_WINDOW as u32 {
        pile.session.telemetry(&sample(i)).unwrap();
    }
    assert_eq!(pile.session.telemetry(&sample(17)), Err(Error::WouldBlock));
    assert_eq!(pile.outputs().len(), TELEMETRY_WINDOW);
    pile.give(&telem_ack(BATTERY, 3, Level::Received, false));
    assert_eq!(pile.session.telemetry(&sample(17)), Err(Error::WouldBlock));
    pile.give(&telem_ack(BATTERY, 3, Level::Durable, false));
    assert_eq!(pile.session.battery_head(), Some((16, 13)));
    assert_eq!(pile.session.telemetry(&sample(17)), Ok(17));
    pile.session.disconnected();
    pile.connect(&mut gateway);
    assert_eq!(pile.outputs().len(), 14);
}

/// A flight of what is ready: everything the pile sends before it hears anything, and the gateway's answers to all of it.
fn round_trip(pile: &mut Pile, gateway: &mut Gateway) -> Vec<u8> {
    pile.outputs().iter().flat_map(|sent| gateway.reply(sent)).flatten().collect()
}

#[test]
fn a_backlog_goes_out_by_the_window_and_a_window_costs_one_round_trip() {
    let (mut gateway, mut pile) = adopted();
    let mut made = 0;
    let mut round_trips = 0;
    while gateway.records.len() < 100 {
        while made < 100 && pile.session.telemetry(&sample(made + 1)).is_ok() {
            made += 1;
        }
        let answers = round_trip(&mut pile, &mut gateway);
        pile.give(&answers);
        pile.events();
        round_trips += 1;
        assert!(round_trips <= 100_usize.div_ceil(TELEMETRY_WINDOW), "{} records", gateway.records.len());
    }
    assert_eq!(
        pile.session.next_deadline(),
        Some(30_000),
        "nothing waited for time to pass: only the heartbeat is due"
    );
}

#[test]
fn a_window_lost_with_its_connection_goes_out_at_once_on_the_next() {
    let (mut gateway, mut pile) = adopted();
    for i in 1..=TELEMETRY_WINDOW as u32 {
        pile.session.telemetry(&sample(i)).unwrap();
    }
    let lost = pile.outputs();
    assert_eq!(lost.len(), TELEMETRY_WINDOW);
    pile.session.disconnected();
    pile.connect(&mut gateway);
    assert_eq!(pile.outputs(), lost);
}

#[test]
fn records_made_offline_keep_their_times_and_are_held_once_though_sent_twice() {
    let (mut gateway, mut pile) = adopted();
    pile.session.disconnected();
    for i in 1..=10 {
        pile.session.telemetry(&sample(i)).unwrap();
    }
    pile.clock.pass(3_600_000);
    pile.connect(&mut gateway);
    // The answers to the first flight are lost.
    assert!(!round_trip(&mut pile, &mut gateway).is_empty());
    pile.session.disconnected();
    pile.connect(&mut gateway);
    let answers = round_trip(&mut pile, &mut gateway);
    pile.give(&answers);
    let times: Vec<u64> = gateway.records.iter().map(|record| record.time_ms).collect();
    assert_eq!(times, (1..=10).map(|i| sample(i).time_ms).collect::<Vec<_>>());
    assert_eq!(pile.session.battery_head(), Some((10, 0)));
}

#[test]
fn time_that_runs_backwards_is_refused() {
    let (_, mut pile) = adopted();
    pile.session.telemetry(&sample(5)).unwrap();
    assert_eq!(pile.session.telemetry(&sample(4)), Err(Error::TimeDecreased));
    assert_eq!(pile.session.telemetry(&sample(5)), Ok(2));
}

#[test]
fn checkpoints_follow_one_another_one_at_a_time() {
    let (mut gateway, mut pile) = adopted();
    for i in 1..=12 {
        pile.session.telemetry(&sample(i)).unwrap();
    }
    let mut replies = Vec::new();
    for sent in pile.outputs() {
        replies.extend(gateway.reply(&sent));
    }
    for reply in replies {
        pile.give(&reply);
    }
    let first = pile.output();
    assert_eq!(first.read::<TelemCheckpoint>().seq, 4);
    for reply in gateway.reply(&first) {
        pile.give(&reply);
    }
    pile.answer(&mut gateway);
    assert_eq!(gateway.checkpoint.0, 12);
    assert_eq!(pile.session.checkpointed_seq(), Some(12));
}

#[test]
fn a_gap_is_sent_again_from_the_record_wanted() {
    let (_, mut pile) = adopted();
    for i in 1..=5 {
        pile.session.telemetry(&sample(i)).unwrap();
    }
    let sent = pile.outputs();
    pile.give(&telem_ack(BATTERY, 2, Level::Durable, false));
    for _ in 0..2 {
        pile.give(&nack(FrameType::BattTelem, NackCode::TelemGap, Some(3), None));
    }
    assert_eq!(pile.outputs(), sent[2..]);
}

#[test]
fn records_put_off_by_the_gateway_keep_their_order() {
    let (mut gateway, mut pile) = adopted();
    pile.session.telemetry(&sample(1)).unwrap();
    let first = pile.output();
    pile.give(&nack(FrameType::BattTelem, NackCode::RateLimited, None, Some(300)));
    pile.session.telemetry(&sample(2)).unwrap();
    assert!(pile.outputs().is_empty());
    pile.clock.pass(300);
    let again = pile.outputs();
    assert_eq!((again.len(), &again[0]), (2, &first));
    for sent in &again {
        for reply in gateway.reply(sent) {
            pile.give(&reply);
        }
    }
    assert_eq!(gateway.records.len(), 2);
}

#[test]
fn a_record_that_cannot_be_continued_makes_the_pile_ask_for_the_head() {
    let (mut gateway, mut pile) = adopted();
    for i in 1..=3 {
        pile.session.telemetry(&sample(i)).unwrap();
    }
    pile.outputs();
    for _ in 0..3 {
        pile.give(&nack(FrameType::BattTelem, NackCode::TelemFingerprint, None, None));
    }
    let resets = pile.events();
    assert!(resets.contains(&Event::TelemetryReset { battery: BATTERY, dropped: 3 }));
    assert_eq!(pile.session.telemetry(&sample(4)), Err(Error::WouldBlock));
    pile.answer(&mut gateway);
    assert_eq!(pile.session.telemetry(&sample(4)), Ok(1));
    pile.answer(&mut gateway);
    assert_eq!(gateway.records.len(), 1);
}

#[test]
fn a_gap_that_never_closes_makes_the_pile_ask_for_the_head() {
    let (_, mut pile) = adopted();
    pile.session.telemetry(&sample(1)).unwrap();
    for _ in 0..4 {
        assert_eq!(types(&pile.outputs()), [FrameType::BattTelem]);
        pile.give(&nack(FrameType::BattTelem, NackCode::TelemGap, Some(1), None));
    }
    assert_eq!(types(&pile.outputs()), [FrameType::BattTelem]);
    pile.give(&nack(FrameType::BattTelem, NackCode::TelemGap, Some(1), None));
    assert_eq!(types(&pile.outputs()), [FrameType::TelemHead]);
}

#[test]
fn a_checkpoint_refused_for_its_predecessor_is_signed_anew_from_the_ledgers_head() {
    let (mut gateway, mut pile) = adopted();
    for i in 1..=4 {
        pile.session.telemetry(&sample(i)).unwrap();
    }
    for sent in pile.outputs() {
        for reply in gateway.reply(&sent) {
            pile.give(&reply);
        }
    }
    let refused: TelemCheckpoint = pile.output().read();
    gateway.checkpoint = (2, gateway.records[1].fp);
    pile.give(&nack(FrameType::TelemCheckpoint, NackCode::CheckpointMismatch, None, None));
    pile.answer(&mut gateway);
    assert_eq!(gateway.checkpoint, (refused.seq, refused.fp));
    assert_eq!(pile.session.unanswered(), 0);
}

#[test]
fn a_head_the_gateway_sends_unasked_gets_a_checkpoint_from_there() {
    let (mut gateway, mut pile) = adopted();
    for i in 1..=5 {
        pile.session.telemetry(&sample(i)).unwrap();
    }
    pile.answer(&mut gateway);
    let (second, fifth) = (gateway.records[1].fp, gateway.records[4].fp);
    pile.give(&head(5, fifth, 2, second));
    let checkpoint: TelemCheckpoint = pile.output().read();
    assert_eq!((checkpoint.prev_seq, checkpoint.prev_fp), (2, second));
    assert_eq!((checkpoint.seq, checkpoint.fp), (5, fifth));
}

#[test]
fn a_gateway_that_forgot_records_gets_no_second_fingerprint_for_a_signed_seq() {
    let (mut gateway, mut pile) = adopted();
    for i in 1..=4 {
        pile.session.telemetry(&sample(i)).unwrap();
    }
    pile.answer(&mut gateway);
    assert_eq!(gateway.checkpoint.0, 4);

    // Across a restart, the gateway claims that the battery never had a record.
    let mut pile = pile.restart();
    let mut forgetful = Gateway::new();
    pile.connect(&mut forgetful);
    pile.give(&forgetful.epoch(11));
    pile.session.adopt_battery(BATTERY, [0; 16]);
    pile.answer(&mut forgetful);
    for i in 11..=14 {
        pile.session.telemetry(&sample(i)).unwrap();
    }
    pile.answer(&mut forgetful);
    assert!(pile.events().contains(&Event::CheckpointRefused { battery: BATTERY, seq: 4 }));
    assert_eq!(forgetful.checkpoint.0, 0);

    // Beyond what was signed there is nothing to contradict.
    pile.session.telemetry(&sample(15)).unwrap();
    pile.session.checkpoint().unwrap();
    pile.answer(&mut forgetful);
    assert_eq!(forgetful.checkpoint.0, 5);
}

#[test]
fn a_grant_and_the_end_of_a_charge_change_the_segment() {
    let (mut gateway, mut pile) = adopted();
    pile.session.telemetry(&sample(1)).unwrap();
    pile.session.authorize().unwrap();
    pile.answer(&mut gateway);
    let sid = pile.session.charge().unwrap().sid;
    pile.session.telemetry(&sample(2)).unwrap();
    pile.session.end_charge(1, 1, EndCause::EvDisconnected, None).unwrap();
    pile.session.telemetry(&sample(3)).unwrap();
    pile.answer(&mut gateway);
    let segments: Vec<_> = gateway.records.iter().map(|record| record.segment).collect();
    assert_eq!(segments, [[0; 16], sid, [0; 16]]);
    assert!(gateway.checkpoint.0 >= 2);
}

#[test]
fn a_head_of_another_battery_is_passed_over() {
    let (_, mut pile) = adopted();
    pile.give(&bytes(&TelemHead {
        battery: [1; 32],
        seq: Some(9),
        fp: Some([9; 32]),
        ledger_seq: None,
        ledger_fp: None,
    }));
    assert_eq!(pile.session.telemetry(&sample(1)), Ok(1));
}

#[test]
fn records_continue_from_the_ledger_where_the_gateway_holds_less() {
    let mut gateway = Gateway::new();
    let mut pile = Pile::new(&gateway);
    pile.ready(&mut gateway, 10);
    pile.session.adopt_battery(BATTERY, [0; 16]);
    pile.output();
    pile.give(&head(0, [0; 32], 50, [5; 32]));
    assert_eq!(pile.session.telemetry(&sample(1)), Ok(51));
    let record: BattTelem = pile.output().read();
    assert_eq!(record.fp, fingerprint(&[5; 32], &record));
}

#[test]
fn a_checkpoint_due_for_a_record_that_was_refused_names_the_newest_durable_one() {
    let (mut gateway, mut pile) = adopted();
    for i in 1..=2 {
        pile.session.telemetry(&sample(i)).unwrap();
    }
    pile.answer(&mut gateway);
    pile.session.telemetry(&sample(3)).unwrap();
    pile.session.checkpoint().unwrap();
    pile.output();
    pile.give(&nack(FrameType::BattTelem, NackCode::TelemFingerprint, None, None));
    pile.answer(&mut gateway);
    assert_eq!(gateway.checkpoint.0, 2);
}

#[test]
fn a_record_the_gateway_no_longer_holds_gets_no_checkpoint() {
    let (mut gateway, mut pile) = adopted();
    for i in 1..=3 {
        pile.session.telemetry(&sample(i)).unwrap();
    }
    pile.answer(&mut gateway);
    gateway.records.truncate(1);
    pile.session.telemetry(&sample(4)).unwrap();
    pile.output();
    pile.give(&nack(FrameType::BattTelem, NackCode::TelemFingerprint, None, None));
    pile.answer(&mut gateway);
    pile.session.checkpoint().unwrap();
    assert!(pile.outputs().is_empty());
    assert_eq!(pile.session.telemetry(&sample(5)), Ok(2));
}
