//! A node from before EIP-2537: the relayer says so at its start, and what piles sign reaches the chain by lane 1.

use cip22_wire::Level;
use system_tests::lane2::Carried;
use system_tests::world::World;

const WARNING: &str = "no BLS12-381 precompiles (EIP-2537) on this network: batches go by lane 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_the_precompiles_is_noticed_at_start_and_lane_1_serves() {
    let world = World::older();
    let (findings, passes) = world.lane2().check();
    assert!(passes, "nothing is wrong with it: {findings:#}");
    assert!(findings.to_string().contains(WARNING), "{findings:#}");
    let relayer = world.lane2().start();
    relayer.wait_for_status("lane 2 is missing", |status| status["chain"]["lane2"] == "missing").await;
    assert!(log_of(&world).contains(WARNING));

    let mut pile = world.connected_pile(0, &relayer).await;
    pile.authorize().await;
    assert!(matches!(world.chain.wait_for_carried(pile.last_answer()).await, Carried::Record(_)));
    let record = pile.next_record([0; 16]);
    pile.send(&record).await;
    assert_eq!(pile.expect_telem_ack().await.level, Level::Durable.code());
    let checkpoint = pile.checkpoint_at(&record);
    pile.send(&checkpoint).await;
    world.chain.wait_for_ledger(world.deployment.battery_ledger, pile.battery, record.seq).await;
    pile.expect_safe().await;
}

#[allow(clippy::disallowed_methods, reason = "scenarios work on real files")]
fn log_of(world: &World) -> String {
    std::fs::read_to_string(world.path().join("relayer.log")).expect("the relayer's log")
}
