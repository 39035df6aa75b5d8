//! A governed tariff change: pushed ahead, in force at its epoch, the older one refused for that and later epochs.

use alloy::sol_types::SolCall;
use cip22_wire::tariff::{self, Period, Terms};
use cip22_wire::{FrameType, NackCode};
use system_tests::chain::{policyAtCall, recordCall};
use system_tests::snapshot::forge_script;
use system_tests::world::World;

#[tokio::test]
async fn a_scheduled_policy_reaches_the_pile_and_is_the_only_one_from_its_epoch_on() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let (_, _, old_hash) = pile.policies[0];
    schedule(&world);
    while pile.policies.len() < 2 {
        pile.expect(&[FrameType::SetPolicy]).await;
    }
    let (version, first_epoch, new_hash) = pile.policies[1];
    assert_eq!(version, 2);
    assert!(pile.epoch.unwrap().epoch < first_epoch, "pushed before it is in force");
    let ack = pile.policy_ack(version, first_epoch, new_hash);
    pile.send(&ack).await;
    pile.expect(&[FrameType::Ack]).await;
    assert_eq!(relayer.status()["policy_acks"]["2"], 1);

    while pile.epoch.unwrap().epoch < first_epoch {
        pile.expect(&[FrameType::Epoch]).await;
    }
    let epoch = pile.epoch.unwrap();
    assert_eq!(epoch.policy_hash, new_hash);
    let at = |epoch| policyAtCall { epoch };
    assert_eq!(world.chain.view(world.chain.verifier, at(first_epoch)).await.0, new_hash);
    assert_eq!(world.chain.view(world.chain.verifier, at(first_epoch - 1)).await.0, old_hash);

    let ticket = pile.ticket().await;
    let stale = pile.answer_under(&ticket, &old_hash);
    pile.send(&stale.response).await;
    assert_eq!(pile.expect_nack().await, NackCode::StalePolicy);
    pile.chain = (0, [0; 32]);
    let answer = pile.answer(&ticket);
    pile.send(&answer.response).await;
    pile.expect_grant(&ticket).await;

    // Refused by the contract too, in its first epoch and in the one after.
    let mut other = world.connected_pile(1, &relayer).await;
    let stranger = world.node.info.account("stranger").clone();
    for _ in 0..2 {
        let epoch = other.epoch.unwrap();
        let place = other.place.unwrap();
        let mut under_old = epoch;
        under_old.policy_hash = old_hash;
        let records = other.record_bytes(&under_old, 1, [1; 32]);
        let call = recordCall { group: place.group, epoch: epoch.epoch, records: records.into() };
        world.chain.send(&stranger, world.chain.verifier, call.abi_encode()).await;
        assert!(world.chain.heads_of(place.group, place.index, epoch.epoch).await.is_empty());
        let ticket = other.ticket().await;
        let stale = other.answer_under(&ticket, &old_hash);
        other.send(&stale.response).await;
        assert_eq!(other.expect_nack().await, NackCode::StalePolicy);
        while other.epoch.unwrap().epoch == epoch.epoch {
            other.expect(&[FrameType::Epoch]).await;
        }
    }
}

/// Schedules the next version, two epochs ahead, as governance would.
fn schedule(world: &World) {
    let terms = Terms { currency: *b"CNY", utc_offset_minutes: 480, credit_wh: 9_000, credit_minutes: 45 };
    let period = Period { start_minute: 0, energy_price: 700_000, service_price: 100_000 };
    let mut bytes = [0; 64];
    let length = tariff::encode(&terms, &[period], &mut bytes).unwrap();
    let tariff = format!("0x{}", hex::encode(&bytes[..length]));
    let env = [("TARIFF", tariff), ("LEAD_EPOCHS", "2".to_owned())];
    forge_script("SchedulePolicy", &world.node, &world.snapshot.deployment(), "deployer", &env);
}
