//! What the contract itself refuses, when anyone sends it: forged, stale policy, replayed.

use alloy::sol_types::SolCall;
use system_tests::chain::{extendCall, recordCall};
use system_tests::world::World;

#[tokio::test]
async fn forged_stale_and_replayed_records_change_nothing_on_chain() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let epoch = pile.epoch.unwrap();
    let place = pile.place.unwrap();
    let stranger = world.node.info.account("stranger").clone();
    let verifier = world.chain.verifier;
    let head = [0x5A; 32];
    let honest = pile.record_bytes(&epoch, 1, head);
    let call = |records: Vec<u8>| {
        recordCall { group: place.group, epoch: epoch.epoch, records: records.into() }.abi_encode()
    };

    let mut forged = honest.clone();
    forged[40] ^= 1;
    world.chain.send(&stranger, verifier, call(forged)).await;
    let own_key = std::mem::replace(&mut pile.key, world.pile(1).key);
    let another_key = pile.record_bytes(&epoch, 1, head);
    pile.key = own_key;
    world.chain.send(&stranger, verifier, call(another_key)).await;
    let mut stale = epoch;
    stale.policy_hash = [3; 32];
    let stale = pile.record_bytes(&stale, 1, head);
    world.chain.send(&stranger, verifier, call(stale)).await;
    assert!(world.chain.heads_of(place.group, place.index, epoch.epoch).await.is_empty());

    assert!(world.chain.send(&stranger, verifier, call(honest.clone())).await);
    assert!(world.chain.send(&stranger, verifier, call(honest.clone())).await, "overlap never reverts");
    let heads = world.chain.heads_of(place.group, place.index, epoch.epoch).await;
    assert_eq!(heads.len(), 1, "a replayed record counts once");
    let unset = recordCall { group: place.group, epoch: u32::MAX, records: honest.clone().into() };
    assert!(!world.chain.send(&stranger, verifier, unset.abi_encode()).await, "a poisoned epoch is refused");
    let other = world.connected_pile(1, &relayer).await;
    let extend = extendCall {
        group: place.group,
        epoch: epoch.epoch,
        records: other.record_bytes(&epoch, 1, head).into(),
    };
    world.chain.send(&stranger, verifier, extend.abi_encode()).await;
    let index = other.place.unwrap().index;
    assert!(world.chain.heads_of(place.group, index, epoch.epoch).await.is_empty(), "extend needs a set bit");
}
