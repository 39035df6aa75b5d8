//! An endpoint takes calls and never answers. Nobody waits for it, and it fails once its calls time out.

use system_tests::endpoints::Endpoints;
use system_tests::proxy::Behaviour;
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_never_answers_stops_nothing() {
    let world = World::new();
    let endpoints = Endpoints::start(&world).await;
    let relayer = world.launch().with_endpoints(&endpoints.urls()).start();
    let mut pile = world.connected_pile(0, &relayer).await;
    endpoints.liar.set(Behaviour::Hang);
    pile.authorize().await;
    world.wait_for_recorded(&pile).await;
    pile.expect_safe().await;
    endpoints.wait_for_liar(&relayer, "failing").await;
    endpoints.liar.clear();
    endpoints.wait_for_liar(&relayer, "healthy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relayer_starts_beside_an_endpoint_that_never_answers() {
    let world = World::new();
    let endpoints = Endpoints::start(&world).await;
    endpoints.liar.set(Behaviour::Hang);
    let relayer = world.launch().with_endpoints(&endpoints.urls()).start();
    let mut pile = world.connected_pile(0, &relayer).await;
    pile.authorize().await;
    world.wait_for_recorded(&pile).await;
    endpoints.wait_for_liar(&relayer, "failing").await;
}
