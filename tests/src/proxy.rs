//! A JSON-RPC endpoint that tells the truth, until a scenario makes it lie: it stands between a client and a real node.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::primitives::keccak256;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Changes the node's answer: gets the call's parameters and the whole JSON-RPC answer.
pub type Rewrite = Arc<dyn Fn(&Value, Value) -> Value + Send + Sync>;

/// What happens to a call.
#[derive(Clone)]
pub enum Behaviour {
    /// It goes to the node, and the node's answer comes back.
    Forward,
    /// This HTTP status, without a body.
    Status(u16),
    /// Status 200 with bytes that are no JSON-RPC.
    Garbage(&'static str),
    /// No answer, for as long as the client waits or until another behaviour is set.
    Hang,
    /// The connection is closed in the middle of an answer.
    Reset,
    /// A JSON-RPC error; the node is not asked.
    Error(i64, &'static str),
    /// This result; the node is not asked. For `eth_sendRawTransaction`, a transaction that is accepted and forgotten.
    Answer(Value),
    /// Success for `eth_sendRawTransaction`, with the transaction's hash, and the bytes are forgotten.
    Swallow,
    /// The node's answer, changed.
    Rewrite(Rewrite),
}

/// A running proxy. It ends with this value.
pub struct Proxy {
    /// Where clients reach it.
    pub url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    upstream: Mutex<String>,
    client: reqwest::Client,
    rules: Mutex<Rules>,
    /// Every call that came in: method and parameters.
    calls: watch::Sender<Vec<(String, Value)>>,
    /// Bumped at each change of the rules.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Rules {
    every: Option<Behaviour>,
    by_method: HashMap<String, Behaviour>,
}

impl Behaviour {
    /// The node's answer, changed by `change(parameters, answer)`.
    pub fn rewrite(change: impl Fn(&Value, Value) -> Value + Send + Sync + 'static) -> Self {
        Self::Rewrite(Arc::new(change))
    }
}

impl Proxy {
    /// A proxy on a free port, in front of the node at `upstream`, that forwards everything.
    #[allow(clippy::disallowed_methods, reason = "scenarios work on real sockets")]
    pub async fn start(upstream: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream.to_owned()),
            client: reqwest::Client::new(),
            rules: Mutex::default(),
            calls: watch::channel(Vec::new()).0,
            changes: watch::channel(0).0,
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("its address");
        let router = Router::new().route("/", post(answer)).with_state(shared.clone());
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("the proxy serves");
        });
        Self { url: format!("http://{address}"), shared, server }
    }

    /// Another node, or the same one after it was started anew on another port.
    pub fn forward_to(&self, upstream: &str) {
        *lock(&self.shared.upstream) = upstream.to_owned();
    }

    /// What happens to every call for which [`Proxy::on`] says nothing.
    pub fn set(&self, behaviour: Behaviour) {
        lock(&self.shared.rules).every = Some(behaviour);
        self.changed();
    }

    /// What happens to calls of one method.
    pub fn on(&self, method: &str, behaviour: Behaviour) {
        lock(&self.shared.rules).by_method.insert(method.to_owned(), behaviour);
        self.changed();
    }

    /// Tells the truth again.
    pub fn clear(&self) {
        *lock(&self.shared.rules) = Rules::default();
        self.changed();
    }

    /// Calls of a method so far, by their parameters.
    pub fn calls(&self, method: &str) -> Vec<Value> {
        let calls = self.shared.calls.borrow();
        calls.iter().filter(|(called, _)| called == method).map(|(_, params)| params.clone()).collect()
    }

    /// Waits until a method has been called `count` times since the start.
    pub async fn wait_for_calls(&self, method: &str, count: usize) {
        let enough =
            |calls: &Vec<(String, Value)>| calls.iter().filter(|(m, _)| m == method).count() >= count;
        let _ = self.shared.calls.subscribe().wait_for(enough).await.expect("the proxy lives");
    }

    fn changed(&self) {
        self.shared.changes.send_modify(|change| *change += 1);
    }
}

impl Shared {
    fn behaviour(&self, method: &str) -> Behaviour {
        let rules = lock(&self.rules);
        rules.by_method.get(method).or(rules.every.as_ref()).cloned().unwrap_or(Behaviour::Forward)
    }

