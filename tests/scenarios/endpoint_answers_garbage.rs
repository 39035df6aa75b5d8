//! An endpoint answers every call with bytes that are no JSON, from the start on and for good: the others carry the relayer.

use system_tests::endpoints::Endpoints;
use system_tests::proxy::Behaviour;
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_answers_garbage_stops_nothing() {
    let world = World::new();
    let endpoints = Endpoints::start(&world).await;
    endpoints.liar.set(Behaviour::Garbage("<html>busy</html>"));
    let relayer = world.launch().with_endpoints(&endpoints.urls()).start();
    let mut pile = world.connected_pile(0, &relayer).await;
    pile.authorize().await;
    endpoints.wait_for_liar(&relayer, "failing").await;

    world.wait_for_recorded(&pile).await;
    endpoints.liar.wait_for_calls("eth_sendRawTransaction", 1).await;
    pile.expect_safe().await;
    endpoints.liar.clear();
    endpoints.wait_for_liar(&relayer, "healthy").await;
}
