//! `GET /metrics`, `/health` and `/ready` over plain HTTP/1, for a private address.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock::SharedClock;
use crate::net::{BoxStream, Listener};

/// Says whether the relayer can serve piles now.
pub trait Readiness: Debug + Send + Sync {
    /// The reasons why not, one sentence each.
    fn ready(&self) -> Result<(), Vec<String>>;
}

/// Serves until `stop` is cancelled and the open requests are answered.
pub async fn serve(
    listener: Box<dyn Listener>,
    metrics: PrometheusHandle,
    readiness: Arc<dyn Readiness>,
    clock: SharedClock,
    stop: CancellationToken,
) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(render))
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .with_state(Shared { metrics, readiness });
    axum::serve(Retrying { listener, clock }, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

#[derive(Clone)]
struct Shared {
    metrics: PrometheusHandle,
    readiness: Arc<dyn Readiness>,
}

async fn render(State(shared): State<Shared>) -> impl IntoResponse {
    shared.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shared.metrics.render())
}

async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    let (status, body) = match shared.readiness.ready() {
        Ok(()) => (StatusCode::OK, serde_json::json!({ "ready": true })),
        Err(reasons) => {
            (StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({ "ready": false, "reasons": reasons }))
        }
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string())
}

/// A listener that outlives failed accepts.
struct Retrying {
    listener: Box<dyn Listener>,
    clock: SharedClock,
}

impl axum::serve::Listener for Retrying {
    type Io = BoxStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    warn!(%error, "accept failed on the admin port");
                    self.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::clock::SystemClock;
    use crate::net::{Net, Tcp};

    #[tokio::test]
    async fn probes_and_metrics_answer_and_the_server_stops() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || metrics::counter!("test_total").increment(3));
        let listener = Tcp.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let reasons = Arc::new(Reasons(Mutex::new(vec!["the chain stands still".to_owned()])));
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(
            listener,
            recorder.handle(),
            reasons.clone(),
            Arc::new(SystemClock::new()),
            stop.clone(),
        ));

        assert!(get(&address, "/health").await.starts_with("HTTP/1.1 200"));
        assert!(get(&address, "/metrics").await.contains("test_total 3"));
        let unready = get(&address, "/ready").await;
        assert!(
            unready.starts_with("HTTP/1.1 503") && unready.contains("the chain stands still"),
            "{unready}"
        );
        reasons.0.lock().unwrap().clear();
        assert!(get(&address, "/ready").await.starts_with("HTTP/1.1 200"));
        assert!(get(&address, "/other").await.starts_with("HTTP/1.1 404"));

        stop.cancel();
        server.await.unwrap().unwrap();
    }

    #[derive(Debug)]
    struct Reasons(Mutex<Vec<String>>);

    impl Readiness for Reasons {
        fn ready(&self) -> Result<(), Vec<String>> {
            let reasons = self.0.lock().unwrap().clone();
            if reasons.is_empty() { Ok(()) } else { Err(reasons) }
        }
    }

    async fn get(address: &str, path: &str) -> String {
        let mut stream = Tcp.connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}
