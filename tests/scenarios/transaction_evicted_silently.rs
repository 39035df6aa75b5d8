//! A node forgets a transaction without a word: the stored bytes go out again, under the same nonce, and the record stands once.

use alloy::primitives::B256;
use system_tests::chain::address_of;
use system_tests::hanging::Hanging;
use system_tests::proxy::{Behaviour, Proxy};
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_a_node_took_and_forgot_go_out_again() {
    let world = World::new();
    let proxy = Proxy::start(&world.node.info.rpc_url).await;
    proxy.on("eth_sendRawTransaction", Behaviour::Swallow);
    let relayer = world
        .launch()
        .with("RELAYER__CHAIN__ENDPOINTS", &proxy.url)
        .with("RELAYER__CHAIN__REPLACE_BLOCKS", 10_000)
        .with("RELAYER__CHAIN__REBROADCAST_BLOCKS", 5)
        .start();
    let mut pile = world.connected_pile(0, &relayer).await;
    pile.authorize().await;
    let (epoch, place) = (pile.epoch.unwrap().epoch, pile.place.unwrap());
    proxy.wait_for_calls("eth_sendRawTransaction", 3).await;
    let sent = proxy.calls("eth_sendRawTransaction");
    assert!(sent.iter().all(|raw| *raw == sent[0]), "the same bytes each time");
    proxy.clear();
    world.chain.wait_for_head(place.group, place.index, epoch, pile.chain.0).await;
    assert_eq!(world.chain.heads_of(place.group, place.index, epoch).await.len(), 1, "recorded once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_in_the_pool_of_a_node_that_is_killed_goes_out_again() {
    let mut world = World::new();
    let Hanging { signer, nonce, proxy, relayer, pile } = Hanging::new(&world).await;
    let (epoch, place) = (pile.epoch.unwrap().epoch, pile.place.unwrap());
    let sent = relayer.wait_for_transaction(|line| line["nonce"] == nonce + 1).await;
    let transaction: B256 = sent["transaction"].as_str().unwrap().parse().unwrap();
    world.chain.wait_until_known(transaction).await;

    proxy.on("eth_sendRawTransaction", Behaviour::Status(503));
    world.node.restart(200);
    proxy.forward_to(&world.node.info.rpc_url);
    world.reconnect();
    assert!(!world.chain.knows(transaction).await, "the pool is gone");

    proxy.clear();
    world.chain.use_nonce(&signer, nonce, 60_000_000_000).await;
    world.chain.wait_for_head(place.group, place.index, epoch, pile.chain.0).await;
    let payers = world.chain.payers().await;
    assert_eq!(payers, [(address_of(&signer), transaction)], "once, by the bytes of before the kill");
}
