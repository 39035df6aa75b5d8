//! A node from before EIP-2537: what piles sign reaches the chain by lane 1.

use system_tests::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_node_without_bls_uses_lane_1() {
    let world = World::older();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    pile.authorize().await;
    world.wait_for_recorded(&pile).await;
}
