//! The relayer dies at each step of a round of co-signing: the identical root is offered again, what was granted is on chain once.

use std::collections::BTreeMap;

use cip22_relayer::failpoint::ROUND_FAILPOINTS;
use cip22_wire::{FrameType, Hash};
use system_tests::lane2::Carried;
use system_tests::pile::Pile;
use system_tests::relayer::Relayer;
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_step_of_a_round_loses_nothing_and_changes_no_root() {
    let world = World::with_block_interval(300);
    let mut piles = vec![world.pile(0), world.pile(1)];
    for failpoint in ROUND_FAILPOINTS {
        let mut dying = world.lane2().failing_at(failpoint).start();
        connect(&mut piles, &dying).await;
        world.authorize_all(&mut piles).await;
        // By epoch, for each pile.
        let mut offered = vec![Offered::new(); piles.len()];
        for (pile, offered) in piles.iter_mut().zip(&mut offered) {
            co_sign_until_the_end(pile, offered).await;
        }
        dying.wait_for_kill();

        let relayer = world.lane2().start();
        connect(&mut piles, &relayer).await;
        for (pile, offered) in piles.iter_mut().zip(&mut offered) {
            if let Carried::Record(record) = co_sign_until_carried(&world, pile, offered).await {
                let heads = world.chain.heads_of(record.group, record.index, record.epoch).await;
                assert_eq!(heads.len(), 1, "{failpoint}: recorded once");
            }
        }
        assert!(relayer.stop(), "{failpoint}");
    }
}

/// Roots by epoch.
type Offered = BTreeMap<u32, Hash>;

async fn connect(piles: &mut [Pile], relayer: &Relayer) {
    for pile in piles {
        pile.connect(relayer.ready.listen).await;
        pile.hello().await;
        while pile.epoch.is_none() {
            pile.expect(&[FrameType::Epoch]).await;
        }
    }
}

/// Until the relayer is gone.
async fn co_sign_until_the_end(pile: &mut Pile, offered: &mut Offered) {
    while let Some(offer) = pile.try_expect_root().await {
        assert_eq!(*offered.entry(offer.epoch).or_insert(offer.root), offer.root, "one root in an epoch");
        let answer = pile.sign_root(&offer);
        if pile.try_send(&answer).await.is_err() {
            return;
        }
    }
}

async fn co_sign_until_carried(world: &World, pile: &mut Pile, offered: &mut Offered) -> Carried {
    let answer = pile.last_answer();
    tokio::select! {
        carried = world.chain.wait_for_carried(answer) => carried,
        () = co_sign_until_the_end(pile, offered) => panic!("the connection ended"),
    }
}
