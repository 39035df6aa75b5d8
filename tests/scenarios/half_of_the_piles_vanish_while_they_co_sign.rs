//! Half of the piles go away when a root comes: the others' signature carries them, and who vanished goes by its record.

use system_tests::lane2::Carried;
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_vanishes_during_a_round_goes_by_its_record() {
    let world = World::new();
    let relayer = world.lane2().start();
    let mut piles = Vec::new();
    for number in 0..4 {
        piles.push(world.connected_pile(number, &relayer).await);
    }
    world.authorize_all(&mut piles).await;
    let mut vanishing = piles.split_off(2);
    for pile in &mut vanishing {
        pile.expect_root().await;
        pile.drop_link();
    }
    for pile in &mut piles {
        pile.co_sign().await;
    }
    for pile in &piles {
        assert!(matches!(world.chain.wait_for_carried(pile.last_answer()).await, Carried::Root(_)), "signed");
    }
    for pile in &mut vanishing {
        assert!(
            matches!(world.chain.wait_for_carried(pile.last_answer()).await, Carried::Record(_)),
            "vanished"
        );
        // It hears of it when it is back.
        pile.connect(relayer.ready.listen).await;
        pile.hello().await;
    }
    for pile in piles.iter_mut().chain(&mut vanishing) {
        pile.expect_safe().await;
    }
    for pile in vanishing {
        let (epoch, place) = (pile.answered.0, pile.place.unwrap());
        assert_eq!(world.chain.heads_of(place.group, place.index, epoch).await.len(), 1, "recorded once");
    }
}
