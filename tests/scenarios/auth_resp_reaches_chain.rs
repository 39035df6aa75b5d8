//! The main job: challenge, AUTH_RESP, grant, record on chain, AUTH_FINAL with level SAFE.

use cip22_wire::message::{AuthFinal, Body};
use cip22_wire::{FrameType, Level};
use system_tests::world::World;

#[tokio::test]
async fn an_auth_resp_is_granted_at_once_and_reaches_the_chain() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let sid = pile.authorize().await;
    let (epoch, place) = (pile.epoch.unwrap().epoch, pile.place.unwrap());
    let (n, head) = pile.chain;

    let recorded = world.chain.wait_for_head(place.group, place.index, epoch, n).await;
    assert_eq!(recorded.head, head, "the chain shows the head that the pile signed");
    let (_, payload) = pile.expect(&[FrameType::AuthFinal]).await;
    let told = AuthFinal::decode(&payload).unwrap();
    assert_eq!((told.sid, told.level), (sid, Level::Safe.code()));
    let again = world.chain.heads_of(place.group, place.index, epoch).await;
    assert_eq!(again.len(), 1, "recorded once");
    assert_eq!(relayer.status()["counts"]["auth_safe"], 1);
}
