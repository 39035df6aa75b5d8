//! The HTTP/2 binding.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cip22_relayer::clock::Clock;
use cip22_relayer::edge::http2::CONTENT_TYPE;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{ALPN_HTTP2, AcceptLimits, Binding, DEVICE, Duration, Edge, Http2Limits, limits};

#[tokio::test]
async fn a_session_streams_both_ways_at_once() {
    let edge = Edge::start().await;
    let mut client = Client::connect(&edge).await;
    let (response, mut send) = client.post("/session").await;
    // The head comes before any byte was sent.
    let mut body = expect(response, StatusCode::OK).await;
    for part in [&b"one"[..], b"two"] {
        send.send_data(Bytes::from_static(part), false).unwrap();
        assert_eq!(read(&mut body, part.len()).await, part);
    }
    send.send_data(Bytes::new(), true).unwrap();
    assert_ended(&mut body).await;
    drop((body, send));
    client.leave().await;
    assert_eq!(edge.stop().await, vec![(DEVICE, Binding::Http2)]);
}

#[tokio::test]
async fn more_bytes_than_every_window_and_buffer_cross_unharmed() {
    let edge = Edge::start().await;
    let mut client = Client::connect(&edge).await;
    let (response, mut send) = client.post("/session").await;
    let mut body = expect(response, StatusCode::OK).await;
    let sent: Vec<u8> = (0..1_000_000u32).flat_map(|n| n.to_be_bytes()).collect();
    let expected = sent.clone();
    let sender = tokio::spawn(async move {
        let mut left = Bytes::from(sent);
        while !left.is_empty() {
            send.reserve_capacity(left.len());
            let capacity =
                std::future::poll_fn(|context| send.poll_capacity(context)).await.unwrap().unwrap();
            send.send_data(left.split_to(capacity.min(left.len())), false).unwrap();
        }
        send.send_data(Bytes::new(), true).unwrap();
    });
    assert!(read(&mut body, expected.len()).await == expected);
    assert_ended(&mut body).await;
    sender.await.unwrap();
    drop(body);
    client.leave().await;
    edge.stop().await;
}

#[tokio::test]
async fn a_second_session_on_a_connection_is_refused_until_the_first_ended() {
    let edge = Edge::start().await;
    let mut client = Client::connect(&edge).await;
    let (response, mut first) = client.post("/session").await;
    let mut body = expect(response, StatusCode::OK).await;
    let (response, second) = client.post("/session").await;
    drop(expect(response, StatusCode::CONFLICT).await);
    first.send_data(Bytes::new(), true).unwrap();
    assert_ended(&mut body).await;
    drop((body, first, second));
    client.leave().await;
    assert_eq!(edge.stop().await.len(), 1);
}

#[tokio::test]
async fn a_reset_request_ends_its_session() {
    let edge = Edge::start().await;
    let mut client = Client::connect(&edge).await;
    let (response, mut send) = client.post("/session").await;
    drop(expect(response, StatusCode::OK).await);
    send.send_reset(h2::Reason::CANCEL);
    drop(send);
    client.leave().await;
    // Returns only once the session's task has.
    assert_eq!(edge.stop().await.len(), 1);
}

