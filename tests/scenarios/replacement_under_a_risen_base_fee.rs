//! The base fee rises above what a transaction in the pool offers: it is replaced by eSpace's rule, and the replacement is mined.

use alloy::primitives::B256;
use serde_json::{Value, json};
use system_tests::chain::address_of;
use system_tests::hanging::Hanging;
use system_tests::proxy::Behaviour;
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_below_a_risen_base_fee_is_replaced_and_the_replacement_is_mined() {
    let world = World::new();
    // In the node's pool the replacement has to beat the first attempt.
    let Hanging { signer, nonce, proxy, relayer, pile } = Hanging::new(&world).await;
    let (epoch, place) = (pile.epoch.unwrap().epoch, pile.place.unwrap());
    let first = relayer.wait_for_transaction(|line| line["nonce"] == nonce + 1).await;
    world.chain.wait_until_known(hash_of(&first)).await;

    let risen_drip = first["max_fee_drip"].as_u64().unwrap() + 1;
    proxy.on(
        "eth_getBlockByNumber",
        Behaviour::rewrite(move |_, mut answer| {
            if answer["result"].is_object() {
                answer["result"]["baseFeePerGas"] = json!(format!("{risen_drip:#x}"));
            }
            answer
        }),
    );
    let second = relayer.wait_for_transaction(|line| line["attempts"] == 2).await;
    assert_eq!(second["nonce"], first["nonce"], "the same nonce");
    assert!(second["max_fee_drip"].as_u64().unwrap() >= 2 * risen_drip, "today's price");
    world.chain.wait_until_known(hash_of(&second)).await;

    proxy.clear();
    world.chain.use_nonce(&signer, nonce, 60_000_000_000).await;
    world.chain.wait_for_head(place.group, place.index, epoch, pile.chain.0).await;
    let payers = world.chain.payers().await;
    assert_eq!(payers, [(address_of(&signer), hash_of(&second))], "once, by the replacement");
}

fn hash_of(line: &Value) -> B256 {
    line["transaction"].as_str().unwrap().parse().unwrap()
}
