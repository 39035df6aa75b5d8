//! Pruning on a real chain: epochs leave the ring, the relayer is killed while it forgets them, and a charge that is still open is not forgotten.

use cip22_wire::NackCode;
use system_tests::world::World;

#[tokio::test]
async fn an_open_charge_outlives_its_pruned_epoch_and_a_kill_while_pruning() {
    let world = World::with_block_interval(50);
    let launch = || {
        world
            .launch()
            .with("RELAYER__JOURNAL__RETENTION_BLOCKS", 0)
            .with("RELAYER__GATEWAY__ANSWER_WINDOW_BLOCKS", 100)
            .with("RELAYER__GATEWAY__DEADLINE_MARGIN_BLOCKS", 60)
    };
    let mut dying = launch().failing_at("prune::front_cut").start();
    let mut open = world.connected_pile(0, &dying).await;
    let sid = open.authorize().await;
    let mut ended = world.connected_pile(1, &dying).await;
    let over = ended.authorize().await;
    ended.end_charge(over).await;
    let epoch = open.epoch.unwrap().epoch.max(ended.epoch.unwrap().epoch);
    drop((open, ended));
    // The ring and more go by; then the front of the journal goes, and the process with it.
    dying.wait_for_kill();

    let relayer = launch().start();
    relayer.wait_for_metric("epoch_horizon", |horizon| horizon > f64::from(epoch)).await;
    let mut open = world.connected_pile(0, &relayer).await;
    open.end_charge(sid).await;
    let mut ended = world.connected_pile(1, &relayer).await;
    ended.send_charge_end(over).await;
    assert_eq!(ended.expect_nack().await, NackCode::UnknownTicket, "the other one is forgotten");
    ended.authorize().await;
    assert!(relayer.stop());
    let printed = launch().command(&["journal", "export", "--epoch", &epoch.to_string()]).unwrap();
    assert!(!printed.contains("EpochOpened") && !printed.contains("TicketIssued"), "{printed}");
    launch().command(&["journal", "verify"]).unwrap();
}
