//! The relayer dies after a grant was durable and before its transaction was: nothing granted is lost, nothing recorded twice.

use system_tests::world::World;

#[tokio::test]
async fn a_grant_survives_a_kill_before_submission() {
    let world = World::new();
    let mut dying = world.launch().failing_at("submit::before_persist").start();
    let mut pile = world.connected_pile(0, &dying).await;
    pile.authorize().await;
    let (epoch, place) = (pile.epoch.unwrap().epoch, pile.place.unwrap());
    let (n, head) = pile.chain;
    dying.wait_for_kill();
    assert!(world.chain.heads_of(place.group, place.index, epoch).await.is_empty());

    let relayer = world.launch().start();
    let recorded = world.chain.wait_for_head(place.group, place.index, epoch, n).await;
    assert_eq!(recorded.head, head);
    let mut pile = world.connected_pile(1, &relayer).await;
    pile.authorize().await;
    let again = pile.place.unwrap();
    world.chain.wait_for_head(again.group, again.index, pile.epoch.unwrap().epoch, 1).await;
    assert_eq!(world.chain.heads_of(place.group, place.index, epoch).await.len(), 1, "recorded once");
}
