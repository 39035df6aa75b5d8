//! Of two endpoints one hides every event. Which of them lies cannot be known, so nothing is concluded until they agree.

use serde_json::json;
use system_tests::endpoints::state_of;
use system_tests::proxy::{Behaviour, Proxy};
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_disagree_conclude_nothing_until_they_agree() {
    let world = World::new();
    let node = world.node.info.rpc_url.clone();
    let liar = Proxy::start(&node).await;
    let relayer = world.launch().with_endpoints(&[node.clone(), liar.url.clone()]).start();
    let mut pile = world.connected_pile(0, &relayer).await;
    liar.on("eth_getLogs", Behaviour::Answer(json!([])));
    pile.authorize().await;
    world.wait_for_recorded(&pile).await;

    let disputed = "endpoint_disagreements_total{fact=\"head_events\"}";
    relayer.wait_for_metric(disputed, |count| count > 0.0).await;
    let status = relayer.status();
    assert_eq!(status["counts"]["auth_safe"], 0, "on chain and safe, but only one of two says so");
    for url in [&node, &liar.url] {
        assert_eq!(state_of(&status, url), Some("healthy"), "which of them lies is not known");
    }
    let mut second = world.connected_pile(1, &relayer).await;
    second.authorize().await;

    liar.clear();
    pile.expect_safe().await;
    relayer.wait_for_status("both safe", |status| status["counts"]["auth_safe"] == 2).await;
}
