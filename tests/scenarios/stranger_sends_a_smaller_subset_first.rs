//! A stranger sends the root of an epoch before the relayer, with fewer of its signers: nobody is kept out, and nothing reverts.

use system_tests::lane2::Carried;
use system_tests::proxy::{Behaviour, Proxy};
use system_tests::roots::{RootGroup, aggregate, record_root_calldata};
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smaller_subset_sent_first_keeps_nobody_out() {
    let world = World::with_block_interval(300);
    let proxy = Proxy::start(&world.node.info.rpc_url).await;
    let relayer = world
        .lane2()
        .with("RELAYER__CHAIN__ENDPOINTS", &proxy.url)
        .with("RELAYER__CHAIN__REPLACE_BLOCKS", 10_000)
        .with("RELAYER__CHAIN__REBROADCAST_BLOCKS", 5)
        .start();
    let mut piles = Vec::new();
    for number in 0..3 {
        piles.push(world.connected_pile(number, &relayer).await);
    }
    proxy.on("eth_sendRawTransaction", Behaviour::Swallow);
    world.authorize_all(&mut piles).await;
    let mut signed = Vec::new();
    for pile in &mut piles {
        let offer = pile.co_sign().await;
        signed.push((pile.sign_root(&offer).signature, offer));
    }
    proxy.wait_for_calls("eth_sendRawTransaction", 1).await;

    let offer = signed[0].1.clone();
    assert!(signed.iter().all(|(_, other)| other.root == offer.root), "one root for all");
    let group = RootGroup {
        group: offer.group,
        group_root: offer.group_root(),
        signers: signed[..2].iter().map(|(_, offer)| offer.leaf.to_be_bytes()[1]).collect(),
        records: Vec::new(),
    };
    let subset = aggregate(&[signed[0].0, signed[1].0]);
    let calldata = record_root_calldata(offer.epoch, &subset, std::slice::from_ref(&group));
    let stranger = world.node.info.account("stranger").clone();
    assert!(world.chain.send(&stranger, world.chain.verifier, calldata.clone()).await);
    assert!(
        world.chain.root_with(offer.group, offer.epoch, signed[2].1.leaf.to_be_bytes()[1]).await.is_none()
    );

    proxy.clear();
    for pile in &piles {
        assert!(
            matches!(world.chain.wait_for_carried(pile.last_answer()).await, Carried::Root(_)),
            "by the root it signed"
        );
    }
    assert!(world.chain.send(&stranger, world.chain.verifier, calldata).await, "overlap never reverts");
    let roots = world.chain.roots(offer.group, offer.epoch).await;
    assert_eq!(roots.len(), 2, "what adds no bit leaves no trace: {roots:?}");
    assert!(roots.iter().all(|root| root.groupRoot.0 == group.group_root));
    for pile in &mut piles {
        pile.expect_safe().await;
    }
}
