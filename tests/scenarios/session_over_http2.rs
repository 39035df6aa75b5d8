//! The same session as one bidirectional HTTP/2 stream.

use bytes::Bytes;
use cip22_wire::message::{Body, Challenge, HelloAck};
use cip22_wire::{FrameType, frame};
use system_tests::pile::{tls_stream, whole_frame};
use system_tests::world::World;

#[tokio::test]
async fn a_pile_authorizes_over_one_http2_stream() {
    let world = World::new();
    let relayer = world.launch().start();
    let mut pile = world.pile(0);
    let stream = tls_stream(relayer.ready.listen, pile.tls(b"h2")).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("https://localhost/session")
        .header("content-type", "application/cip22")
        .body(())
        .unwrap();
    let (response, mut send) = client.send_request(request, false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    let mut receive = Frames { body: response.into_body(), bytes: Vec::new() };

    send.send_data(Bytes::from(whole_frame(&pile.hello_message())), false).unwrap();
    let hello_ack = receive.expect(FrameType::HelloAck).await;
    pile.place = Some(HelloAck::decode(&hello_ack).unwrap());
    receive.expect(FrameType::Epoch).await;
    let (request, eph) = pile.challenge_request();
    send.send_data(Bytes::from(whole_frame(&request)), false).unwrap();
    let challenge = Challenge::decode(&receive.expect(FrameType::Challenge).await).unwrap();
    let ticket = pile.ticket_of(challenge, eph);
    let answer = pile.answer(&ticket);
    send.send_data(Bytes::from(whole_frame(&answer.response)), false).unwrap();
    receive.expect(FrameType::AuthGrant).await;
    let place = pile.place.unwrap();
    world.chain.wait_for_head(place.group, place.index, challenge.epoch, 1).await;
}

/// The response body as frames.
struct Frames {
    body: h2::RecvStream,
    bytes: Vec<u8>,
}

impl Frames {
    async fn expect(&mut self, wanted: FrameType) -> Vec<u8> {
        loop {
            if let Some(parsed) = frame::parse(&self.bytes, u16::MAX).unwrap() {
                let (found, payload) = (parsed.frame_type, parsed.payload.to_vec());
                let consumed = parsed.consumed;
                self.bytes.drain(..consumed);
                if found == wanted.code() {
                    return payload;
                }
                continue;
            }
            let data = self.body.data().await.expect("the stream goes on").unwrap();
            self.body.flow_control().release_capacity(data.len()).unwrap();
            self.bytes.extend_from_slice(&data);
        }
    }
}
