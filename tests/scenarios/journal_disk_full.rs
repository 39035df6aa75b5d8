//! The journal's disk has no room left: nothing is acknowledged any more, the relayer says which file and ends, and once there is room it goes
//! on with everything that it had acknowledged.

use cip22_wire::message::{Body, TelemAck, TelemHead};
use cip22_wire::{FrameType, Level};
use system_tests::pile::Pile;
use system_tests::world::World;

#[tokio::test]
async fn a_full_journal_disk_acknowledges_nothing_and_loses_nothing() {
    let world = World::new();
    let journal = world.path().join("journal.redb");
    let launch = world
        .launch()
        .with("RELAYER__LIMITS__FRAMES_PER_SECOND_MAX", 100_000)
        .with("RELAYER__LIMITS__FRAME_BURST_MAX", 100_000);
    let mut relayer = launch.start();
    let mut granted = world.connected_pile(1, &relayer).await;
    granted.authorize().await;
    let (epoch, place, n) = (granted.epoch.unwrap().epoch, granted.place.unwrap(), granted.chain.0);
    let mut pile = world.connected_pile(0, &relayer).await;
    assert_eq!(acknowledged(&mut pile, 5).await, 5, "as long as there is room");

    relayer.limit_file_size(std::fs::metadata(&journal).unwrap().len());
    let last = 5 + acknowledged(&mut pile, u32::MAX).await;
    assert_eq!(relayer.wait_for_end(), Some(1), "it ends with the code of a failure");
    let told = relayer.last_words();
    assert!(told.contains("journal failed") && told.contains(journal.to_str().unwrap()), "{told}");
    drop(relayer);

    // There is room again.
    let relayer = world.launch().start();
    world.chain.wait_for_head(place.group, place.index, epoch, n).await;
    let mut pile = world.connected_pile(0, &relayer).await;
    pile.send(&TelemHead { battery: pile.battery, seq: None, fp: None, ledger_seq: None, ledger_fp: None })
        .await;
    let (_, payload) = pile.expect(&[FrameType::TelemHead]).await;
    let head = TelemHead::decode(&payload).unwrap();
    let found = head.seq.unwrap();
    assert!(
        (last..=last + 1).contains(&found),
        "{last} were acknowledged, one more was sent, {found} are held"
    );
    pile.record = (found, head.fp.unwrap());
    assert_eq!(acknowledged(&mut pile, 5).await, 5);
}

/// Sends telemetry, each record once the one before is acknowledged, until so many are or the connection ends; returns how many were.
async fn acknowledged(pile: &mut Pile, records: u32) -> u32 {
    for done in 0..records {
        let record = pile.next_record([0; 16]);
        if pile.try_send(&record).await.is_err() {
            return done;
        }
        loop {
            match pile.next_frame().await {
                Some((found, payload)) if found == FrameType::TelemAck.code() => {
                    let ack = TelemAck::decode(&payload).unwrap();
                    assert_eq!((ack.seq, ack.level), (record.seq, Level::Durable.code()));
                    break;
                }
                Some((found, _)) => assert_ne!(found, FrameType::Nack.code()),
                None => return done,
            }
        }
    }
    records
}
