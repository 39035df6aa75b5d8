//! Against a scripted HTTP server: what is asked, and what is made of the answers.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::clock::SystemClock;

type Script = Box<dyn Fn(&str, &Value) -> Value + Send + Sync>;

/// Serves one JSON-RPC request per connection; returns the URL and the methods asked so far.
#[allow(clippy::disallowed_methods, reason = "a test's own server")]
async fn serve(script: Script) -> (String, Arc<Mutex<Vec<(String, Value)>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:secret@{}/key?token=hidden", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = read_request(&mut stream).await;
            let method = request["method"].as_str().unwrap().to_owned();
            let mut answer = script(&method, &request["params"]);
            seen.lock().unwrap().push((method, request["params"].clone()));
            answer["jsonrpc"] = json!("2.0");
            answer["id"] = request["id"].clone();
            let body = answer.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    });
    (url, asked)
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> Value {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap();
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(request) = serde_json::from_str(body)
        {
            return request;
        }
    }
}

fn chain(url: &str) -> EspaceChain {
    let text = json!({
        "chain_id": 1235, "start_block": 0, "epoch_len_blocks": 20, "ring_epochs": 32,
        "access_manager": quoted(&[1; 20]), "device_registry": quoted(&[2; 20]), "gateway_registry": quoted(&[3; 20]),
        "policy_registry": quoted(&[4; 20]), "battery_ledger": quoted(&[5; 20]), "policy_signer": quoted(&[6; 20]),
        "verifiers": [{"address": quoted(&[7; 20]), "label": "v1"}],
    });
    let deployment = Arc::new(Deployment::parse("test", &text.to_string()).unwrap());
    EspaceChain::new(url, Duration::from_secs(5), deployment, Arc::new(SystemClock::new())).unwrap()
}

fn refusal(message: &str) -> Value {
    json!({ "error": { "code": -32603, "message": message } })
}

#[tokio::test]
async fn a_refused_send_of_bytes_that_the_node_knows_is_success() {
    let (url, asked) = serve(Box::new(|method, _| match method {
        "eth_sendRawTransaction" => refusal("replacement transaction underpriced"),
        _ => json!({ "result": { "hash": "0x00" } }),
    }))
    .await;
    chain(&url).send_raw(&[1, 2, 3]).await.unwrap();
    let asked = asked.lock().unwrap();
    assert_eq!(asked[1].0, "eth_getTransactionByHash");
    assert_eq!(asked[1].1[0], json!(keccak256([1, 2, 3])), "asked by our own hash");
}

#[tokio::test]
async fn a_refused_send_of_unknown_bytes_stays_refused_whatever_the_text_says() {
    let (url, _) = serve(Box::new(|method, _| match method {
        "eth_sendRawTransaction" => refusal("already known"),
        _ => json!({ "result": null }),
    }))
    .await;
    assert!(matches!(chain(&url).send_raw(&[1]).await, Err(ChainError::Refused { .. })));
}

#[tokio::test]
async fn a_missing_receipt_is_unknown() {
    let (url, _) = serve(Box::new(|_, _| json!({ "result": null }))).await;
    assert_eq!(chain(&url).receipt([1; 32]).await.unwrap(), None);
}

#[tokio::test]
async fn the_fee_is_what_espace_charged() {
    let (url, _) = serve(Box::new(|_, _| {
        json!({ "result": {
            "status": "0x1", "blockNumber": "0x10", "blockHash": B256::repeat_byte(9), "gasUsed": "0x5208",
            "effectiveGasPrice": "0x1", "gasFee": "0x12345", "logs": [],
        } })
    }))
    .await;
    let receipt = chain(&url).receipt([1; 32]).await.unwrap().unwrap();
    assert_eq!((receipt.block, receipt.gas_used, receipt.fee_drip), (16, 21_000, 0x12345));
    assert!(receipt.succeeded);
}