#[tokio::test]
async fn a_challenge_is_answered_with_one_body_for_the_certificates_device() {
    let edge = Edge::start().await;
    let mut client = Client::connect(&edge).await;
    let (response, mut send) = client.post("/auth/challenge").await;
    send.send_data(Bytes::from_static(b"request"), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
    let mut body = response.into_body();
    assert_eq!(read(&mut body, 39).await, [&DEVICE[..], b"request"].concat());
    assert_ended(&mut body).await;
    drop((body, send));
    client.leave().await;
    assert_eq!(edge.stop().await, vec![]);
}

#[tokio::test]
async fn an_oversized_challenge_body_is_refused() {
    let edge = Edge::start().await;
    let mut client = Client::connect(&edge).await;
    let (response, mut send) = client.post("/auth/challenge").await;
    send.send_data(Bytes::from(vec![0; 1_001]), true).unwrap();
    drop(expect(response, StatusCode::PAYLOAD_TOO_LARGE).await);
    drop(send);
    client.leave().await;
    edge.stop().await;
}

#[tokio::test]
async fn a_challenge_body_that_does_not_end_is_refused() {
    let clock = Arc::new(TimeoutOnDemand::default());
    let edge = Edge::start_with_clock(limits(), clock.clone()).await;
    let mut client = Client::connect(&edge).await;
    // Once this is answered, only the request below is left to time out.
    let (response, other) = client.post("/").await;
    drop(expect(response, StatusCode::NOT_FOUND).await);
    let (response, send) = client.post("/auth/challenge").await;
    clock.0.cancel();
    drop(expect(response, StatusCode::REQUEST_TIMEOUT).await);
    drop((other, send));
    client.leave().await;
    edge.stop().await;
}

#[tokio::test]
async fn other_paths_methods_and_content_types_are_refused_each_in_its_own_way() {
    let edge = Edge::start().await;
    let mut client = Client::connect(&edge).await;
    for (method, path, content_type, status) in [
        (Method::POST, "/", CONTENT_TYPE, StatusCode::NOT_FOUND),
        (Method::POST, "/session/", CONTENT_TYPE, StatusCode::NOT_FOUND),
        (Method::GET, "/session", CONTENT_TYPE, StatusCode::METHOD_NOT_ALLOWED),
        (Method::PUT, "/auth/challenge", CONTENT_TYPE, StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/session", "application/json", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Method::POST, "/auth/challenge", "", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let (response, _send) = client.request(method, path, content_type).await;
        drop(expect(response, status).await);
    }
    client.leave().await;
    assert_eq!(edge.stop().await, vec![]);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let http2 = Http2Limits { idle_timeout: Duration::from_millis(50), ..limits().http2 };
    let edge = Edge::start_with(AcceptLimits { http2, ..limits() }).await;
    let client = Client::connect(&edge).await;
    // Held open by the client, so it is the gateway that ends it.
    let _requests = client.requests.clone();
    client.connection.await.unwrap().unwrap();
    edge.stop().await;
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_closed() {
    let http2 = Http2Limits {
        ping_interval: Duration::from_millis(10),
        ping_timeout: Duration::from_millis(50),
        ..limits().http2
    };
    let edge = Edge::start_with(AcceptLimits { http2, ..limits() }).await;
    let mut stream = edge.connect(&edge.root.device(&DEVICE), Some(ALPN_HTTP2)).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // Ends, though nothing was asked and nothing is wrong but the silence; the connection may be cut without a goodbye.
    let mut buffer = [0; 64];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
    edge.stop().await;
}

#[tokio::test]
async fn a_peer_that_answers_its_pings_stays() {
    let http2 = Http2Limits {
        ping_interval: Duration::from_millis(1),
        ping_timeout: Duration::from_secs(60),
        ..limits().http2
    };
    let edge = Edge::start_with(AcceptLimits { http2, ..limits() }).await;
    let mut client = Client::connect(&edge).await;
    let (response, mut send) = client.post("/session").await;
    let mut body = expect(response, StatusCode::OK).await;
    for _ in 0..100 {
        send.send_data(Bytes::from_static(b"still here"), false).unwrap();
        assert_eq!(read(&mut body, 10).await, b"still here");
    }
    send.send_data(Bytes::new(), true).unwrap();
    assert_ended(&mut body).await;
    drop((body, send));
    client.leave().await;
    edge.stop().await;
}

#[tokio::test]
async fn more_requests_than_a_pile_needs_end_the_connection() {
    let http2 = Http2Limits { requests_per_second_max: 1, request_burst_max: 20, ..limits().http2 };
    let edge = Edge::start_with(AcceptLimits { http2, ..limits() }).await;
    let mut client = Client::connect(&edge).await;
    let mut answered = 0;
    while let Ok(ready) = client.requests.clone().ready().await {
        client.requests = ready;
        let request = Request::post("https://localhost/").body(()).unwrap();
        let Ok((response, _send)) = client.requests.send_request(request, true) else { break };
        if response.await.is_err() {
            break;
        }
        answered += 1;
    }
    assert!(answered >= 20, "{answered} requests were answered");
    let error = client.connection.await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM), "{error}");
    edge.stop().await;
}

#[tokio::test]
async fn a_response_that_nobody_reads_holds_up_no_other_stream() {
    let edge = Edge::start().await;
    let mut client = Client::connect(&edge).await;
    let (response, mut send) = client.post("/session").await;
    let body = expect(response, StatusCode::OK).await;
    // More than the session's windows and buffers hold in both directions; the client keeps the rest.
    send.send_data(Bytes::from(vec![7; 1_000_000]), false).unwrap();
    for _ in 0..20 {
        let (response, mut challenge) = client.post("/auth/challenge").await;
        challenge.send_data(Bytes::from_static(b"request"), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(read(&mut body, 39).await, [&DEVICE[..], b"request"].concat());
    }
    drop((body, send));
    client.leave().await;
    edge.stop().await;
}

#[tokio::test]
async fn a_stop_is_bounded_for_a_stream_that_does_not_end() {
    let http2 = Http2Limits { drain_timeout: Duration::from_millis(50), ..limits().http2 };
    let edge = Edge::start_with(AcceptLimits { http2, ..limits() }).await;
    let mut client = Client::connect(&edge).await;
    let (response, _send) = client.post("/session").await;
    let _body = expect(response, StatusCode::OK).await;
    assert_eq!(edge.stop().await.len(), 1);
}

#[tokio::test]
async fn a_stop_says_goaway_and_lets_the_session_finish() {
    let edge = Edge::start().await;
    let mut client = Client::connect(&edge).await;
    let (response, mut send) = client.post("/session").await;
    let mut body = expect(response, StatusCode::OK).await;
    edge.stop.cancel();
    send.send_data(Bytes::from_static(b"last"), false).unwrap();
    assert_eq!(read(&mut body, 4).await, b"last");
    send.send_data(Bytes::new(), true).unwrap();
    assert_ended(&mut body).await;
    // Held open by the client, so it is the gateway that ends it.
    let _requests = client.requests.clone();
    client.connection.await.unwrap().unwrap();
    assert_eq!(edge.stop().await.len(), 1);
}

/// A clock on which requests time out when the token is cancelled, and nothing else ever does.
#[derive(Debug, Default)]
struct TimeoutOnDemand(CancellationToken);

#[async_trait]
impl Clock for TimeoutOnDemand {
    fn unix_ms(&self) -> u64 {
        0
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }

    async fn sleep(&self, duration: Duration) {
        if duration != limits().http2.request_timeout {
            std::future::pending::<()>().await;
        }
        self.0.cancelled().await;
    }
}

struct Client {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn connect(edge: &Edge) -> Self {
        let stream = edge.connect(&edge.root.device(&DEVICE), Some(ALPN_HTTP2)).await.unwrap();
        // As protocol §1 asks: the connection's window holds more than one stream's.
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(1 << 20);
        let (requests, connection) = builder.handshake(stream).await.unwrap();
        Self { requests, connection: tokio::spawn(connection) }
    }

    async fn post(&mut self, path: &str) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        self.request(Method::POST, path, CONTENT_TYPE).await
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        content_type: &str,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"))
            .header(header::CONTENT_TYPE, content_type)
            .body(())
            .unwrap();
        let mut ready = self.requests.clone().ready().await.unwrap();
        ready.send_request(request, false).unwrap()
    }

    /// Closes the connection and waits until it is; streams that are still held would keep it open.
    async fn leave(self) {
        drop(self.requests);
        self.connection.await.unwrap().unwrap();
    }
}

async fn expect(response: h2::client::ResponseFuture, status: StatusCode) -> RecvStream {
    let response: Response<RecvStream> = response.await.unwrap();
    assert_eq!(response.status(), status);
    response.into_body()
}

async fn read(body: &mut RecvStream, length: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < length {
        let chunk = body.data().await.unwrap().unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        read.extend_from_slice(&chunk);
    }
    read
}

/// An empty DATA frame may carry the end.
async fn assert_ended(body: &mut RecvStream) {
    while let Some(chunk) = body.data().await {
        assert_eq!(chunk.unwrap(), Bytes::new());
    }
}
