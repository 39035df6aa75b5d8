//! An endpoint answers with HTTP 500 in the middle of the work, to sends alone at first, then to everything.

use system_tests::endpoints::Endpoints;
use system_tests::proxy::Behaviour;
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_answers_500_stops_nothing() {
    let world = World::new();
    let endpoints = Endpoints::start(&world).await;
    let relayer = world.launch().with_endpoints(&endpoints.urls()).start();
    let mut pile = world.connected_pile(0, &relayer).await;
    endpoints.liar.on("eth_sendRawTransaction", Behaviour::Status(500));
    pile.authorize().await;
    world.wait_for_recorded(&pile).await;
    endpoints.liar.set(Behaviour::Status(500));
    endpoints.wait_for_liar(&relayer, "failing").await;
    pile.expect_safe().await;
    endpoints.liar.clear();
    endpoints.wait_for_liar(&relayer, "healthy").await;
}
