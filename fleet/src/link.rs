//! A pile's connection: TLS 1.3 of the pile's pairing, both ends certified, in either binding (protocol §1).

use std::{fmt, path::Path, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use cip22_wire::Address;
use h2::{RecvStream, SendStream};
use http::{Method, Request, StatusCode};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls_shangmi::{Client, Error as TlsError, Options, Pairing, chain::PinnedRoot};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use crate::{
    error::FleetError,
    manifest::{Pile, hex_bytes},
    pki,
};

/// How frames travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Binding {
    /// On the TLS stream, ALPN `cip22/2`.
    #[default]
    Raw,
    /// `POST /session` on HTTP/2.
    H2,
}

/// Where the gateway is, and what certifies it.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// `HOST:PORT` to connect to.
    pub endpoint: String,
    /// DNS name in its certificate.
    pub dns: String,
    /// The root of the standard pairing.
    pub standard: Option<Arc<RootCertStore>>,
    /// The root of the ShangMi pairing.
    pub shangmi: Option<PinnedRoot>,
}

impl Gateway {
    /// A gateway under the roots in the folder `pki`: `root.pem`, `sm2-root.pem` or both.
    ///
    /// # Errors
    /// The files.
    pub fn new(endpoint: String, dns: String, pki: &Path) -> Result<Self, FleetError> {
        let root = |pairing| {
            let path = pki.join(pki::file_name(pairing, "root.pem"));
            path.exists().then(|| certificates(&path).map(|found| (path, found))).transpose()
        };
        let standard = root(Pairing::Standard)?.map(|(_, found)| {
            let mut roots = RootCertStore::empty();
            found.into_iter().try_for_each(|certificate| roots.add(certificate)).map_err(TlsError::from)?;
            Ok::<_, FleetError>(Arc::new(roots))
        });
        let shangmi = root(Pairing::ShangMi)?.map(|(path, found)| match &found[..] {
            [root] => PinnedRoot::from_der(root).map_err(|error| FleetError::Tls(TlsError::Root(error))),
            _ => Err(FleetError::content(path, "has to hold one certificate")),
        });
        Ok(Self { endpoint, dns, standard: standard.transpose()?, shangmi: shangmi.transpose()? })
    }
}

/// Connects one pile.
#[derive(Clone)]
pub struct Connector {
    gateway: Gateway,
    server_name: ServerName<'static>,
    client: Client,
    binding: Binding,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("gateway", &self.gateway.endpoint).finish_non_exhaustive()
    }
}

impl Connector {
    /// With the certificate of `pile`.
    ///
    /// # Errors
    /// Its files, or what is in them.
    pub fn new(gateway: &Gateway, pile: &Pile, binding: Binding) -> Result<Self, FleetError> {
        let chain = certificates(&pile.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&pile.certificate_key)
            .map_err(|error| FleetError::content(&pile.certificate_key, error))?;
        Self::with_certificate(gateway, pile.pairing, chain, key, binding)
    }

    /// With any certificate of a pairing.
    ///
    /// # Errors
    /// The certificate does not fit its key or the pairing, the pairing's root is not there, or the DNS name is none.
    pub fn with_certificate(
        gateway: &Gateway,
        pairing: Pairing,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        binding: Binding,
    ) -> Result<Self, FleetError> {
        let alpn = match binding {
            Binding::Raw => b"cip22/2".to_vec(),
            Binding::H2 => b"h2".to_vec(),
        };
        let options = Options { alpn_protocols: vec![alpn], ..Options::default() };
        let absent = || FleetError::Setting(format!("no root of the {pairing} pairing is known"));
        let client = match pairing {
            Pairing::Standard => {
                let roots = gateway.standard.as_deref().ok_or_else(absent)?.clone();
                Client::standard(roots, chain, key, &options)?
            }
            Pairing::ShangMi => {
                let root = gateway.shangmi.clone().ok_or_else(absent)?;
                Client::shangmi(root, chain, key, &options)?
            }
        };
        let server_name = ServerName::try_from(gateway.dns.clone())
            .map_err(|_| FleetError::Setting(format!("{:?} is no DNS name", gateway.dns)))?;
        Ok(Self { gateway: gateway.clone(), server_name, client, binding })
    }

    /// Connects, and reads the gateway's address from its certificate.
    ///
    /// # Errors
    /// No connection, parts of the other pairing in it, or a certificate that names no gateway. That the gateway refuses the pile's own shows only at the first read.
    pub async fn connect(&self) -> Result<Link, FleetError> {
        tokio::time::timeout(CONNECT_TIMEOUT, self.connect_unbounded()).await.map_err(|_| {
            FleetError::Protocol(format!("no connection within {} ms", CONNECT_TIMEOUT.as_millis()))
        })?
    }

