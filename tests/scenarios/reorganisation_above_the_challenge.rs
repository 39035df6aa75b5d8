//! Two nodes part after a common chain. The one that the relayer believes joins the other, heavier chain: the block that held a
//! recorded head is gone, the block of its epoch's challenge is not. The record follows, and stands once.

use cip22_wire::message::{AuthFinal, Body};
use cip22_wire::{FrameType, Level};
use system_tests::chain::Chain;
use system_tests::world::World;

#[tokio::test]
async fn a_record_that_is_reorganised_away_is_on_chain_again() {
    let (mut world, peer) = World::forked();
    let other = Chain::new(&peer.info.rpc_url, world.deployment.verifier());
    let relayer = world.launch().patient().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let (epoch, place) = (pile.epoch.unwrap().epoch, pile.place.unwrap());
    let challenge_block = u64::from(epoch) * world.deployment.epoch_len_blocks;
    assert_eq!(
        world.chain.block_hash(challenge_block).await,
        other.block_hash(challenge_block).await,
        "both chains have the challenge"
    );
    let sid = pile.authorize().await;
    let head = pile.chain;
    let before = safe_final(&mut pile).await;
    assert_eq!(before.sid, sid);
    let before_hash = world.chain.block_hash(before.block).await;

    world.node.follow(&peer);

    let after = safe_final(&mut pile).await;
    assert_eq!(after.sid, sid);
    let after_hash = world.chain.block_hash(after.block).await;
    assert_ne!(before_hash, after_hash, "the record is in another block");
    assert_ne!(world.chain.block_hash(before.block).await, before_hash, "that block left the chain");
    let recorded = world.chain.heads_of(place.group, place.index, epoch).await;
    assert_eq!(recorded.iter().map(|found| (found.n, found.head)).collect::<Vec<_>>(), [head], "once");
    let counts = relayer.status()["counts"].clone();
    assert_eq!((&counts["auth_safe"], &counts["reorganisations"]), (&1.into(), &1.into()), "{counts}");
    assert_eq!(counts["revoked_reorged_out"], 0, "nothing was revoked");

    // The signer's nonces go on where the new chain needs them.
    let next = pile.authorize().await;
    assert_eq!(safe_final(&mut pile).await.sid, next);
}

/// The next AUTH_FINAL, of level SAFE; an AUTH_REVOKE would be none.
async fn safe_final(pile: &mut system_tests::pile::Pile) -> AuthFinal {
    let (found, payload) = pile.expect(&[FrameType::AuthFinal, FrameType::AuthRevoke]).await;
    assert_eq!(found, FrameType::AuthFinal);
    let told = AuthFinal::decode(&payload).expect("AUTH_FINAL");
    assert_eq!(told.level, Level::Safe.code());
    told
}
