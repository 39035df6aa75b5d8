//! An operator replaces a transaction that hangs, then cancels it: its nonce goes to nothing, and its statements are carried by another batch.

use alloy::primitives::B256;
use serde_json::Value;
use system_tests::chain::address_of;
use system_tests::hanging::Hanging;
use system_tests::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bumped_and_cancelled_batch_uses_its_nonce_up_and_its_statements_go_by_another() {
    let world = World::new();
    let Hanging { signer, nonce, proxy, relayer, pile } = Hanging::new(&world).await;
    let (epoch, place) = (pile.epoch.unwrap().epoch, pile.place.unwrap());
    let first = relayer.wait_for_transaction(|line| line["nonce"] == nonce + 1).await;
    assert!(relayer.command(&["tx", "list"]).unwrap().contains("replaced at block"));
    world.chain.wait_until_known(hash_of(&first)).await;

    relayer.command(&["tx", "bump", "1"]).unwrap();
    let bumped = relayer.wait_for_transaction(|line| line["attempts"] == 2).await;
    assert!(fee_of(&bumped) * 100 >= fee_of(&first) * 102, "by the chain's rule");
    world.chain.wait_until_known(hash_of(&bumped)).await;
    let told = relayer.command(&["tx", "cancel", "1"]).unwrap();
    assert!(told.contains(&format!("nonce {}, attempt 3", nonce + 1)), "{told}");
    let again = relayer.command(&["tx", "cancel", "1"]).unwrap_err();
    assert!(again.contains("already"), "{again}");
    let cancel = relayer.wait_for_transaction(|line| line["state"] == "cancelling").await;
    world.chain.wait_until_known(hash_of(&cancel)).await;
    let unknown = relayer.command(&["tx", "cancel", "99"]).unwrap_err();
    assert!(unknown.contains("unknown"), "{unknown}");

    proxy.clear();
    world.chain.use_nonce(&signer, nonce, 60_000_000_000).await;
    assert!(world.chain.receipt_of(hash_of(&cancel)).await, "the cancel is what is mined");
    let recorded = world.chain.wait_for_head(place.group, place.index, epoch, pile.chain.0).await;
    assert_eq!(recorded.head, pile.chain.1);
    let payers = world.chain.payers().await;
    assert_eq!(payers.len(), 1, "carried once");
    assert!(
        ![hash_of(&first), hash_of(&bumped), hash_of(&cancel)].contains(&payers[0].1),
        "by another batch"
    );
    assert!(world.chain.nonce(address_of(&signer)).await >= nonce + 3, "no nonce was left out");
}

fn fee_of(line: &Value) -> u64 {
    line["max_fee_drip"].as_u64().unwrap()
}

fn hash_of(line: &Value) -> B256 {
    line["transaction"].as_str().unwrap().parse().unwrap()
}
