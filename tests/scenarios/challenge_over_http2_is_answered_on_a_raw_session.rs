//! `POST /auth/challenge`: a ticket over HTTP/2, answered on a raw session of the same certificate.

use bytes::Bytes;
use cip22_wire::message::{Body, Challenge};
use cip22_wire::{FrameType, frame};
use system_tests::pile::{tls_stream, whole_frame};
use system_tests::world::World;

#[tokio::test]
async fn a_ticket_from_auth_challenge_is_answered_on_a_raw_session() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let (request, eph) = pile.challenge_request();
    let (status, body) = post(&world, &relayer, "/auth/challenge", whole_frame(&request)).await;
    assert_eq!(status, 200);
    let parsed = frame::parse(&body, u16::MAX).unwrap().unwrap();
    assert_eq!(parsed.frame_type, FrameType::Challenge.code());
    let ticket = pile.ticket_of(Challenge::decode(parsed.payload).unwrap(), eph);
    let answer = pile.answer(&ticket);
    pile.send(&answer.response).await;
    pile.expect_grant(&ticket).await;

    let (_, body) = post(&world, &relayer, "/auth/challenge", b"not a frame".to_vec()).await;
    let parsed = frame::parse(&body, u16::MAX).unwrap().unwrap();
    assert_eq!(parsed.frame_type, FrameType::Nack.code());
    let (status, _) = post(&world, &relayer, "/elsewhere", Vec::new()).await;
    assert_eq!(status, 404);
}

async fn post(
    world: &World,
    relayer: &system_tests::relayer::Relayer,
    path: &str,
    body: Vec<u8>,
) -> (u16, Vec<u8>) {
    let stream = tls_stream(relayer.ready.listen, world.pile(0).tls(b"h2")).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("https://localhost{path}"))
        .header("content-type", "application/cip22")
        .body(())
        .unwrap();
    let (response, mut send) = client.send_request(request, false).unwrap();
    send.send_data(Bytes::from(body), true).unwrap();
    let response = response.await.unwrap();
    let status = response.status().as_u16();
    let mut stream = response.into_body();
    let mut bytes = Vec::new();
    while let Some(data) = stream.data().await {
        bytes.extend_from_slice(&data.unwrap());
    }
    (status, bytes)
}