    async fn connect_unbounded(&self) -> Result<Link, FleetError> {
        let tcp = TcpStream::connect(&self.gateway.endpoint).await?;
        tcp.set_nodelay(true)?;
        let connector = TlsConnector::from(self.client.config().clone());
        let tls = connector.connect(self.server_name.clone(), tcp).await?;
        let checked = self.client.check(tls.get_ref().1, &self.server_name)?;
        let certificate = checked.certificates().first();
        let gateway = gateway_address(
            certificate.ok_or_else(|| FleetError::CertificateName("the gateway showed none".to_owned()))?,
        )?;
        match self.binding {
            Binding::Raw => {
                let (reader, writer) = tokio::io::split(tls);
                Ok(Link {
                    gateway,
                    reader: Box::new(reader),
                    writer: Box::new(writer),
                    tasks: JoinSet::new(),
                })
            }
            Binding::H2 => open_http2(tls, &self.gateway.dns, gateway).await,
        }
    }
}

/// A connection. Dropping it closes it.
pub struct Link {
    /// Address in the gateway's certificate.
    pub gateway: Address,
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    tasks: JoinSet<()>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Link {
    /// Reads what is there into `buf`; 0 at the end. Can be cancelled without loss.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.reader.read(buf).await
    }

    /// Sends `bytes`.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.writer.write_all(bytes).await?;
        self.writer.flush().await
    }

    /// Says that nothing more follows.
    ///
    /// # Errors
    /// The connection broke before.
    pub async fn close(&mut self) -> std::io::Result<()> {
        self.writer.shutdown().await
    }

    /// The two directions apart; `JoinSet` carries the connection on and has to be kept.
    #[must_use]
    #[allow(
        clippy::type_complexity,
        reason = "reader, writer, and what keeps them going; named by its only caller"
    )]
    pub fn split(
        self,
    ) -> (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>, JoinSet<()>) {
        (self.reader, self.writer, self.tasks)
    }
}

async fn open_http2(tls: TlsStream<TcpStream>, dns: &str, gateway: Address) -> Result<Link, FleetError> {
    let (client, connection) = h2::client::handshake(tls).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // Its end shows as the end of both bodies.
        let _ = connection.await;
    });
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("https://{dns}/session"))
        .header(http::header::CONTENT_TYPE, "application/cip22")
        .body(())
        .map_err(|error| FleetError::Protocol(error.to_string()))?;
    let (response, request_body) = client.ready().await?.send_request(request, false)?;
    let (near, far) = tokio::io::duplex(BRIDGE_BYTES);
    let (far_reader, far_writer) = tokio::io::split(far);
    tasks.spawn(async move {
        let _ = send_body(far_reader, request_body).await;
    });
    let response = response.await?;
    if response.status() != StatusCode::OK {
        return Err(FleetError::Protocol(format!("POST /session: {}", response.status())));
    }
    tasks.spawn(async move {
        let _ = receive_body(response.into_body(), far_writer).await;
    });
    let (reader, writer) = tokio::io::split(near);
    Ok(Link { gateway, reader: Box::new(reader), writer: Box::new(writer), tasks })
}

async fn send_body(
    mut from: tokio::io::ReadHalf<DuplexStream>,
    mut to: SendStream<Bytes>,
) -> Result<(), FleetError> {
    let mut bytes = BytesMut::with_capacity(BRIDGE_BYTES);
    while from.read_buf(&mut bytes).await? > 0 {
        while !bytes.is_empty() {
            to.reserve_capacity(bytes.len());
            let Some(granted) = std::future::poll_fn(|context| to.poll_capacity(context)).await else {
                return Ok(());
            };
            let granted = granted?.min(bytes.len());
            to.send_data(bytes.split_to(granted).freeze(), false)?;
        }
        bytes.reserve(BRIDGE_BYTES);
    }
    to.send_data(Bytes::new(), true)?;
    Ok(())
}

async fn receive_body(
    mut from: RecvStream,
    mut to: tokio::io::WriteHalf<DuplexStream>,
) -> Result<(), FleetError> {
    while let Some(chunk) = from.data().await {
        let chunk = chunk?;
        let len = chunk.len();
        to.write_all(&chunk).await?;
        from.flow_control().release_capacity(len)?;
    }
    Ok(to.shutdown().await?)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FleetError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| FleetError::content(path, error))
}

/// The address in the one URI name of a gateway's certificate.
fn gateway_address(certificate: &CertificateDer<'_>) -> Result<Address, FleetError> {
    let wrong = |problem: &str| FleetError::CertificateName(problem.to_owned());
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| wrong("the gateway's does not parse"))?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| wrong("the gateway's names do not parse"))?
        .ok_or_else(|| wrong("the gateway's has no names"))?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(wrong("the gateway's has not exactly one URI"));
    };
    let digits = uri
        .strip_prefix("urn:cip22:gateway:0x")
        .filter(|digits| !digits.bytes().any(|byte| byte.is_ascii_uppercase()))
        .ok_or_else(|| wrong("the gateway's URI names no gateway"))?;
    hex_bytes(digits).map_err(|problem| FleetError::CertificateName(format!("the gateway's URI: {problem}")))
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const BRIDGE_BYTES: usize = 16 * 1024;
