//! Every endpoint fails, each in its own way, while piles go on being granted. Afterwards all of it reaches the chain.

use system_tests::endpoints::state_of;
use system_tests::proxy::{Behaviour, Proxy};
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn piles_are_granted_while_every_endpoint_is_down_and_all_of_it_reaches_the_chain() {
    let world = World::new();
    let node = world.node.info.rpc_url.clone();
    let proxies = [Proxy::start(&node).await, Proxy::start(&node).await, Proxy::start(&node).await];
    let urls = proxies.each_ref().map(|proxy| proxy.url.clone());
    let relayer = world.launch().with_endpoints(&urls).start();
    let mut piles = vec![world.connected_pile(0, &relayer).await];

    for (proxy, behaviour) in
        proxies.iter().zip([Behaviour::Status(502), Behaviour::Reset, Behaviour::Garbage("busy")])
    {
        proxy.set(behaviour);
    }
    let all_failing =
        |status: &serde_json::Value| urls.iter().all(|url| state_of(status, url) == Some("failing"));
    relayer.wait_for_status("every endpoint failing", all_failing).await;
    for number in 1..4 {
        piles.push(world.connected_pile(number, &relayer).await);
    }
    for pile in &mut piles {
        pile.authorize().await;
    }
    assert!(all_failing(&relayer.status()), "granted while every endpoint was down");
    assert_eq!(world.chain.recorded().await.len(), 0, "nothing could be sent");

    proxies.iter().for_each(Proxy::clear);
    for pile in &mut piles {
        world.wait_for_recorded(pile).await;
        pile.expect_safe().await;
    }
    assert_eq!(world.chain.recorded().await.len(), piles.len(), "each once");
}
