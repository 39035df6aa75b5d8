//! A pile's record of a later epoch goes on chain first; the earlier epoch's still does.

use alloy::sol_types::SolCall;
use cip22_wire::FrameType;
use system_tests::chain::recordCall;
use system_tests::world::World;

#[tokio::test]
async fn an_earlier_epoch_is_recorded_after_a_later_one() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let (early, place) = (pile.epoch.unwrap(), pile.place.unwrap());
    let early_record = pile.record_bytes(&early, 1, [1; 32]);
    while pile.epoch.unwrap().epoch == early.epoch {
        pile.expect(&[FrameType::Epoch]).await;
    }
    let late = pile.epoch.unwrap();
    let late_record = pile.record_bytes(&late, 1, [2; 32]);
    let stranger = world.node.info.account("stranger").clone();
    for (epoch, record) in [(late.epoch, late_record), (early.epoch, early_record)] {
        let call = recordCall { group: place.group, epoch, records: record.into() };
        assert!(world.chain.send(&stranger, world.chain.verifier, call.abi_encode()).await);
        assert_eq!(world.chain.heads_of(place.group, place.index, epoch).await.len(), 1, "epoch {epoch}");
    }
}
