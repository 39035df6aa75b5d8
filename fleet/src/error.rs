use std::{io, path::PathBuf};

/// Why the fleet could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The field and what is wrong with it.
        problem: String,
    },
    /// A certificate could not be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// An SM2 certificate could not be made.
    #[error("certificate: {0}")]
    Builder(#[from] x509_cert::builder::Error),
    /// A part of an SM2 certificate could not be encoded.
    #[error("certificate: {0}")]
    Encoding(#[from] x509_cert::der::Error),
    /// An SM2 key could not be encoded.
    #[error("certificate key: {0}")]
    Key(sm2::pkcs8::Error),
    /// A certificate is not what it should be.
    #[error("certificate: {0}")]
    CertificateName(String),
    /// The connection failed.
    #[error("connection: {0}")]
    Connection(#[from] io::Error),
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls_shangmi::Error),
    /// HTTP/2 failed.
    #[error("HTTP/2: {0}")]
    Http2(#[from] h2::Error),
    /// The session refused.
    #[error("session: {0}")]
    Session(#[from] cip22_device_sdk::Error),
    /// The peer did something else than the protocol says.
    #[error("{0}")]
    Protocol(String),
    /// The system's random source failed.
    #[error("entropy: {0}")]
    Entropy(getrandom::Error),
    /// The chain's endpoint did not answer as it should.
    #[error("{method}: {problem}")]
    Chain {
        /// The JSON-RPC method.
        method: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A setting is outside its bounds.
    #[error("{0}")]
    Setting(String),
    /// An expectation that decides the exit code was not met.
    #[error("{0}")]
    Unmet(String),
}

impl FleetError {
    /// A file could not be read or written.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// A file holds something else than it should.
    pub fn content(path: impl Into<PathBuf>, problem: impl ToString) -> Self {
        Self::Content { path: path.into(), problem: problem.to_string() }
    }
}

impl From<getrandom::Error> for FleetError {
    fn from(error: getrandom::Error) -> Self {
        Self::Entropy(error)
    }
}
