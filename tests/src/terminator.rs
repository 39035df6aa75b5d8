//! What a site may have between its piles and the gateway: it ends TLS on both sides with certificates that both ends believe, sees every
//! frame, and does with them what a scenario says.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cip22_wire::frame;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::pile::{Pile, tls_stream};

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Towards {
    /// To the pile.
    Pile,
    /// To the gateway.
    Gateway,
}

/// A frame that passed, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Which way.
    pub towards: Towards,
    /// Its type.
    pub frame_type: u8,
    /// Its payload.
    pub payload: Vec<u8>,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// What becomes of a frame: the whole frames that go on in its place.
pub type Rule = Box<dyn FnMut(&Passed) -> Vec<Vec<u8>> + Send>;

/// A running terminator for one pile. It ends with this value.
pub struct Terminator {
    /// Where the pile connects.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    rule: Mutex<Rule>,
    passed: watch::Sender<Vec<Passed>>,
}

impl Terminator {
    /// Stands between `pile` and `gateway`, with the gateway's certificate of `fleet` on one side and the pile's own on the other. Every
    /// frame goes on as it came.
    #[allow(clippy::disallowed_methods, reason = "scenarios work on real sockets")]
    pub async fn start(pile: &Pile, fleet: &Path, gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let acceptor = TlsAcceptor::from(Arc::new(server_config(fleet)));
        let client = pile.tls(b"cip22/2");
        let shared = Arc::new(Shared {
            rule: Mutex::new(Box::new(|passed| vec![passed.bytes.clone()])),
            passed: watch::channel(Vec::new()).0,
        });
        let of_task = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, client, shared) = (acceptor.clone(), client.clone(), of_task.clone());
                tokio::spawn(async move {
                    // A connection that fails is the pile's to try again.
                    let _ = relay(stream, acceptor, client, gateway, &shared).await;
                });
            }
        });
        Self { address, shared, task }
    }

    /// From now on frames go this way.
    pub fn set(&self, rule: impl FnMut(&Passed) -> Vec<Vec<u8>> + Send + 'static) {
        *self.shared.rule.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(rule);
    }

    /// All frames so far, as they came.
    pub fn passed(&self) -> Vec<Passed> {
        self.shared.passed.borrow().clone()
    }

    /// Waits until what has passed is as awaited; returns it.
    pub async fn wait_for(&self, awaited: impl Fn(&[Passed]) -> bool) -> Vec<Passed> {
        let mut passed = self.shared.passed.subscribe();
        passed.wait_for(|passed| awaited(passed)).await.expect("the terminator runs").clone()
    }
}

impl std::fmt::Debug for Terminator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminator").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    client: rustls::ClientConfig,
    gateway: SocketAddr,
    shared: &Shared,
) -> std::io::Result<()> {
    let (pile_reader, pile_writer) = tokio::io::split(acceptor.accept(stream).await?);
    let (gateway_reader, gateway_writer) = tokio::io::split(tls_stream(gateway, client).await?);
    // When one way has ended, both have.
    tokio::select! {
        ended = pump(Towards::Gateway, pile_reader, gateway_writer, shared) => ended,
        ended = pump(Towards::Pile, gateway_reader, pile_writer, shared) => ended,
    }
}

async fn pump(
    towards: Towards,
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut inbox = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = reader.read(&mut buffer).await?;
        if count == 0 {
            return writer.shutdown().await;
        }
        inbox.extend_from_slice(&buffer[..count]);
        while let Some(parsed) = frame::parse(&inbox, u16::MAX).expect("both ends speak the protocol") {
            let (frame_type, payload) = (parsed.frame_type, parsed.payload.to_vec());
            let bytes: Vec<u8> = inbox.drain(..parsed.consumed).collect();
            let passed = Passed { towards, frame_type, payload, bytes };
            let onward = {
                let mut rule = shared.rule.lock().unwrap_or_else(PoisonError::into_inner);
                rule(&passed)
            };
            shared.passed.send_modify(|all| all.push(passed));
            for bytes in onward {
                writer.write_all(&bytes).await?;
            }
        }
        writer.flush().await?;
    }
}

fn server_config(fleet: &Path) -> rustls::ServerConfig {
    let chain = CertificateDer::pem_file_iter(fleet.join("pki/gateway.pem"))
        .expect("certificate file")
        .collect::<Result<Vec<_>, _>>()
        .expect("certificates");
    let key = PrivateKeyDer::from_pem_file(fleet.join("pki/gateway.key")).expect("certificate key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a usable certificate");
    config.alpn_protocols = vec![b"cip22/2".to_vec()];
    config
}
