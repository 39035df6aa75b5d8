//! A battery that moves to another pile goes on with its history there, and the pile that it left cannot write in it any more.

use cip22_wire::{Level, NackCode, telemetry};
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_battery_that_moves_continues_its_chain_at_the_next_pile() {
    let world = World::new();
    let relayer = world.launch().start();
    let ledger = world.deployment.battery_ledger;
    let mut first = world.connected_pile(0, &relayer).await;
    let battery = first.battery;
    let mut record = first.next_record([0; 16]);
    for _ in 0..2 {
        first.send(&record).await;
        assert_eq!(first.expect_telem_ack().await.level, Level::Durable.code());
        record = first.next_record([0; 16]);
    }
    first.send(&record).await;
    first.expect_telem_ack().await;
    let left = record;
    let checkpoint = first.checkpoint_at(&left);
    first.send(&checkpoint).await;
    first.expect_telem_ack().await;
    world.chain.wait_for_ledger(ledger, battery, left.seq).await;
    assert_eq!(first.expect_telem_ack().await.level, Level::Safe.code());

    let mut second = world.connected_pile(1, &relayer).await;
    let head = second.adopt_battery(battery).await;
    assert_eq!((head.seq, head.fp), (Some(left.seq), Some(left.fp)));
    assert_eq!((head.ledger_seq, head.ledger_fp), (Some(left.seq), Some(left.fp)));
    let record = second.next_record([0; 16]);
    second.send(&record).await;
    second.expect_telem_ack().await;
    let checkpoint = second.checkpoint_at(&record);
    second.send(&checkpoint).await;
    second.expect_telem_ack().await;

    // The first pile still believes that the battery is there.
    let mut stale = first.next_record([0; 16]);
    stale.energy_wh += 1;
    stale.fp = telemetry::fingerprint(&left.fp, &stale);
    first.send(&stale).await;
    assert_eq!(first.expect_nack().await, NackCode::TelemGap, "its place is taken");

    world.chain.wait_for_ledger(ledger, battery, record.seq).await;
    let moves = world.chain.ledger(ledger, battery).await;
    assert_eq!(moves, vec![(left.seq, left.fp), (record.seq, record.fp)], "one history, by two piles");
}
