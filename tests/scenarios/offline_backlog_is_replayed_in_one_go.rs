//! A pile with a backlog of telemetry sends it without waiting for each answer, loses the relayer in the middle, and goes on
//! from what the relayer holds: nothing that was acknowledged is missing, nothing is sent twice.

use cip22_wire::message::{BattTelem, Body, TelemAck, TelemHead};
use cip22_wire::{FrameType, Level};
use system_tests::pile::{Pile, whole_frame};
use system_tests::world::World;

/// Below what a pile may send at once under the default limits.
const RECORDS: u32 = 380;
/// So many are acknowledged when the relayer is lost.
const BEFORE_THE_LOSS: u32 = 120;

#[tokio::test]
async fn a_backlog_goes_out_in_one_go_and_goes_on_where_the_relayer_lost_it() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let backlog: Vec<BattTelem> = (0..RECORDS).map(|_| pile.next_record([0; 16])).collect();
    send(&mut pile, &backlog).await;
    for seq in 1..=BEFORE_THE_LOSS {
        expect_durable(&mut pile, seq).await;
    }
    relayer.kill();

    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let none = TelemHead { battery: pile.battery, seq: None, fp: None, ledger_seq: None, ledger_fp: None };
    pile.send(&none).await;
    let (_, payload) = pile.expect(&[FrameType::TelemHead]).await;
    let held = TelemHead::decode(&payload).unwrap().seq.unwrap();
    assert!(held >= BEFORE_THE_LOSS, "{held} records are held, {BEFORE_THE_LOSS} were acknowledged");
    send(&mut pile, &backlog[held as usize..]).await;
    for seq in held + 1..=RECORDS {
        expect_durable(&mut pile, seq).await;
    }
    pile.send(&none).await;
    let (_, payload) = pile.expect(&[FrameType::TelemHead]).await;
    let head = TelemHead::decode(&payload).unwrap();
    assert_eq!((head.seq, head.fp), (Some(RECORDS), Some(backlog[RECORDS as usize - 1].fp)));
    assert_eq!(relayer.status()["counts"]["telemetry"], RECORDS);
}

async fn send(pile: &mut Pile, records: &[BattTelem]) {
    let frames: Vec<u8> = records.iter().flat_map(whole_frame).collect();
    pile.send_bytes(&frames).await;
}

/// The next answer to a record is for this one.
async fn expect_durable(pile: &mut Pile, seq: u32) {
    let (found, payload) = pile.expect(&[FrameType::TelemAck, FrameType::Nack]).await;
    assert_eq!(found, FrameType::TelemAck);
    let ack = TelemAck::decode(&payload).unwrap();
    assert_eq!((ack.seq, ack.level), (seq, Level::Durable.code()));
}
