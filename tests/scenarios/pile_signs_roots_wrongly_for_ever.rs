//! A pile that signs roots wrongly for ever: the others' root goes on chain without it, its own signature carries it, and it is not
//! asked again for a while.

use system_tests::lane2::Carried;
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pile_that_signs_wrongly_is_left_out_and_carried_by_its_record() {
    let world = World::new();
    let relayer = world.lane2().start();
    let mut piles = Vec::new();
    for number in 0..3 {
        piles.push(world.connected_pile(number, &relayer).await);
    }
    world.authorize_all(&mut piles).await;
    let mut wrong = piles.pop().unwrap();
    let offer = wrong.expect_root().await;
    let lie = wrong.sign_root_wrongly(&offer);
    wrong.send(&lie).await;
    wrong.expect_batch_ack(offer.epoch).await;
    for pile in &mut piles {
        pile.co_sign().await;
    }
    for pile in &piles {
        assert!(matches!(world.chain.wait_for_carried(pile.last_answer()).await, Carried::Root(_)), "signed");
    }
    assert!(
        matches!(world.chain.wait_for_carried(wrong.last_answer()).await, Carried::Record(_)),
        "signed wrongly"
    );

    // The next round is without it.
    piles.push(wrong);
    world.authorize_all(&mut piles).await;
    let mut wrong = piles.pop().unwrap();
    for pile in &mut piles {
        pile.co_sign().await;
    }
    for pile in &piles {
        assert!(matches!(world.chain.wait_for_carried(pile.last_answer()).await, Carried::Root(_)), "signed");
    }
    assert!(
        matches!(world.chain.wait_for_carried(wrong.last_answer()).await, Carried::Record(_)),
        "quarantined"
    );
    wrong.expect_safe().await;
    wrong.expect_safe().await;
    assert!(!wrong.was_offered(wrong.answered.0), "a pile in quarantine is not asked");
}
