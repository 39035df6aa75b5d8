//! A ticket that is open when the epoch advances: a pile asks anew, and an answer in the closed epoch still counts.

use cip22_wire::FrameType;
use system_tests::world::World;

#[tokio::test]
async fn a_pile_with_an_open_ticket_asks_anew_after_the_epoch_advanced() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let old = pile.ticket().await;
    while pile.epoch.unwrap().epoch == old.challenge.epoch {
        pile.expect(&[FrameType::Epoch]).await;
    }
    let new = pile.ticket().await;
    assert!(new.challenge.epoch > old.challenge.epoch);
    assert_ne!(new.challenge.sid, old.challenge.sid);
    let answer = pile.answer(&new);
    pile.send(&answer.response).await;
    pile.expect_grant(&new).await;
    let place = pile.place.unwrap();
    world.chain.wait_for_head(place.group, place.index, new.challenge.epoch, 1).await;
}
