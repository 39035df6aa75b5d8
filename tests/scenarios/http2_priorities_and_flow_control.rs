//! One HTTP/2 connection under load: what is urgent goes first, a stream that is not read holds up no other, and flow-control
//! credit is all that holds it back: nothing is lost.

use std::future::poll_fn;

use bytes::Bytes;
use cip22_wire::FrameType;
use cip22_wire::message::{Body, Challenge, Heartbeat, HelloAck, TelemAck};
use system_tests::http2::{Connection, SessionStream};
use system_tests::pile::{Pile, whole_frame};
use system_tests::relayer::Relayer;
use system_tests::world::World;

const RECORDS: u32 = 600;
const BEATS: u32 = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_overtakes_the_telemetry_acknowledgements_that_wait_before_it() {
    let world = World::new();
    let relayer = unlimited(&world).start();
    let mut pile = world.pile(0);
    let connection = Connection::open(&pile, relayer.ready.listen, 2_048).await;
    let mut session = greeted(&mut pile, &connection).await;
    let (request, eph) = pile.challenge_request();
    session.send(whole_frame(&request));
    let ticket =
        pile.ticket_of(Challenge::decode(&session.frames.expect(FrameType::Challenge).await).unwrap(), eph);

    // From here on nothing is read, so the acknowledgements wait at the relayer.
    for _ in 0..RECORDS {
        let record = pile.next_record([0; 16]);
        session.send(whole_frame(&record));
    }
    until(&relayer, "telemetry", RECORDS).await;
    let answer = pile.answer(&ticket);
    session.send(whole_frame(&answer.response));
    until(&relayer, "granted", 1).await;

    let (mut acknowledged, mut after_grant) = (0, None);
    while acknowledged < RECORDS || after_grant.is_none() {
        let (found, payload) = session.frames.next().await.expect("the stream goes on");
        if found == FrameType::AuthGrant.code() {
            after_grant = Some(RECORDS - acknowledged);
        } else if found == FrameType::TelemAck.code() {
            acknowledged += 1;
            assert_eq!(TelemAck::decode(&payload).unwrap().seq, acknowledged, "in order, none missing");
        }
    }
    // Some kilobytes were with the transport already: about 130 acknowledgements.
    let after_grant = after_grant.unwrap();
    assert!(after_grant >= RECORDS / 2, "{after_grant} acknowledgements came after the grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_read_is_held_back_by_credit_alone_and_no_other_stream_is() {
    let world = World::new();
    let relayer = unlimited(&world).with("RELAYER__LIMITS__SEND_QUEUE_BYTES_MAX", 4_096).start();
    let mut pile = world.pile(0);
    let connection = Connection::open(&pile, relayer.ready.listen, 2_048).await;
    let mut session = greeted(&mut pile, &connection).await;
    let request = whole_frame(&pile.challenge_request().0);

    // Heartbeats whose answers nobody reads, until the relayer gives no more credit.
    let mut sent = 0;
    let beats: Vec<u8> =
        (0..BEATS).flat_map(|counter| whole_frame(&Heartbeat { counter, time_ms: 0 })).collect();
    let mut left = Bytes::from(beats);
    // Several answers of the other stream without any credit in between say that it has stopped for good.
    let mut without_credit = 0;
    while without_credit < 5 {
        session.send.reserve_capacity(left.len());
        tokio::select! {
            biased;
            capacity = poll_fn(|context| session.send.poll_capacity(context)) => {
                let capacity = capacity.unwrap().unwrap().min(left.len());
                session.send.send_data(left.split_to(capacity), false).unwrap();
                (sent, without_credit) = (sent + capacity, 0);
            }
            answer = connection.challenge(&request) => {
                assert_eq!(answer.0, FrameType::Challenge.code());
                without_credit += 1;
            }
        }
    }
    assert!(!left.is_empty(), "the relayer took {sent} bytes without an end");

    let mut counter = 0;
    while counter < BEATS {
        // What is left goes as the credit comes.
        session.send.reserve_capacity(left.len());
        tokio::select! {
            biased;
            capacity = poll_fn(|context| session.send.poll_capacity(context)), if !left.is_empty() => {
                let capacity = capacity.unwrap().unwrap().min(left.len());
                session.send.send_data(left.split_to(capacity), false).unwrap();
            }
            frame = session.frames.next() => {
                let (found, payload) = frame.expect("the stream goes on");
                if found == FrameType::Heartbeat.code() {
                    assert_eq!(Heartbeat::decode(&payload).unwrap().counter, counter, "none is missing");
                    counter += 1;
                }
            }
        }
    }
}

fn unlimited(world: &World) -> system_tests::relayer::Launch {
    let launch = world.launch().with("RELAYER__LIMITS__FRAMES_PER_SECOND_MAX", 100_000);
    launch
        .with("RELAYER__LIMITS__FRAME_BURST_MAX", 100_000)
        .with("RELAYER__LIMITS__BYTES_PER_SECOND_MAX", 1 << 30)
}

/// HELLO to EPOCH.
async fn greeted(pile: &mut Pile, connection: &Connection) -> SessionStream {
    let mut session = connection.session().await;
    session.send(whole_frame(&pile.hello_message()));
    pile.place = Some(HelloAck::decode(&session.frames.expect(FrameType::HelloAck).await).unwrap());
    session.frames.expect(FrameType::Epoch).await;
    session
}

/// Asks the relayer until it has counted so many.
async fn until(relayer: &Relayer, count: &str, wanted: u32) {
    for _ in 0..1_000 {
        // Each look is a process of its own, which is pause enough.
        let status = tokio::task::block_in_place(|| relayer.status());
        if status["counts"][count].as_u64().unwrap() >= u64::from(wanted) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{count} never came to {wanted}");
}
