//! A stranger records a pile's early head. Its later statements still get on chain, and the relayer copes.

use alloy::sol_types::SolCall;
use system_tests::chain::recordCall;
use system_tests::world::World;

#[tokio::test]
async fn later_statements_follow_by_extend_after_a_strangers_early_record() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    pile.authorize().await;
    let (epoch, place) = (pile.epoch.unwrap(), pile.place.unwrap());
    let (n, head) = pile.chain;
    let stranger = world.node.info.account("stranger").clone();
    let call = recordCall {
        group: place.group,
        epoch: epoch.epoch,
        records: pile.record_bytes(&epoch, n, head).into(),
    };
    assert!(world.chain.send(&stranger, world.chain.verifier, call.abi_encode()).await);

    // The pile signs on in the same epoch, whatever was announced since: here it is told to.
    let record = pile.next_record([0; 16]);
    pile.send(&record).await;
    pile.expect(&[cip22_wire::FrameType::TelemAck]).await;
    pile.epoch = Some(epoch);
    pile.chain = (n, head);
    let checkpoint = pile.checkpoint_at(&record);
    pile.send(&checkpoint).await;
    pile.expect(&[cip22_wire::FrameType::TelemAck]).await;

    let longest = world.chain.wait_for_head(place.group, place.index, epoch.epoch, n + 1).await;
    assert!(longest.extended, "by extend");
    assert_eq!(longest.head, pile.chain.1);
    let heads = world.chain.heads_of(place.group, place.index, epoch.epoch).await;
    assert_eq!(heads.iter().filter(|head| !head.extended).count(), 1, "the bit was set once");
    world.chain.wait_for_ledger(world.deployment.battery_ledger, pile.battery, record.seq).await;
}
