//! The wall clock of the relayer's machine is set forward and back: nothing that the relayer decides rests on it, and what it tells piles
//! never goes back.

use std::path::Path;

use cip22_wire::message::{Body, Heartbeat, TelemAck};
use cip22_wire::{FrameType, Level};
use system_tests::pile::Pile;
use system_tests::world::World;

const DAY_MS: i64 = 24 * 3_600 * 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn tickets_telemetry_and_sessions_go_on_while_the_clock_jumps_and_told_time_never_goes_back() {
    let world = World::new();
    let offset_file = world.path().join("clock-offset");
    let relayer = world.launch().with("CIP22_CLOCK_OFFSET_FILE", offset_file.display()).start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let mut told_ms = pile.place.unwrap().time_ms;
    let segment = pile.authorize().await;
    let started_ms = told_ms;

    for (step, offset_ms) in [DAY_MS, -7 * DAY_MS, 0, 30 * DAY_MS, -1].into_iter().enumerate() {
        set_clock(&offset_file, offset_ms);
        let now_ms = heartbeat(&mut pile, u32::try_from(step).unwrap()).await;
        assert!(now_ms >= told_ms, "told {now_ms} after {told_ms}, at an offset of {offset_ms} ms");
        if offset_ms > 0 {
            assert!(now_ms >= started_ms + offset_ms.unsigned_abs(), "a step forward is told");
        }
        told_ms = now_ms;
        send_record(&mut pile, segment).await;
        let sid = pile.authorize().await;
        pile.end_charge(sid).await;
        let status = relayer.status();
        assert_eq!(status["ready"], true, "{status:#}");
        // Another session, from its first byte on.
        let mut other = world.connected_pile(1, &relayer).await;
        assert!(other.place.unwrap().time_ms >= told_ms);
        let sid = other.authorize().await;
        other.end_charge(sid).await;
        // An epoch later, so that announcing and recording go on as well.
        let open = pile.epoch.unwrap().epoch;
        while pile.epoch.unwrap().epoch == open {
            pile.expect(&[FrameType::Epoch]).await;
        }
        let told = relayer.ask_until(&["why", &hex::encode(sid)], |told| told["stage"] == "safe");
        assert_eq!(told["fault"], "nobody", "{told:#}");
    }
    let (status, _) = relayer.ask(&["status"]);
    assert_eq!(
        (&status["counts"]["granted"], &status["counts"]["denied"]),
        (&11.into(), &0.into()),
        "{status:#}"
    );
    assert_eq!(status["counts"]["telemetry"], 5, "{status:#}");
}

async fn heartbeat(pile: &mut Pile, counter: u32) -> u64 {
    pile.send(&Heartbeat { counter, time_ms: 0 }).await;
    let (_, payload) = pile.expect(&[FrameType::Heartbeat]).await;
    let answer = Heartbeat::decode(&payload).expect("HEARTBEAT");
    assert_eq!(answer.counter, counter);
    answer.time_ms
}

async fn send_record(pile: &mut Pile, segment: cip22_wire::Sid) {
    let record = pile.next_record(segment);
    pile.send(&record).await;
    let (_, payload) = pile.expect(&[FrameType::TelemAck]).await;
    let ack = TelemAck::decode(&payload).expect("TELEM_ACK");
    assert_eq!((ack.seq, ack.level), (record.seq, Level::Durable.code()));
}

#[allow(clippy::disallowed_methods, reason = "scenarios work on real files")]
fn set_clock(file: &Path, offset_ms: i64) {
    // Moved into place: the relayer reads it at any time.
    let scratch = file.with_extension("new");
    std::fs::write(&scratch, offset_ms.to_string()).expect("a file");
    std::fs::rename(&scratch, file).expect("in the same folder");
}
