//! TLS 1.3 with certificates on both ends (protocol §1): no earlier version, no early data, no resumption.

use std::path::Path;
use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Config, ConfigError, check_private};
use crate::disk::Disk;
use crate::error::Fault;

/// ALPN name of frames on the TLS stream.
pub const ALPN_RAW: &[u8] = b"cip22/2";
/// ALPN name of HTTP/2.
pub const ALPN_HTTP2: &[u8] = b"h2";

/// Why no TLS configuration came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read, or a key file is not private.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// A file is not PEM with what it should hold.
    #[error("{what} does not hold a usable PEM section")]
    Pem {
        /// Which file.
        what: &'static str,
        /// Cause.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The root certificates cannot be used.
    #[error("the root certificates cannot be used")]
    Root(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Certificate and key do not belong together or are not supported.
    #[error("certificate and key cannot be used together")]
    Pair(#[source] rustls::Error),
}

impl TlsError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        Fault::Operator
    }
}

/// Certificates and key, parsed.
#[derive(Debug)]
pub struct Credentials {
    /// Roots that the other end chains to.
    pub roots: Vec<CertificateDer<'static>>,
    /// Our chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Our key. Its Debug shows no secret.
    pub key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// Parses PEM texts.
    pub fn from_pem(root: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self {
            roots: certificates("root", root)?,
            chain: certificates("certificate", certificate)?,
            key: PrivateKeyDer::from_pem_slice(key)
                .map_err(|source| TlsError::Pem { what: "certificate_key", source })?,
        })
    }

    /// Reads the gateway's files.
    pub fn load(disk: &dyn Disk, config: &Config) -> Result<Self, TlsError> {
        let gateway = &config.gateway;
        check_private(disk, "gateway.certificate_key", &gateway.certificate_key, config.dev)?;
        let read = |what: &'static str, path: &Path| {
            disk.read(path).map_err(|source| ConfigError::Read { what, path: path.to_owned(), source })
        };
        Self::from_pem(
            &read("gateway.root", &gateway.root)?,
            &read("gateway.certificate", &gateway.certificate)?,
            &zeroize::Zeroizing::new(read("gateway.certificate_key", &gateway.certificate_key)?),
        )
    }
}

/// The gateway's side: clients show a certificate of our root; ALPN chooses the binding.
pub fn server_config(credentials: Credentials) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(root_store(credentials.roots)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|error| TlsError::Root(Box::new(error)))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Pair)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(credentials.chain, credentials.key)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![ALPN_RAW.to_vec(), ALPN_HTTP2.to_vec()];
    // A resumed session would carry on without the certificate being checked again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// A pile's side: trusts `root` (PEM) alone, shows `certificate` with `key` (PEM), offers `alpn` or nothing.
pub fn client_config(
    root: &[u8],
    certificate: &[u8],
    key: &[u8],
    alpn: Option<&[u8]>,
) -> Result<ClientConfig, TlsError> {
    let credentials = Credentials::from_pem(root, certificate, key)?;
    let mut config = client_builder(credentials.roots)?
        .with_client_auth_cert(credentials.chain, credentials.key)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = alpn.into_iter().map(<[u8]>::to_vec).collect();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn client_builder(
    roots: Vec<CertificateDer<'static>>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, TlsError> {
    Ok(ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Pair)?
        .with_root_certificates(root_store(roots)?))
}

/// The cause of a failed handshake, as a label for metrics.
pub fn cause(error: &std::io::Error) -> &'static str {
    use rustls::Error as Tls;
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) else {
        return "disconnected";
    };
    match tls {
        Tls::NoCertificatesPresented => "no_certificate",
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => "unknown_issuer",
        Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "expired"
        }
        Tls::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "not_valid_yet",
        Tls::InvalidCertificate(_) => "bad_certificate",
        Tls::PeerIncompatible(_) => "incompatible",
        Tls::NoApplicationProtocol => "no_application_protocol",
        Tls::AlertReceived(_) => "alert",
        _ => "protocol",
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(TlsError::Pem { what, source: rustls_pki_types::pem::Error::NoItemsFound })
        }
        Ok(found) => Ok(found),
        Err(source) => Err(TlsError::Pem { what, source }),
    }
}

fn root_store(roots: Vec<CertificateDer<'static>>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root).map_err(|error| TlsError::Root(Box::new(error)))?;
    }
    Ok(store)
}
