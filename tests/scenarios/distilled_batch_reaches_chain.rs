//! Lane 2: piles co-sign one root, and one transaction records them all, with the records of those who did not.

use alloy::primitives::Uint;
use cip22_wire::{FrameType, NackCode};
use system_tests::roots::RootRecorded;
use system_tests::world::World;

#[tokio::test]
async fn co_signed_heads_reach_the_chain_by_one_root_and_the_absent_ones_by_their_records() {
    let world = World::new();
    let launch = world.launch().patient().with("RELAYER__BATCH__LANE", "bls");
    let relayer = launch.with("RELAYER__BATCH__ROOT_DEADLINE_MS", 10_000).start();
    relayer.wait_for_status("lane 2 is there", |status| status["chain"]["lane2"] == "available").await;
    let mut piles = Vec::new();
    for number in 0..5 {
        piles.push(world.connected_pile(number, &relayer).await);
    }
    // All state something in one epoch, from its beginning on.
    let newest = piles[piles.len() - 1].epoch.expect("open").epoch + 1;
    let mut sids = Vec::new();
    for pile in &mut piles {
        while pile.epoch.expect("open").epoch < newest {
            pile.expect(&[FrameType::Epoch]).await;
        }
        sids.push(pile.authorize().await);
        assert_eq!(pile.answered.0, newest, "an epoch is long enough for five piles");
    }
    // The last one goes away without co-signing; one signs something else.
    piles[4].drop_link();
    let mut offers = Vec::new();
    for pile in &mut piles[..3] {
        offers.push(pile.co_sign().await);
    }
    let wrong = piles[3].expect_root().await;
    let answer = piles[3].sign_root_wrongly(&wrong);
    piles[3].send(&answer).await;
    piles[3].expect_batch_ack(newest).await;
    assert!(offers.iter().all(|offer| offer.root == wrong.root), "one root for all");

    for (pile, sid) in piles[..4].iter_mut().zip(&sids) {
        assert_eq!(pile.expect_safe().await, *sid);
    }
    let signers: u64 = piles[..3].iter().map(|pile| 1 << pile.place.expect("greeted").index).sum();
    let events = world.chain.events::<RootRecorded>().await;
    let [event] = events.as_slice() else { panic!("{} roots", events.len()) };
    assert_eq!((event.epoch, event.groupRoot.0), (newest, wrong.group_root()));
    assert_eq!(event.signers, Uint::from(signers));
    for pile in &piles[3..] {
        assert_eq!(world.wait_for_recorded(pile).await.n, pile.answered.1, "by its own record");
    }
    for pile in &piles[..3] {
        let place = pile.place.expect("greeted");
        assert!(
            world.chain.heads_of(place.group, place.index, newest).await.is_empty(),
            "under the root alone"
        );
    }

    // Who signed may ask for its leaf again, who did not gets none.
    piles[0].request_leaf(newest).await;
    assert_eq!(piles[0].expect_root().await, offers[0]);
    piles[3].request_leaf(newest).await;
    assert_eq!(piles[3].expect_nack().await, NackCode::FieldValue);
    assert_eq!(relayer.metric("piles_quarantined").await, 1.0);
    assert_eq!(relayer.metric("rounds_closed_total").await, 1.0);
    let (told, _) = relayer.ask(&["why", &hex::encode(sids[0])]);
    let history = told["history"].to_string();
    assert!(history.contains("root_cut") && history.contains("this pile among them"), "{history}");
}
