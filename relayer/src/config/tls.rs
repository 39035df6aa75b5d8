//! `[tls]`: which pairings are served, and what certifies the gateway in each of them.

use std::path::{Path, PathBuf};

use rustls_shangmi::Pairing;
use serde::{Deserialize, Serialize};

use super::Config;

/// `[tls]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Which pairings piles may connect with.
    pub mode: TlsMode,
    /// What certifies the gateway in the ShangMi pairing.
    pub shangmi: ShangMiConfig,
}

/// Which pairings piles may connect with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// The suites of RFC 8446, with P-256 certificates.
    #[default]
    Standard,
    /// RFC 8998, with SM2 certificates.
    ShangMi,
    /// Either, never mixed.
    Both,
}

/// `[tls.shangmi]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShangMiConfig {
    /// PEM file of the gateway's certificate chain: leaf, then CA.
    pub certificate: PathBuf,
    /// PEM file of the certificate's SM2 key, PKCS #8.
    pub certificate_key: PathBuf,
    /// PEM file of the one root that device certificates chain to.
    pub root: PathBuf,
}

impl Default for ShangMiConfig {
    fn default() -> Self {
        Self {
            certificate: "pki/sm2-gateway.pem".into(),
            certificate_key: "pki/sm2-gateway.key".into(),
            root: "pki/sm2-root.pem".into(),
        }
    }
}

impl TlsMode {
    /// The pairings, the one preferred first.
    pub fn pairings(self) -> &'static [Pairing] {
        match self {
            Self::Standard => &[Pairing::Standard],
            Self::ShangMi => &[Pairing::ShangMi],
            Self::Both => &Pairing::ALL,
        }
    }
}

/// A file and the key that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsFile<'a> {
    /// Key of the configuration.
    pub key: &'static str,
    /// Path.
    pub path: &'a Path,
}

/// What certifies the gateway in one pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsFiles<'a> {
    /// Certificate chain, leaf first.
    pub certificate: TlsFile<'a>,
    /// The certificate's key.
    pub certificate_key: TlsFile<'a>,
    /// Root of the piles' certificates.
    pub root: TlsFile<'a>,
}

impl Config {
    /// The files of a pairing.
    pub fn tls_files(&self, pairing: Pairing) -> TlsFiles<'_> {
        let ((certificate, certificate_key, root), keys) = match pairing {
            Pairing::Standard => {
                let gateway = &self.gateway;
                ((&gateway.certificate, &gateway.certificate_key, &gateway.root), STANDARD_KEYS)
            }
            Pairing::ShangMi => {
                let shangmi = &self.tls.shangmi;
                ((&shangmi.certificate, &shangmi.certificate_key, &shangmi.root), SHANGMI_KEYS)
            }
        };
        TlsFiles {
            certificate: TlsFile { key: keys[0], path: certificate },
            certificate_key: TlsFile { key: keys[1], path: certificate_key },
            root: TlsFile { key: keys[2], path: root },
        }
    }
}

const STANDARD_KEYS: [&str; 3] = ["gateway.certificate", "gateway.certificate_key", "gateway.root"];
const SHANGMI_KEYS: [&str; 3] =
    ["tls.shangmi.certificate", "tls.shangmi.certificate_key", "tls.shangmi.root"];
