//! Every way of being a nuisance on a connection, all at once, while an honest pile authorizes: each ends by the relayer's
//! hand, and costs the honest pile nothing but time.

use std::net::SocketAddr;

use cip22_wire::message::{Body, Heartbeat, Nack};
use cip22_wire::{FrameType, NackCode};
use system_tests::http2::{Connection, goaways};
use system_tests::pile::{Pile, tls_stream, whole_frame};
use system_tests::relayer::Launch;
use system_tests::world::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

const IDLE_CONNECTIONS: usize = 2_000;
const PER_ADDRESS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_pile_authorizes_while_every_kind_of_hostile_connection_is_open() {
    let world = World::new();
    let relayer = launch(&world).start();
    let address = relayer.ready.listen;
    let mut honest = world.connected_pile(0, &relayer).await;
    let mut attacks = JoinSet::new();
    attacks.spawn(slow_handshakes(address));
    attacks.spawn(more_connections_than_an_address_may_have(address));
    attacks.spawn(connections_that_are_reset(address));
    attacks.spawn(no_hello(world.pile(1), address));
    attacks.spawn(a_frame_byte_by_byte(world.pile(2), address));
    attacks.spawn(a_payload_larger_than_any(world.pile(3), address));
    attacks.spawn(frames_faster_than_allowed(world.pile(4), address));
    attacks.spawn(rapid_reset(world.pile(6), address));
    attacks.spawn(ping_and_settings_flood(world.pile(7), address));
    let mut granted = 0;
    for _ in 0..20 {
        let sid = honest.authorize().await;
        honest.end_charge(sid).await;
        granted += 1;
    }
    while let Some(attack) = attacks.join_next().await {
        attack.unwrap();
        let sid = honest.authorize().await;
        honest.end_charge(sid).await;
        granted += 1;
    }
    one_certificate_with_many_connections(&world, address).await;
    assert_eq!(relayer.status()["counts"]["granted"], granted);
}

#[tokio::test]
async fn frames_that_are_not_read_end_the_session_and_a_new_one_finds_everything() {
    let world = World::new();
    let relayer = world
        .launch()
        .with("RELAYER__GATEWAY__HEARTBEAT_INTERVAL_MS", 1_000)
        .with("RELAYER__LIMITS__IDLE_TIMEOUT_MS", 2_000)
        .with("RELAYER__LIMITS__FRAMES_PER_SECOND_MAX", 100_000)
        .with("RELAYER__LIMITS__FRAME_BURST_MAX", 100_000)
        .with("RELAYER__LIMITS__BYTES_PER_SECOND_MAX", 1 << 30)
        .start();
    let mut pile = world.connected_pile(0, &relayer).await;
    let ticket = pile.ticket().await;
    let answer = pile.answer(&ticket);
    pile.send(&answer.response).await;
    let grant = pile.expect_grant(&ticket).await;
    fill_until_closed(pile.take_link()).await;

    let (chain, epoch) = (pile.chain, pile.epoch);
    pile.connect(relayer.ready.listen).await;
    pile.open().await;
    (pile.chain, pile.epoch) = (chain, epoch);
    pile.send(&answer.response).await;
    assert_eq!(pile.expect_grant(&ticket).await, grant, "what was acknowledged is there, byte for byte");
}

/// Short deadlines, so that the scenario is; the limits by number are small enough to be reached.
fn launch(world: &World) -> Launch {
    world
        .launch()
        .with("RELAYER__GATEWAY__HEARTBEAT_INTERVAL_MS", 10_000)
        .with("RELAYER__LIMITS__IDLE_TIMEOUT_MS", 20_000)
        .with("RELAYER__LIMITS__HANDSHAKE_TIMEOUT_MS", 5_000)
        .with("RELAYER__LIMITS__FRAME_TIMEOUT_MS", 2_000)
        .with("RELAYER__LIMITS__PING_INTERVAL_MS", 2_000)
        .with("RELAYER__LIMITS__PING_TIMEOUT_MS", 5_000)
        .with("RELAYER__LIMITS__CONNECTIONS_PER_ADDRESS_MAX", PER_ADDRESS)
        .with("RELAYER__LIMITS__HANDSHAKES_PER_ADDRESS_MAX", 16)
}

/// A few bytes of a ClientHello, then nothing. All are closed.
async fn slow_handshakes(relayer: SocketAddr) {
    let mut open = JoinSet::new();
    for _ in 0..PER_ADDRESS / 2 {
        let mut stream = connect_from("127.0.0.2", relayer).await;
        stream.write_all(&[0x16, 0x03, 0x01, 0x02]).await.unwrap();
        open.spawn(until_closed(stream));
    }
    assert_eq!(open.join_all().await.len(), PER_ADDRESS / 2);
}

/// Those above the limit are closed at once, the others when their time is over.
async fn more_connections_than_an_address_may_have(relayer: SocketAddr) {
    let mut open = JoinSet::new();
    for _ in 0..IDLE_CONNECTIONS {
        open.spawn(until_closed(connect_from("127.0.0.3", relayer).await));
    }
    assert_eq!(open.join_all().await.len(), IDLE_CONNECTIONS);
}

async fn connections_that_are_reset(relayer: SocketAddr) {
    for _ in 0..500 {
        let mut stream = connect_from("127.0.0.4", relayer).await;
        // It may be refused already.
        let _ = stream.write_all(&[0x16]).await;
        stream.set_zero_linger().unwrap();
    }
}

