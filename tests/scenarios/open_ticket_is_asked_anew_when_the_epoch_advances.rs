//! A ticket that is open when the epoch advances: a pile asks anew, and an answer in the closed epoch still counts.

use cip22_wire::FrameType;
use system_tests::world::World;

#[tokio::test]
async fn a_pile_with_an_open_ticket_asks_anew_after_the_epoch_advanced() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let (request, eph) = pile.challenge_request();
    let old = pile.ticket_for(&request, eph.clone()).await;
    let again = pile.ticket_for(&request, eph.clone()).await;
    if again.challenge.epoch == old.challenge.epoch {
        assert_eq!(again.challenge, old.challenge, "the same request gets the same ticket within an epoch");
    }
    while pile.epoch.unwrap().epoch == old.challenge.epoch {
        pile.expect(&[FrameType::Epoch]).await;
    }
    let new = pile.ticket_for(&request, eph).await;
    assert!(new.challenge.epoch > old.challenge.epoch);
    assert_ne!(new.challenge.sid, old.challenge.sid);
    let answer = pile.answer(&new);
    pile.send(&answer.response).await;
    pile.expect_grant(&new).await;
    let place = pile.place.unwrap();
    world.chain.wait_for_head(place.group, place.index, new.challenge.epoch, 1).await;
}
