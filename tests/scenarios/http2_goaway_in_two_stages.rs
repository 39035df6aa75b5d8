//! A stop under HTTP/2: first GOAWAY with the largest stream id, DRAIN and the end of the session's stream, then GOAWAY with
//! the last stream served; the connection ends by itself.

use cip22_wire::FrameType;
use cip22_wire::message::{Body, Challenge, HelloAck};
use system_tests::http2::{Connection, MAX_STREAM_ID};
use system_tests::pile::whole_frame;
use system_tests::world::World;

const NO_ERROR: u32 = 0;

#[tokio::test]
async fn a_stop_drains_an_http2_session_between_the_two_goaways_and_keeps_its_grant() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.pile(0);
    let connection = Connection::open(&pile, relayer.ready.listen, 65_535).await;
    let mut session = connection.session().await;
    session.send(whole_frame(&pile.hello_message()));
    pile.place = Some(HelloAck::decode(&session.frames.expect(FrameType::HelloAck).await).unwrap());
    session.frames.expect(FrameType::Epoch).await;
    let (request, eph) = pile.challenge_request();
    let (found, payload) = connection.challenge(&whole_frame(&request)).await;
    assert_eq!(found, FrameType::Challenge.code());
    let ticket = pile.ticket_of(Challenge::decode(&payload).unwrap(), eph);
    let answer = pile.answer(&ticket);
    session.send(whole_frame(&answer.response));
    session.frames.expect(FrameType::AuthGrant).await;
    assert_eq!(connection.received.goaways(), []);

    let stopped = tokio::task::spawn_blocking(move || relayer.stop());
    session.frames.expect(FrameType::Drain).await;
    assert_eq!(session.frames.next().await, None, "DRAIN is the last frame, and the stream ends");
    // The client leaves its side of the stream open, so that it is the relayer that ends the connection.
    let _ = connection.task.await.unwrap();
    assert!(stopped.await.unwrap(), "exit code 0");
    drop(session);
    // Streams 1 and 3 were served: the session and the ticket.
    assert_eq!(connection.received.goaways(), [(MAX_STREAM_ID, NO_ERROR), (3, NO_ERROR)]);

    let _relayer = world.launch().start();
    let place = pile.place.unwrap();
    world.chain.wait_for_head(place.group, place.index, ticket.challenge.epoch, 1).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_pile_that_does_not_read() {
    let world = World::new();
    let relayer = world.launch().start();
    let pile = world.pile(0);
    // Without credit for a single byte of the response.
    let connection = Connection::open(&pile, relayer.ready.listen, 0).await;
    let mut session = connection.session().await;
    session.send(whole_frame(&pile.hello_message()));
    let mut honest = world.connected_pile(1, &relayer).await;
    let stopped = tokio::task::spawn_blocking(move || relayer.stop());
    honest.expect(&[FrameType::Drain]).await;
    assert!(stopped.await.unwrap(), "exit code 0");
    assert!(connection.received.goaways().contains(&(MAX_STREAM_ID, NO_ERROR)));
}