async fn no_hello(pile: Pile, relayer: SocketAddr) {
    until_closed(tls_stream(relayer, pile.tls(b"cip22/2")).await.unwrap()).await;
}

async fn a_frame_byte_by_byte(mut pile: Pile, relayer: SocketAddr) {
    pile.connect(relayer).await;
    pile.open().await;
    let frame = whole_frame(&Heartbeat { counter: 1, time_ms: 1 });
    pile.send_bytes(&frame[..frame.len() - 1]).await;
    while pile.next_frame().await.is_some() {}
}

async fn a_payload_larger_than_any(mut pile: Pile, relayer: SocketAddr) {
    pile.connect(relayer).await;
    pile.open().await;
    pile.send_bytes(&[0xC1, 0x02, 0x20, 0x00, 0xFF, 0xFF, 0x30]).await;
    assert_eq!(pile.expect_nack().await, NackCode::PayloadTooLong);
    while pile.next_frame().await.is_some() {}
}

/// The first are refused with a time, the rest waits; every one is answered, and the session stands.
async fn frames_faster_than_allowed(mut pile: Pile, relayer: SocketAddr) {
    const FRAMES: usize = 1_500;
    pile.connect(relayer).await;
    pile.open().await;
    let flood: Vec<u8> =
        (0..FRAMES as u32).flat_map(|counter| whole_frame(&Heartbeat { counter, time_ms: 0 })).collect();
    pile.send_bytes(&flood).await;
    let (mut answered, mut limited) = (0, 0);
    while answered + limited < FRAMES {
        let (found, payload) = pile.next_frame().await.expect("the session stands");
        if found == FrameType::Heartbeat.code() {
            answered += 1;
        } else if found == FrameType::Nack.code() {
            let nack = Nack::decode(&payload).unwrap();
            assert_eq!(NackCode::from_u16(nack.code), Some(NackCode::RateLimited));
            assert!(nack.retry_ms.is_some(), "it says when to try again");
            limited += 1;
        }
    }
    assert!(limited > 0 && answered > 0, "{limited} refused, {answered} answered");
}

/// Streams opened and reset at once (CVE-2023-44487).
async fn rapid_reset(pile: Pile, relayer: SocketAddr) {
    // HPACK: POST, https, and the path and content type as literals without indexing (RFC 7541).
    let headers = [&[0x83, 0x87, 0x04, 8][..], b"/session", &[0x0F, 0x10, 17], b"application/cip22"].concat();
    let mut flood = HTTP2_PREFACE.to_vec();
    flood.extend(http2_frame(SETTINGS, 0, 0, &[]));
    for stream in (1..1_000).step_by(2) {
        flood.extend(http2_frame(HEADERS, END_HEADERS, stream, &headers));
        flood.extend(http2_frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    }
    let mut stream = tls_stream(relayer, pile.tls(b"h2")).await.unwrap();
    // The relayer may close before all is sent.
    let _ = stream.write_all(&flood).await;
    let (mut received, mut buffer) = (Vec::new(), [0; 1_024]);
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        received.extend_from_slice(&buffer[..count]);
    }
    let (_, code) = *goaways(&received).last().expect("the relayer says why it ends the connection");
    assert_eq!(code, ENHANCE_YOUR_CALM);
}

/// PING and SETTINGS without end, whose answers are not read: the relayer stops reading, misses its own PING, and closes.
async fn ping_and_settings_flood(pile: Pile, relayer: SocketAddr) {
    let mut stream = tls_stream(relayer, pile.tls(b"h2")).await.unwrap();
    stream.write_all(HTTP2_PREFACE).await.unwrap();
    let flood = [http2_frame(SETTINGS, 0, 0, &[]), http2_frame(PING, 0, 0, &[7; 8])].concat().repeat(500);
    while stream.write_all(&flood).await.is_ok() {}
}

/// The newest connections of a certificate stand, the oldest are ended.
async fn one_certificate_with_many_connections(world: &World, relayer: SocketAddr) {
    let pile = world.pile(1);
    let request = whole_frame(&pile.challenge_request().0);
    let mut connections = Vec::new();
    for _ in 0..6 {
        let connection = Connection::open(&pile, relayer, 65_535).await;
        // Answered, so the relayer has counted it.
        assert_eq!(connection.challenge(&request).await.0, FrameType::Challenge.code());
        connections.push(connection);
    }
    let newest = connections.split_off(2);
    for oldest in connections {
        // It ends, well or with an error.
        let _ = oldest.task.await.unwrap();
    }
    for connection in newest {
        assert_eq!(connection.challenge(&request).await.0, FrameType::Challenge.code());
    }
}

/// Sends heartbeats and reads nothing until the relayer gives up.
async fn fill_until_closed(mut stream: TlsStream<TcpStream>) {
    let beats = whole_frame(&Heartbeat { counter: 1, time_ms: 1 }).repeat(1_000);
    while stream.write_all(&beats).await.is_ok() {}
}

/// Reads until the other end has closed, whichever way.
async fn until_closed(mut stream: impl AsyncReadExt + Unpin) {
    let mut buffer = [0; 1_024];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}

/// Connects from one of this machine's own addresses.
async fn connect_from(address: &str, relayer: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    socket.connect(relayer).await.unwrap()
}

/// An HTTP/2 frame (RFC 9113 §4.1).
fn http2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_HEADERS: u8 = 4;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;
