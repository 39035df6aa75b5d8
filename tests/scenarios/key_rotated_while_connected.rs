//! A key rotated in the registry while its pile is connected: DRAIN, a new index in HELLO_ACK, and an EPOCH once it counts.

use alloy::primitives::{Address, FixedBytes};
use alloy::sol_types::SolCall;
use cip22_device_sdk::sign::SigningKey;
use cip22_relayer::gateway_key::GatewayKey;
use cip22_wire::FrameType;
use system_tests::chain::rotateCall;
use system_tests::world::World;

#[tokio::test]
async fn a_key_rotated_while_its_pile_is_connected_is_drained_and_authorizes_at_its_new_index() {
    let world = World::new();
    // The rotation has to be safe, and then the first epoch of the new key: these piles send nothing meanwhile.
    let relayer = world
        .launch()
        .with("RELAYER__GATEWAY__HEARTBEAT_INTERVAL_MS", 120_000)
        .with("RELAYER__LIMITS__IDLE_TIMEOUT_MS", 240_000)
        .start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let mut bystander = world.connected_pile(1, &relayer).await;
    pile.authorize().await;
    let old = pile.place.unwrap();

    let secret = [0x11; 32];
    let new_key = Address::from(GatewayKey::from_bytes(&secret).unwrap().address());
    let rotate = rotateCall { deviceId: FixedBytes(pile.device_id), newKey: new_key };
    let registry = Address::from(world.deployment.device_registry);
    let deployer = world.node.info.account("deployer");
    assert!(world.chain.send(deployer, registry, rotate.abi_encode()).await, "the operator may rotate");
    pile.expect(&[FrameType::Drain]).await;
    while pile.next_frame().await.is_some() {}

    pile.key = SigningKey::from_bytes(&secret).unwrap();
    pile.epoch = None;
    pile.connect(relayer.ready.listen).await;
    pile.open().await;
    let new = pile.place.unwrap();
    assert_eq!(new.group, old.group);
    assert_ne!(new.index, old.index);
    pile.authorize().await;
    let (epoch, n) = (pile.epoch.unwrap().epoch, pile.chain.0);
    world.chain.wait_for_head(new.group, new.index, epoch, n).await;

    // On the connection it has had all along.
    bystander.authorize().await;
}