    /// The node's answer to one call; status 502 for a node that does not answer.
    async fn ask_node(&self, call: &Value) -> Result<Value, Response> {
        let upstream = lock(&self.upstream).clone();
        let sent =
            self.client.post(upstream).header("content-type", "application/json").body(call.to_string());
        let answer = async { sent.send().await?.bytes().await }.await;
        answer
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| StatusCode::BAD_GATEWAY.into_response())
    }

    /// The answer to one call, or `Err` with what is sent in place of one.
    async fn one(&self, call: &Value) -> Result<Value, Response> {
        let method = call["method"].as_str().unwrap_or_default().to_owned();
        self.calls.send_modify(|calls| calls.push((method.clone(), call["params"].clone())));
        loop {
            let mut changes = self.changes.subscribe();
            match self.behaviour(&method) {
                Behaviour::Forward => return self.ask_node(call).await,
                Behaviour::Status(status) => {
                    return Err(StatusCode::from_u16(status).expect("a status").into_response());
                }
                Behaviour::Garbage(text) => return Err(text.into_response()),
                Behaviour::Hang => {
                    let _ = changes.changed().await;
                }
                Behaviour::Reset => {
                    let cut = futures_util::stream::iter([
                        Ok(Bytes::from_static(b"{\"jsonrpc\":")),
                        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
                    ]);
                    return Err(Body::from_stream(cut).into_response());
                }
                Behaviour::Error(code, message) => return Ok(error_answer(call, code, message)),
                Behaviour::Answer(result) => {
                    return Ok(json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }));
                }
                Behaviour::Swallow => {
                    let raw = call["params"][0]
                        .as_str()
                        .and_then(|raw| raw.parse::<alloy::primitives::Bytes>().ok());
                    let hash = keccak256(raw.expect("signed bytes"));
                    return Ok(json!({ "jsonrpc": "2.0", "id": call["id"], "result": hash }));
                }
                Behaviour::Rewrite(change) => {
                    let answer = self.ask_node(call).await?;
                    return Ok(change(&call["params"], answer));
                }
            }
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let answered = match request {
        Value::Array(calls) => {
            let mut answers = Vec::with_capacity(calls.len());
            for call in &calls {
                match shared.one(call).await {
                    Ok(answer) => answers.push(answer),
                    Err(response) => return response,
                }
            }
            Ok(Value::Array(answers))
        }
        call => shared.one(&call).await,
    };
    match answered {
        Ok(answer) => ([("content-type", "application/json")], answer.to_string()).into_response(),
        Err(response) => response,
    }
}

fn error_answer(call: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": call["id"], "error": { "code": code, "message": message } })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "Forward",
            Self::Status(_) => "Status",
            Self::Garbage(_) => "Garbage",
            Self::Hang => "Hang",
            Self::Reset => "Reset",
            Self::Error(..) => "Error",
            Self::Answer(_) => "Answer",
            Self::Swallow => "Swallow",
            Self::Rewrite(_) => "Rewrite",
        })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(proxy: &Proxy, method: &str) -> Result<Value, reqwest::Error> {
        let call = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": [] });
        let answer = reqwest::Client::new().post(&proxy.url).body(call.to_string()).send().await?;
        let bytes = answer.error_for_status()?.bytes().await?;
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))))
    }

    #[tokio::test]
    async fn a_proxy_forwards_until_it_is_told_to_lie() {
        let node = Proxy::start("http://127.0.0.1:9").await;
        node.set(Behaviour::Answer(json!("0x2a")));
        let proxy = Proxy::start(&node.url).await;
        assert_eq!(ask(&proxy, "eth_chainId").await.unwrap()["result"], "0x2a");

        proxy.set(Behaviour::Garbage("<html>"));
        assert_eq!(ask(&proxy, "eth_chainId").await.unwrap(), json!("<html>"));
        proxy.on("eth_blockNumber", Behaviour::Error(-32_603, "catch up"));
        assert_eq!(ask(&proxy, "eth_blockNumber").await.unwrap()["error"]["code"], -32_603);
        proxy.on("eth_call", Behaviour::Status(500));
        assert_eq!(ask(&proxy, "eth_call").await.unwrap_err().status().unwrap(), 500);
        proxy.on("eth_getLogs", Behaviour::Reset);
        assert!(ask(&proxy, "eth_getLogs").await.is_err(), "the connection broke");
        proxy.set(Behaviour::rewrite(|_, mut answer| {
            answer["result"] = json!("0x2b");
            answer
        }));
        assert_eq!(ask(&proxy, "eth_chainId").await.unwrap()["result"], "0x2b");

        proxy.clear();
        assert_eq!(ask(&proxy, "eth_blockNumber").await.unwrap()["result"], "0x2a");
        assert_eq!(proxy.calls("eth_chainId").len(), 3);
    }

    #[tokio::test]
    async fn a_call_that_hangs_is_answered_once_the_proxy_is_told_otherwise() {
        let proxy = Proxy::start("http://127.0.0.1:9").await;
        proxy.set(Behaviour::Hang);
        let change = async {
            proxy.wait_for_calls("eth_chainId", 1).await;
            proxy.set(Behaviour::Answer(json!("0x1")));
        };
        let (answer, ()) = tokio::join!(ask(&proxy, "eth_chainId"), change);
        assert_eq!(answer.unwrap()["result"], "0x1");
    }

    #[tokio::test]
    async fn a_node_that_is_gone_is_a_bad_gateway() {
        let proxy = Proxy::start("http://127.0.0.1:9").await;
        assert_eq!(ask(&proxy, "eth_chainId").await.unwrap_err().status().unwrap(), 502);
    }
}
