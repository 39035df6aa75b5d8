//! Somebody else signs with the relayer's key and takes the nonce of a batch: the batch gets another once that is safe, and is carried once.

use alloy::primitives::B256;
use system_tests::chain::address_of;
use system_tests::hanging::Hanging;
use system_tests::pile::Pile;
use system_tests::proxy::{Behaviour, Proxy};
use system_tests::relayer::Relayer;
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nonce_taken_before_our_broadcast_arrives_costs_the_batch_only_its_nonce() {
    let world = World::new();
    let signer = world.node.info.account("relayer-1").clone();
    let nonce = world.chain.nonce(address_of(&signer)).await;
    let proxy = Proxy::start(&world.node.info.rpc_url).await;
    proxy.on("eth_sendRawTransaction", Behaviour::Swallow);
    let relayer = world
        .launch()
        .with("RELAYER__CHAIN__ENDPOINTS", &proxy.url)
        .with("RELAYER__CHAIN__REPLACE_BLOCKS", 10_000)
        .start();
    let mut pile = world.connected_pile(0, &relayer).await;
    pile.authorize().await;
    let first = first_attempt(&relayer, nonce).await;
    let foreign = world.chain.use_nonce(&signer, nonce, 60_000_000_000).await;
    assert!(world.chain.receipt_of(foreign).await);
    proxy.clear();
    carried_once_under_another_nonce(&world, &relayer, &pile, first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nonce_taken_after_our_broadcast_costs_the_batch_only_its_nonce() {
    let world = World::new();
    // Ours is in the pool and cannot be mined before the stranger has replaced it there.
    let Hanging { signer, nonce, proxy, relayer, pile } = Hanging::new(&world).await;
    let first = first_attempt(&relayer, nonce + 1).await;
    world.chain.wait_until_known(first).await;
    let foreign = world.chain.use_nonce(&signer, nonce + 1, 150_000_000_000).await;
    proxy.clear();
    world.chain.use_nonce(&signer, nonce, 60_000_000_000).await;
    assert!(world.chain.receipt_of(foreign).await);
    carried_once_under_another_nonce(&world, &relayer, &pile, first).await;
}

/// The transaction of the only batch, once it has this nonce.
async fn first_attempt(relayer: &Relayer, nonce: u64) -> B256 {
    let line = relayer.wait_for_transaction(|line| line["nonce"] == nonce).await;
    line["transaction"].as_str().unwrap().parse().unwrap()
}

async fn carried_once_under_another_nonce(world: &World, relayer: &Relayer, pile: &Pile, first: B256) {
    let (epoch, place) = (pile.epoch.unwrap().epoch, pile.place.unwrap());
    let recorded = world.chain.wait_for_head(place.group, place.index, epoch, pile.chain.0).await;
    assert_eq!(recorded.head, pile.chain.1);
    assert_eq!(world.chain.heads_of(place.group, place.index, epoch).await.len(), 1, "recorded once");
    let payers = world.chain.payers().await;
    assert_eq!(payers.len(), 1);
    assert_ne!(payers[0].1, first, "by another transaction than the one whose nonce was taken");
    assert_eq!(relayer.metric("foreign_nonces_total").await, 1.0);
    assert_eq!(relayer.metric("submit_attempts_total").await, 2.0, "one for each nonce");
}
