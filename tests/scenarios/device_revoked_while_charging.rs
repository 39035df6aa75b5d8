//! A device is revoked on chain while it charges: AUTH_REVOKE says so, and comes again until the charge has ended. A grant that the
//! chain does not get in time is revoked for another cause, and costs no credit.

use cip22_wire::message::{AuthRevoke, Body};
use cip22_wire::{FrameType, NackCode, RevokeCause};
use system_tests::pile::Pile;
use system_tests::snapshot::forge_script;
use system_tests::world::World;

#[tokio::test]
async fn a_revoked_device_hears_it_and_may_still_end_its_charge() {
    let world = World::new();
    let relayer = world.launch().patient().with("RELAYER__REVOKE__GRACE_WH", 33).start();
    let mut pile = world.connected_pile(7, &relayer).await;
    let mut other = world.connected_pile(0, &relayer).await;
    let (sid, _) = (pile.authorize().await, other.authorize().await);
    forge_script(
        "RevokeDevice",
        &world.node,
        &world.snapshot.deployment(),
        "deployer",
        &[("DEVICE_ID", pile.entry.device_id.clone())],
    );

    let expected = AuthRevoke { sid, cause: RevokeCause::DeviceRevoked.code(), grace_wh: 33 };
    assert_eq!(revoked(&mut pile).await, expected);
    pile.drop_link();
    pile.connect(relayer.ready.listen).await;
    pile.hello().await;
    assert_eq!(revoked(&mut pile).await, expected, "again, as long as the charge is open");
    let (request, _) = pile.challenge_request();
    pile.send(&request).await;
    assert_eq!(pile.expect_nack().await, NackCode::RevokedDevice);
    pile.end_charge(sid).await;
    pile.drop_link();
    pile.connect(relayer.ready.listen).await;
    let hello = pile.hello_message();
    pile.send(&hello).await;
    assert_eq!(pile.expect_nack().await, NackCode::RevokedDevice, "nothing is left to be done");
    let counts = relayer.status()["counts"].clone();
    assert_eq!((&counts["revoked_device"], &counts["revoked_rejected"]), (&1.into(), &0.into()), "{counts}");
}

#[tokio::test]
async fn a_grant_that_is_late_is_revoked_for_that_and_may_be_granted_again_in_full() {
    let world = World::new();
    let relayer = world.launch().patient().with("RELAYER__REVOKE__DEADLINE_BLOCKS", 10).start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let ticket = pile.ticket().await;
    let answer = pile.answer(&ticket);
    pile.send(&answer.response).await;
    let granted = pile.expect_grant(&ticket).await;
    let revoke = revoked(&mut pile).await;
    assert_eq!((revoke.sid, revoke.cause), (answer.response.sid, RevokeCause::NotFinal.code()));

    // The same answer again is followed by what became of it.
    pile.send(&answer.response).await;
    assert_eq!(pile.expect_grant(&ticket).await, granted);
    assert_eq!(revoked(&mut pile).await, revoke);
    pile.end_charge(revoke.sid).await;

    let ticket = pile.ticket().await;
    let answer = pile.answer(&ticket);
    pile.send(&answer.response).await;
    let next = pile.expect_grant(&ticket).await;
    let credit = |grant: &[u8]| cip22_wire::message::AuthGrant::decode(grant).expect("a grant").body.to_vec();
    assert_eq!(credit(&next), credit(&granted), "no credit is lost for the chain's slowness");
    let place = pile.place.unwrap();
    let epoch = ticket.challenge.epoch;
    world.chain.wait_for_head(place.group, place.index, epoch, 1).await;
    assert_eq!(relayer.status()["counts"]["revoked_rejected"], 0);
}

async fn revoked(pile: &mut Pile) -> AuthRevoke {
    let (_, payload) = pile.expect(&[FrameType::AuthRevoke]).await;
    AuthRevoke::decode(&payload).expect("AUTH_REVOKE")
}
