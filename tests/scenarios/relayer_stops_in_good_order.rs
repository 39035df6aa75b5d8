//! SIGTERM: sessions are told DRAIN, what was granted is still on disk, and the process ends with success.

use cip22_wire::FrameType;
use system_tests::world::World;

#[tokio::test]
async fn a_stop_drains_sessions_and_keeps_what_was_granted() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    pile.authorize().await;
    let (epoch, place, n) = (pile.epoch.unwrap().epoch, pile.place.unwrap(), pile.chain.0);
    let stopped = tokio::task::spawn_blocking(move || relayer.stop());
    pile.expect(&[FrameType::Drain]).await;
    assert!(stopped.await.unwrap(), "exit code 0");

    let _relayer = world.launch().start();
    world.chain.wait_for_head(place.group, place.index, epoch, n).await;
}
