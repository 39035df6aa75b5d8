//! A pile that was away sends everything it kept without waiting for an answer in between; another's authorization is served beside it.

use std::collections::BTreeSet;

use cip22_wire::FrameType;
use cip22_wire::message::{Body, TelemAck};
use system_tests::pile::whole_frame;
use system_tests::world::World;

/// More than the answers that may wait for the disk, less than a burst.
const BACKLOG: u32 = 300;

#[tokio::test]
async fn a_backlog_of_telemetry_is_acknowledged_whole_and_an_authorization_is_granted_beside_it() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let mut other = world.connected_pile(1, &relayer).await;
    let segment = pile.authorize().await;
    let records: Vec<_> = (0..BACKLOG).map(|_| pile.next_record(segment)).collect();
    let backlog: Vec<u8> = records.iter().flat_map(whole_frame).collect();
    pile.send_bytes(&backlog).await;
    other.authorize().await;
    let mut acknowledged = BTreeSet::new();
    while acknowledged.len() < records.len() {
        let (_, payload) = pile.expect(&[FrameType::TelemAck]).await;
        assert!(acknowledged.insert(TelemAck::decode(&payload).unwrap().seq), "acknowledged once each");
    }
    assert_eq!(acknowledged, (1..=BACKLOG).collect());
    let (status, _) = relayer.ask(&["status"]);
    assert_eq!(status["counts"]["telemetry"], BACKLOG, "{status:#}");
}
