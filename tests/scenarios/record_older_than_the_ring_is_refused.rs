//! A record whose epoch has left the ring's window is refused by the contract.

use alloy::rpc::types::BlockNumberOrTag;
use alloy::sol_types::SolCall;
use system_tests::chain::recordCall;
use system_tests::node::Node;
use system_tests::world::World;

#[tokio::test]
async fn a_record_older_than_the_ring_is_refused() {
    let mut world = World::new();
    let relayer = world.launch().start();
    let pile = world.connected_pile(0, &relayer).await;
    let (epoch, place) = (pile.epoch.unwrap(), pile.place.unwrap());
    let record = pile.record_bytes(&epoch, 1, [1; 32]);
    assert!(relayer.stop());
    world.node.kill();
    // The same chain goes on, with quicker blocks.
    let fast = Node::start(&world.path().join("chain"), None, 50);
    world.chain = system_tests::chain::Chain::new(&fast.info.rpc_url, world.deployment.verifier());
    let window = u64::from(world.deployment.ring_epochs) * world.deployment.epoch_len_blocks;
    let challenge_block = u64::from(epoch.epoch) * world.deployment.epoch_len_blocks;
    world.chain.wait_for_block(BlockNumberOrTag::Latest, challenge_block + window).await;
    let stranger = fast.info.account("stranger").clone();
    let call = recordCall { group: place.group, epoch: epoch.epoch, records: record.into() };
    assert!(!world.chain.send(&stranger, world.chain.verifier, call.abi_encode()).await);
    assert!(world.chain.heads_of(place.group, place.index, epoch.epoch).await.is_empty());
}
