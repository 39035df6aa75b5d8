//! An endpoint's node is catching up: it says so, refuses transactions, and its nonces are old.

use serde_json::json;
use system_tests::endpoints::Endpoints;
use system_tests::proxy::Behaviour;
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_catch_up_poisons_no_nonce() {
    let world = World::new();
    let endpoints = Endpoints::start(&world).await;
    let progress = json!({ "startingBlock": "0x1", "currentBlock": "0x1", "highestBlock": "0x9999" });
    endpoints.liar.on("eth_syncing", Behaviour::Answer(progress));
    endpoints.liar.on(
        "eth_sendRawTransaction",
        Behaviour::Error(-32_077, "Request rejected due to still in the catch up mode."),
    );
    endpoints.liar.on("eth_getTransactionCount", Behaviour::Answer(json!("0x0")));
    let relayer = world.launch().with_endpoints(&endpoints.urls()).start();
    endpoints.wait_for_liar(&relayer, "catching_up").await;

    let mut first = world.connected_pile(0, &relayer).await;
    first.authorize().await;
    world.wait_for_recorded(&first).await;
    first.expect_safe().await;
    assert_eq!(endpoints.liar.calls("eth_getTransactionCount").len(), 0, "nobody asked it for a nonce");

    // Done, and believed again; the next one goes with the next nonce.
    endpoints.liar.clear();
    endpoints.wait_for_liar(&relayer, "healthy").await;
    let mut second = world.connected_pile(1, &relayer).await;
    second.authorize().await;
    world.wait_for_recorded(&second).await;
}
