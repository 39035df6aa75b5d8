//! A signer without funds: batches go by the other one; alone it waits, says what it needs, and goes on once funded.

use alloy::primitives::{Address, U256};
use alloy::signers::local::PrivateKeySigner;
use system_tests::chain::address_of;
use system_tests::world::World;

const EMPTY_KEY: &str = "0x4242424242424242424242424242424242424242424242424242424242424242";

fn empty() -> Address {
    EMPTY_KEY.parse::<PrivateKeySigner>().unwrap().address()
}

#[tokio::test]
async fn batches_of_an_empty_signer_go_by_the_other() {
    let world = World::new();
    let funded = world.node.info.account("relayer-1").clone();
    let relayer = world.launch().with_signers(&[]).and_signer(EMPTY_KEY).and_signer(&funded.key).start();
    let mut pile = world.connected_pile(0, &relayer).await;
    pile.authorize().await;
    let (epoch, place) = (pile.epoch.unwrap().epoch, pile.place.unwrap());
    world.chain.wait_for_head(place.group, place.index, epoch, pile.chain.0).await;
    let payers: Vec<Address> = world.chain.payers().await.into_iter().map(|(payer, _)| payer).collect();
    assert_eq!(payers, [address_of(&funded)]);
}

#[tokio::test]
async fn alone_an_empty_signer_waits_and_goes_on_once_it_is_funded() {
    let world = World::new();
    let relayer = world.launch().with_signers(&[]).and_signer(EMPTY_KEY).start();
    let mut pile = world.connected_pile(0, &relayer).await;
    pile.authorize().await;
    let (epoch, place) = (pile.epoch.unwrap().epoch, pile.place.unwrap());
    let waiting = relayer.wait_for_transaction(|line| line["state"] == "waiting").await;
    assert_eq!(waiting["attempts"], 0, "nothing is signed that could not be paid");
    let short = format!("signer_short_drip{{signer=\"{:#x}\"}}", empty());
    relayer.wait_for_metric(&short, |lacking| lacking > 0.0).await;
    assert_eq!(relayer.metric("batches_without_signer").await, 1.0);

    let faucet = world.node.info.account("faucet");
    world.chain.transfer(faucet, empty(), U256::from(10).pow(U256::from(18))).await;
    world.chain.wait_for_head(place.group, place.index, epoch, pile.chain.0).await;
    let payers: Vec<Address> = world.chain.payers().await.into_iter().map(|(payer, _)| payer).collect();
    assert_eq!(payers, [empty()]);
    relayer.wait_for_metric(&short, |lacking| lacking == 0.0).await;
}
