//! What an endpoint may answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, Log as Inner};
use alloy::rpc::types::Log;
use cip22_relayer::chain::Chain;
use cip22_relayer::chain::contracts::{
    DEVICE_TOPICS, HEAD_TOPICS, LEDGER_TOPICS, POLICY_TOPICS, device_event, head_event, ledger_event,
    policy_event,
};
use cip22_relayer::chain::espace::EspaceChain;
use cip22_relayer::clock::SystemClock;

use super::input::Input;

/// Logs with any topics and data: an event or an error.
pub(crate) fn events(data: &[u8]) {
    let mut input = Input::new(data);
    let topics: &[B256] = match input.below(4) {
        0 => &DEVICE_TOPICS,
        1 => &HEAD_TOPICS,
        2 => &LEDGER_TOPICS,
        _ => &POLICY_TOPICS,
    };
    let mut log = Log {
        block_number: input.flag().then(|| u64::from(input.u8())),
        transaction_hash: input.flag().then(|| B256::from(input.array::<32>())),
        ..Log::default()
    };
    let first = topics[usize::from(input.u8()) % topics.len()];
    let others = input.below(5);
    let mut all = Vec::new();
    if input.u8() != 1 {
        all.push(first);
    }
    for _ in 0..others.min(3) {
        all.push(B256::from(input.array::<32>()));
    }
    log.inner = Inner::new_unchecked(Address::ZERO, all, Bytes::copy_from_slice(input.rest()));
    let _ = (device_event(&log), head_event(&log), ledger_event(&log), policy_event(&log));
}

/// Any body of an HTTP answer, as an endpoint that is broken or hostile may give it: a value or an error.
pub(crate) fn answers(data: &[u8]) {
    let endpoint = ENDPOINT.get_or_init(Endpoint::start);
    let mut input = Input::new(data);
    let (method, shape) = (input.below(11), input.below(4));
    let (result, status) = (input.rest(), if shape == 3 { 500 } else { 200 });
    *endpoint.answer.lock().expect("no panic holds it") = match shape {
        0 => (status, [br#"{"jsonrpc":"2.0","id":0,"result":"#, result, b"}"].concat()),
        1 => (status, [br#"{"jsonrpc":"2.0","id":0,"error":"#, result, b"}"].concat()),
        _ => (status, result.to_vec()),
    };
    endpoint.runtime.block_on(async {
        let chain = &endpoint.chain;
        match method {
            0 => _ = chain.chain_id().await,
            1 => _ = chain.heads().await,
            2 => _ = chain.block_hash(1).await,
            3 => _ = chain.policies(0, 9).await,
            4 => _ = chain.device_events(0, 9).await,
            5 => _ = chain.head_events(0, 9).await,
            6 => _ = chain.ledger_events(0, 9).await,
            7 => _ = chain.estimate_gas([1; 20], [2; 20], &[3]).await,
            8 => {
                let sent = chain.send_raw(&[1, 2, 3]).await;
                assert!(sent.is_err() || shape != 1, "what was refused counts as sent");
            }
            9 => _ = chain.receipt([4; 32]).await,
            _ => _ = chain.has_code([5; 20]).await,
        }
    });
}

/// One endpoint for the whole run: what it answers is set before each question.
struct Endpoint {
    answer: Arc<Mutex<(u16, Vec<u8>)>>,
    chain: EspaceChain,
    runtime: tokio::runtime::Runtime,
}

static ENDPOINT: OnceLock<Endpoint> = OnceLock::new();

impl Endpoint {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let answer = Arc::new(Mutex::new((200, Vec::new())));
        let shared = answer.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared) = (stream.expect("a connection"), shared.clone());
                std::thread::spawn(move || _ = serve(stream, &shared));
            }
        });
        let deployment = Arc::new(super::relayer::deployment());
        let clock = Arc::new(SystemClock::new());
        let chain = EspaceChain::new(&url, Duration::from_secs(10), deployment, clock).expect("a client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { answer, chain, runtime }
    }
}

/// HTTP/1.1 with connections kept open; ends with an error when the client is gone.
fn serve(stream: TcpStream, answer: &Mutex<(u16, Vec<u8>)>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        let (status, body) = answer.lock().expect("no panic holds it").clone();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        reader.get_mut().write_all(&[head.as_bytes(), &body].concat())?;
    }
}
