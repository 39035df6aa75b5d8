//! The relayer dies with a signed transaction on disk, once before and once after its broadcast: the same bytes go out
//! again, and the record stands once.

use system_tests::world::World;

#[tokio::test]
async fn a_signed_transaction_survives_a_kill_before_its_broadcast() {
    killed_at("submit::after_persist").await;
}

#[tokio::test]
async fn a_broadcast_transaction_survives_a_kill_before_its_confirmation() {
    killed_at("submit::after_broadcast").await;
}

async fn killed_at(failpoint: &'static str) {
    let world = World::new();
    let mut dying = world.launch().failing_at(failpoint).start();
    let mut pile = world.connected_pile(0, &dying).await;
    pile.authorize().await;
    let (epoch, place) = (pile.epoch.unwrap().epoch, pile.place.unwrap());
    let (n, head) = pile.chain;
    dying.wait_for_kill();

    let relayer = world.launch().start();
    let recorded = world.chain.wait_for_head(place.group, place.index, epoch, n).await;
    assert_eq!(recorded.head, head);
    let mut next = world.connected_pile(1, &relayer).await;
    next.authorize().await;
    let again = next.place.unwrap();
    world.chain.wait_for_head(again.group, again.index, next.epoch.unwrap().epoch, 1).await;
    assert_eq!(world.chain.heads_of(place.group, place.index, epoch).await.len(), 1, "recorded once");
}
