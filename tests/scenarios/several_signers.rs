//! Several signers carry at once, and a batch stays with the signer of its first attempt.

use std::collections::BTreeSet;

use alloy::primitives::Address;
use system_tests::chain::address_of;
use system_tests::proxy::{Behaviour, Proxy};
use system_tests::world::World;

const SIGNERS: [&str; 3] = ["relayer-1", "relayer-2", "relayer-3"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_signers_carry_at_once_and_keep_what_they_have_through_a_restart() {
    let world = World::new();
    let proxy = Proxy::start(&world.node.info.rpc_url).await;
    proxy.on("eth_sendRawTransaction", Behaviour::Swallow);
    let launch = world
        .launch()
        .with_signers(&SIGNERS)
        .with("RELAYER__CHAIN__ENDPOINTS", &proxy.url)
        .with("RELAYER__CHAIN__REPLACE_BLOCKS", 10_000)
        .with("RELAYER__BATCH__RECORDS_MAX", 1);
    let relayer = launch.start();
    let mut places = Vec::new();
    for number in 0..3 {
        let mut pile = world.connected_pile(number, &relayer).await;
        pile.authorize().await;
        places.push((pile.place.unwrap(), pile.epoch.unwrap().epoch));
    }
    for batch in 1..=3 {
        relayer.wait_for_transaction(|line| line["batch"] == batch && line["attempts"] == 1).await;
    }
    let held = |lines: Vec<serde_json::Value>| -> Vec<(u64, String)> {
        let pair = |line: &serde_json::Value| {
            (line["batch"].as_u64().unwrap(), line["transaction"].as_str().unwrap().to_owned())
        };
        lines.iter().map(pair).collect()
    };
    let lines = relayer.transactions();
    let signers: BTreeSet<&str> = lines.iter().map(|line| line["signer"].as_str().unwrap()).collect();
    assert_eq!(signers.len(), 3, "each signer has one: {lines:#?}");
    let before = held(lines.clone());

    relayer.kill();
    let relayer = launch.start();
    for batch in 1..=3 {
        relayer.wait_for_transaction(|line| line["batch"] == batch && line["state"] == "in_flight").await;
    }
    assert_eq!(held(relayer.transactions()), before, "the same bytes by the same signers");

    proxy.clear();
    for (place, epoch) in places {
        world.chain.wait_for_head(place.group, place.index, epoch, 1).await;
        assert_eq!(world.chain.heads_of(place.group, place.index, epoch).await.len(), 1, "recorded once");
    }
    let payers: BTreeSet<Address> = world.chain.payers().await.into_iter().map(|(payer, _)| payer).collect();
    let expected = SIGNERS.map(|role| address_of(world.node.info.account(role)));
    assert_eq!(payers, BTreeSet::from(expected));
}