#[tokio::test]
async fn log_ranges_are_bounded_and_halved_on_refusal_without_losing_a_block() {
    let served = Arc::new(Mutex::new(Vec::new()));
    let ranges = served.clone();
    let (url, _) = serve(Box::new(move |_, params| {
        let block = |name: &str| u64::from_str_radix(&params[0][name].as_str().unwrap()[2..], 16).unwrap();
        let (from, to) = (block("fromBlock"), block("toBlock"));
        assert!(to - from < LOG_RANGE_BLOCKS_MAX);
        if to - from >= 300 {
            return refusal("too many logs");
        }
        ranges.lock().unwrap().push((from, to));
        json!({ "result": [] })
    }))
    .await;
    assert!(chain(&url).head_events(5, 2_500).await.unwrap().is_empty());
    let served = served.lock().unwrap();
    assert_eq!(served.first().unwrap().0, 5);
    assert_eq!(served.last().unwrap().1, 2_500);
    assert!(served.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "contiguous and in order");
}

#[tokio::test]
async fn a_range_refused_down_to_one_block_is_an_error() {
    let (url, asked) = serve(Box::new(|_, _| refusal("go away"))).await;
    assert!(matches!(chain(&url).head_events(0, 999).await, Err(ChainError::Refused { .. })));
    assert!(
        asked.lock().unwrap().len() <= 11,
        "an endpoint that refuses everything is not asked a thousand times"
    );
}

#[tokio::test]
async fn a_revert_is_told_from_a_refusal_by_its_data() {
    let (url, _) = serve(Box::new(
        |_, _| json!({ "error": { "code": 3, "message": "execution reverted", "data": "0xdeadbeef" } }),
    ))
    .await;
    let error = chain(&url).estimate_gas([1; 20], [2; 20], &[3]).await.unwrap_err();
    assert!(matches!(error, ChainError::Reverted { data, .. } if data == [0xde, 0xad, 0xbe, 0xef]));
}

#[tokio::test]
async fn credentials_show_up_in_no_output() {
    // Nothing listens on port 9 of this address.
    let chain = chain("http://user:secret@127.0.0.1:9/key?token=hidden");
    let error = chain.chain_id().await.unwrap_err();
    let shown = format!("{chain:?} {error} {error:?} {}", std::error::Error::source(&error).unwrap());
    assert!(shown.contains("http://127.0.0.1:9"));
    for secret in ["user", "secret", "key", "token", "hidden"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

/// Serves these bytes to every request; returns the URL.
#[allow(clippy::disallowed_methods, reason = "a test's own server")]
async fn serve_bytes(response: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_request(&mut stream).await;
            stream.write_all(response.as_bytes()).await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn what_is_no_answer_is_told_from_a_refusal() {
    let response = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    for response in [
        response("500 Internal Server Error", ""),
        response("429 Too Many Requests", "slow down"),
        response("200 OK", "<html>busy</html>"),
        response("200 OK", "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":\"a lot\"}"),
        response("200 OK", "{\"jsonrpc\":\"2.0\",\"id\":0}"),
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{".to_owned(),
    ] {
        let error = chain(&serve_bytes(response.clone()).await).chain_id().await.unwrap_err();
        assert!(!error.is_refusal(), "{error:?} for {response}");
    }
    let (url, _) = serve(Box::new(|_, _| refusal("no"))).await;
    assert!(chain(&url).chain_id().await.unwrap_err().is_refusal());
}

#[tokio::test]
async fn a_node_catches_up_unless_it_says_false() {
    for (answer, catches_up) in [(json!(false), false), (json!({ "currentBlock": "0x1" }), true)] {
        let (url, _) = serve(Box::new(move |_, _| json!({ "result": answer.clone() }))).await;
        assert_eq!(chain(&url).is_syncing().await.unwrap(), catches_up);
    }
}

#[tokio::test]
async fn accounts_are_read_at_the_block_that_is_asked_about() {
    let (url, asked) = serve(Box::new(|_, _| json!({ "result": "0x7" }))).await;
    let chain = chain(&url);
    assert_eq!(chain.nonce_at([1; 20], 300).await.unwrap(), 7);
    assert_eq!(chain.balance_at([1; 20], 301).await.unwrap(), 7);
    let asked = asked.lock().unwrap();
    assert_eq!((&asked[0].1[1], &asked[1].1[1]), (&json!("0x12c"), &json!("0x12d")));
}
