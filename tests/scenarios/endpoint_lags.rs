//! An endpoint stands far behind the others and knows nothing of what happened since: no events, no receipts, an old nonce.

use serde_json::json;
use system_tests::endpoints::{Endpoints, lag_by};
use system_tests::proxy::Behaviour;
use system_tests::world::World;

/// More than `chain.endpoint_lag_blocks_max`.
const LAG_BLOCKS: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_lags_is_not_believed() {
    let world = World::new();
    let endpoints = Endpoints::start(&world).await;
    let relayer = world.launch().with_endpoints(&endpoints.urls()).start();
    let mut pile = world.connected_pile(0, &relayer).await;
    endpoints.liar.on("eth_getBlockByNumber", lag_by(LAG_BLOCKS));
    endpoints.liar.on("eth_getLogs", Behaviour::Answer(json!([])));
    endpoints.liar.on("eth_getTransactionReceipt", Behaviour::Answer(json!(null)));
    endpoints.liar.on("eth_getTransactionCount", Behaviour::Answer(json!("0x0")));
    endpoints.wait_for_liar(&relayer, "stale").await;
    pile.authorize().await;
    world.wait_for_recorded(&pile).await;
    endpoints.liar.wait_for_calls("eth_sendRawTransaction", 1).await;
    pile.expect_safe().await;
    endpoints.liar.clear();
    endpoints.wait_for_liar(&relayer, "healthy").await;
}
