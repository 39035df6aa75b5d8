//! The relayer's node joins a heavier chain that parted before the challenge block of the open epoch: what was signed under that
//! challenge can never be recorded. The grant is revoked, for that cause alone; an epoch with an older challenge goes on.

use cip22_wire::message::{AuthFinal, AuthRevoke, Body};
use cip22_wire::{FrameType, RevokeCause};
use system_tests::chain::Chain;
use system_tests::world::World;

#[tokio::test]
async fn a_grant_whose_challenge_is_reorganised_away_is_revoked_and_other_epochs_go_on() {
    let (mut world, peer) = World::forked();
    let other = Chain::new(&peer.info.rpc_url, world.deployment.verifier());
    let relayer = world.launch().patient().with("RELAYER__REVOKE__GRACE_WH", 77).start();
    let mut shared = world.connected_pile(1, &relayer).await;
    let (shared_epoch, shared_place) = (shared.epoch.unwrap().epoch, shared.place.unwrap());
    let shared_sid = shared.authorize().await;
    let (shared_n, shared_head) = shared.chain;

    // An epoch that began after the chains had parted.
    let mut pile = world.connected_pile(0, &relayer).await;
    loop {
        let epoch = pile.epoch.expect("an open epoch").epoch;
        let challenge_block = u64::from(epoch) * world.deployment.epoch_len_blocks;
        if world.chain.block_hash(challenge_block).await != other.block_hash(challenge_block).await {
            break;
        }
        pile.expect(&[FrameType::Epoch]).await;
    }
    let sid = pile.authorize().await;
    let (lost_epoch, lost_place) = (pile.epoch.unwrap().epoch, pile.place.unwrap());

    world.node.follow(&peer);

    let (found, payload) = pile.expect(&[FrameType::AuthRevoke, FrameType::AuthFinal]).await;
    assert_eq!(found, FrameType::AuthRevoke);
    let revoke = AuthRevoke::decode(&payload).expect("AUTH_REVOKE");
    assert_eq!(revoke, AuthRevoke { sid, cause: RevokeCause::ReorgedOut.code(), grace_wh: 77 });

    let recorded =
        world.chain.wait_for_head(shared_place.group, shared_place.index, shared_epoch, shared_n).await;
    assert_eq!(recorded.head, shared_head);
    let (_, payload) = shared.expect(&[FrameType::AuthFinal]).await;
    assert_eq!(AuthFinal::decode(&payload).expect("AUTH_FINAL").sid, shared_sid);

    // Until the charge ends a pile that comes back hears it again, and the next epoch is an ordinary one.
    pile.drop_link();
    pile.epoch = None;
    pile.connect(relayer.ready.listen).await;
    pile.open().await;
    let (_, payload) = pile.expect(&[FrameType::AuthRevoke]).await;
    assert_eq!(AuthRevoke::decode(&payload).expect("AUTH_REVOKE"), revoke);
    assert!(pile.epoch.unwrap().epoch > lost_epoch, "its number is never used again");
    pile.end_charge(sid).await;
    let next = pile.authorize().await;
    let (_, payload) = pile.expect(&[FrameType::AuthFinal]).await;
    assert_eq!(AuthFinal::decode(&payload).expect("AUTH_FINAL").sid, next);

    assert!(world.chain.heads_of(lost_place.group, lost_place.index, lost_epoch).await.is_empty());
    let counts = relayer.status()["counts"].clone();
    assert_eq!((&counts["revoked_reorged_out"], &counts["reorged_out"]), (&1.into(), &1.into()), "{counts}");
    for other_cause in ["revoked_not_final", "revoked_rejected", "revoked_device"] {
        assert_eq!(counts[other_cause], 0, "{other_cause} is another cause");
    }
    assert_eq!(counts["reorganisations"], 1, "{counts}");
}
