//! TLS 1.3 with certificates on both ends (protocol §1): of one pairing throughout, no earlier version, no early data, no
//! resumption.

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use rustls_shangmi::chain::PinnedRoot;
use rustls_shangmi::server::Configuration;
use rustls_shangmi::{Client, Options, Pairing, Server};
use zeroize::Zeroizing;

use crate::config::{Config, ConfigError, TlsFile, TlsFiles, check_private};
use crate::disk::Disk;
use crate::error::Fault;

/// ALPN name of frames on the TLS stream.
pub const ALPN_RAW: &[u8] = b"cip22/2";
/// ALPN name of HTTP/2.
pub const ALPN_HTTP2: &[u8] = b"h2";

/// Why no TLS configuration came about. Each names the key of the configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read, or a key file is not private.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// A file is not PEM with what it should hold.
    #[error("{key} does not hold a usable PEM section")]
    Pem {
        /// Key of the configuration.
        key: &'static str,
        /// Cause.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The root certificates cannot be used.
    #[error("{key} does not hold a usable root certificate")]
    Root {
        /// Key of the configuration.
        key: &'static str,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The root of the ShangMi pairing is pinned: there is one.
    #[error("{key} holds {count} certificates; the root is pinned, there has to be one")]
    Roots {
        /// Key of the configuration.
        key: &'static str,
        /// How many there are.
        count: usize,
    },
    /// Certificate and key do not belong together or are not of the pairing.
    #[error("{key} and its certificate cannot be used together in the {pairing} pairing")]
    Pair {
        /// Key of the configuration.
        key: &'static str,
        /// Pairing.
        pairing: Pairing,
        /// Cause.
        #[source]
        source: rustls_shangmi::Error,
    },
    /// The pairings do not make a server.
    #[error("the pairings cannot be served")]
    Pairings(#[source] rustls_shangmi::Error),
}

impl TlsError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        Fault::Operator
    }
}

/// Certificates and key of one pairing, parsed.
#[derive(Debug)]
pub struct Credentials {
    /// The pairing that they are for.
    pub pairing: Pairing,
    /// Roots that the other end chains to.
    pub roots: Vec<CertificateDer<'static>>,
    /// Our chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Our key. Its Debug shows no secret.
    pub key: PrivateKeyDer<'static>,
    /// Keys of the configuration that name the files: root, certificate key.
    named: [&'static str; 2],
}

impl Credentials {
    /// Reads the gateway's files for a pairing.
    pub fn load(disk: &dyn Disk, config: &Config, pairing: Pairing) -> Result<Self, TlsError> {
        let files = config.tls_files(pairing);
        check_private(disk, files.certificate_key.key, files.certificate_key.path, config.dev)?;
        let read = |file: TlsFile<'_>| {
            disk.read(file.path).map_err(|source| ConfigError::Read {
                what: file.key,
                path: file.path.to_owned(),
                source,
            })
        };
        let root = read(files.root)?;
        let certificate = read(files.certificate)?;
        let key = Zeroizing::new(read(files.certificate_key)?);
        Self::parse(pairing, files, [&root, &certificate, &key])
    }

    /// Parses the PEM texts of root, certificate chain and key.
    pub fn from_pem(pairing: Pairing, root: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::parse(pairing, Config::default().tls_files(pairing), [root, certificate, key])
    }

    fn parse(
        pairing: Pairing,
        files: TlsFiles<'_>,
        [root, certificate, key]: [&[u8]; 3],
    ) -> Result<Self, TlsError> {
        let roots = certificates(files.root.key, root)?;
        if pairing == Pairing::ShangMi && roots.len() != 1 {
            return Err(TlsError::Roots { key: files.root.key, count: roots.len() });
        }
        Ok(Self {
            pairing,
            roots,
            chain: certificates(files.certificate.key, certificate)?,
            key: PrivateKeyDer::from_pem_slice(key)
                .map_err(|source| TlsError::Pem { key: files.certificate_key.key, source })?,
            named: [files.root.key, files.certificate_key.key],
        })
    }

    /// The gateway's side in this pairing: clients show a certificate of our root; ALPN chooses the binding.
    pub fn configuration(self) -> Result<Configuration, TlsError> {
        let options = options([ALPN_RAW, ALPN_HTTP2]);
        let (pairing, named) = (self.pairing, self.named);
        match pairing {
            Pairing::ShangMi => Configuration::shangmi(self.pinned_root()?, self.chain, self.key, &options),
            Pairing::Standard => Configuration::standard(self.root_store()?, self.chain, self.key, &options),
        }
        .map_err(|source| refused(named, pairing, source))
    }

    /// A pile's side: trusts the roots alone, shows the certificate, offers `alpn` or nothing.
    pub fn client(self, alpn: Option<&[u8]>) -> Result<Client, TlsError> {
        let options = options(alpn);
        let (pairing, named) = (self.pairing, self.named);
        match pairing {
            Pairing::ShangMi => Client::shangmi(self.pinned_root()?, self.chain, self.key, &options),
            Pairing::Standard => Client::standard(self.root_store()?, self.chain, self.key, &options),
        }
        .map_err(|source| refused(named, pairing, source))
    }

    /// The one root of the ShangMi pairing.
    pub fn pinned_root(&self) -> Result<PinnedRoot, TlsError> {
        let [key, _] = self.named;
        let [root] = &self.roots[..] else { return Err(TlsError::Roots { key, count: self.roots.len() }) };
        PinnedRoot::from_der(root).map_err(|error| TlsError::Root { key, source: Box::new(error) })
    }

    /// The roots of the standard pairing.
    pub fn root_store(&self) -> Result<RootCertStore, TlsError> {
        let [key, _] = self.named;
        let mut store = RootCertStore::empty();
        for root in &self.roots {
            let added = store.add(root.clone());
            added.map_err(|error| TlsError::Root { key, source: Box::new(error) })?;
        }
        Ok(store)
    }
}

/// The gateway's side in every pairing of `tls.mode`.
pub fn server(disk: &dyn Disk, config: &Config) -> Result<Server, TlsError> {
    let mut configurations = Vec::new();
    for pairing in config.tls.mode.pairings() {
        configurations.push(Credentials::load(disk, config, *pairing)?.configuration()?);
    }
    Server::new(configurations).map_err(TlsError::Pairings)
}

/// Name of a pairing in spans and metrics.
pub fn label(pairing: Pairing) -> &'static str {
    match pairing {
        Pairing::Standard => "standard",
        Pairing::ShangMi => "shangmi",
    }
}

/// Without sessions nothing is resumed: a resumed session would carry on without its certificate being shown.
fn options<'a>(alpn: impl IntoIterator<Item = &'a [u8]>) -> Options {
    Options {
        sessions: 0,
        alpn_protocols: alpn.into_iter().map(<[u8]>::to_vec).collect(),
        ..Options::default()
    }
}

fn refused(
    [root, certificate_key]: [&'static str; 2],
    pairing: Pairing,
    source: rustls_shangmi::Error,
) -> TlsError {
    match source {
        rustls_shangmi::Error::Root(_) | rustls_shangmi::Error::Roots(_) => {
            TlsError::Root { key: root, source: Box::new(source) }
        }
        source => TlsError::Pair { key: certificate_key, pairing, source },
    }
}

fn certificates(key: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(TlsError::Pem { key, source: rustls_pki_types::pem::Error::NoItemsFound })
        }
        Ok(found) => Ok(found),
        Err(source) => Err(TlsError::Pem { key, source }),
    }
}
