//! Chains of SM2 certificates: device ← CA ← pinned root, by `rustls-webpki`.
//!
//! A chain holds when both signatures do (sm2sign-with-sm3 under [`DEFAULT_ID`]), the root is the pinned one, device and CA
//! are valid at the time asked about, the CA has the CA bit and may sign certificates, the device may sign, its purpose is
//! the one asked for, and it carries the name asked for.
//!
//! ```no_run
//! use core::time::Duration;
//! use shangmi::chain::{Name, Purpose, Root, UnixTime};
//!
//! # let (root_der, device_der, ca_der) = (vec![], vec![], vec![]);
//! let root = Root::from_der(&root_der)?;
//! let key = root.verify(
//!     &device_der,
//!     &[&ca_der],
//!     UnixTime::since_unix_epoch(Duration::from_secs(1_790_000_000)),
//!     Purpose::Client,
//!     Name::Uri("urn:cip22:device:00"),
//! )?;
//! # Ok::<(), shangmi::chain::ChainError>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

pub use pki_types::UnixTime;
use pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, ServerName, SignatureVerificationAlgorithm,
    TrustAnchor,
};
use webpki::{EndEntityCert, KeyUsage};

use crate::signature::{DEFAULT_ID, Signature, VerifyingKey};

mod key_usage;

/// Algorithm identifier of keys: id-ecPublicKey with curveSM2, the contents of the SEQUENCE.
pub const PUBLIC_KEY_ALGORITHM: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(
    b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x81\x1c\xcf\x55\x01\x82\x2d",
);
/// Algorithm identifier of signatures: sm2sign-with-sm3 without parameters, the contents of the SEQUENCE.
pub const SIGNATURE_ALGORITHM: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(b"\x06\x08\x2a\x81\x1c\xcf\x55\x01\x83\x75");
/// The same with NULL parameters, as some CAs write it.
pub const SIGNATURE_ALGORITHM_NULL: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(b"\x06\x08\x2a\x81\x1c\xcf\x55\x01\x83\x75\x05\x00");

/// SM2 with SM3 under one distinguishing id, for `rustls-webpki`.
#[derive(Clone, Copy, Debug)]
pub struct Sm2WithSm3 {
    id: &'static str,
    signature_algorithm: AlgorithmIdentifier,
}

impl Sm2WithSm3 {
    /// Of certificates.
    pub const CERTIFICATE: Self = Self { id: DEFAULT_ID, signature_algorithm: SIGNATURE_ALGORITHM };
    /// Of certificates whose signature algorithm has NULL parameters.
    pub const CERTIFICATE_NULL: Self = Self { id: DEFAULT_ID, signature_algorithm: SIGNATURE_ALGORITHM_NULL };

    /// Under another id, as [`crate::signature::TLS_ID`].
    #[must_use]
    pub const fn with_id(id: &'static str) -> Self {
        Self { id, signature_algorithm: SIGNATURE_ALGORITHM }
    }
}

impl SignatureVerificationAlgorithm for Sm2WithSm3 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let verify = || {
            let key = VerifyingKey::from_sec1_bytes(public_key)?;
            key.verify(self.id, message, &Signature::from_der(signature)?)
        };
        verify().map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        PUBLIC_KEY_ALGORITHM
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature_algorithm
    }
}

/// What the certificate is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The client of a TLS connection, as a device is.
    Client,
    /// The server of one.
    Server,
}

/// The name the certificate must carry as a subject alternative name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// A DNS name or an IP address.
    Host(&'a str),
    /// A URI, byte for byte; the certificate's only one.
    Uri(&'a str),
}

/// Why a chain was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainError {
    /// What `rustls-webpki` found: a signature, validity, the CA bit, purpose, a name, encoding, or no way to the root.
    Certificate(webpki::Error),
    /// The certificate carries other names than the one asked for.
    Name,
    /// The certificate's key usage does not allow signatures.
    DeviceKeyUsage,
    /// The CA's key usage does not allow certificates.
    CaKeyUsage,
    /// A CA besides the root is missing: the device's certificate must come from a CA, not from the root.
    NoCa,
    /// A key that is no point of curveSM2.
    Key,
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(error) => write!(f, "the chain does not hold: {error}"),
            Self::Name => f.write_str("the certificate carries another name"),
            Self::DeviceKeyUsage => f.write_str("the certificate's key may not sign"),
            Self::CaKeyUsage => f.write_str("the CA's key may not sign certificates"),
            Self::NoCa => f.write_str("no CA between the certificate and the root"),
            Self::Key => f.write_str("the certificate's key is no point of curveSM2"),
        }
    }
}

impl core::error::Error for ChainError {}

impl From<webpki::Error> for ChainError {
    fn from(error: webpki::Error) -> Self {
        Self::Certificate(error)
    }
}

/// A pinned root.
#[derive(Clone, Debug)]
pub struct Root(TrustAnchor<'static>);

impl Root {
    /// Pins the name and key of a root certificate in DER. Its signature and validity are the caller's trust.
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub fn from_der(der: &[u8]) -> Result<Self, ChainError> {
        let certificate = CertificateDer::from(der);
        Ok(Self(webpki::anchor_from_trusted_cert(&certificate)?.to_owned()))
    }

    /// Checks `device` ← `authorities` ← root, and returns the device's key.
    ///
    /// # Errors
    /// The first thing found amiss.
    pub fn verify(
        &self,
        device: &[u8],
        authorities: &[&[u8]],
        time: UnixTime,
        purpose: Purpose,
        name: Name<'_>,
    ) -> Result<VerifyingKey, ChainError> {
        let device = CertificateDer::from(device);
        let authorities: Vec<CertificateDer<'_>> =
            authorities.iter().map(|der| CertificateDer::from(*der)).collect();
        let certificate = EndEntityCert::try_from(&device)?;
        let usage = match purpose {
            Purpose::Client => KeyUsage::client_auth(),
            Purpose::Server => KeyUsage::server_auth(),
        };
        let anchors = [self.0.clone()];
        let path = certificate.verify_for_usage(
            &[&Sm2WithSm3::CERTIFICATE, &Sm2WithSm3::CERTIFICATE_NULL],
            &anchors,
            &authorities,
            time,
            usage,
            None,
            None,
        )?;
        // webpki leaves the extension KeyUsage alone.
        if !key_usage::allows(&device, key_usage::DIGITAL_SIGNATURE) {
            return Err(ChainError::DeviceKeyUsage);
        }
        let mut on_path = path.intermediate_certificates().peekable();
        if on_path.peek().is_none() {
            return Err(ChainError::NoCa);
        }
        if !on_path.all(|ca| key_usage::allows(&ca.der(), key_usage::CERTIFICATE_SIGNATURE)) {
            return Err(ChainError::CaKeyUsage);
        }
        check_name(&certificate, name)?;
        key_usage::public_key(&certificate.subject_public_key_info())
            .and_then(|key| VerifyingKey::from_sec1_bytes(key).ok())
            .ok_or(ChainError::Key)
    }
}

fn check_name(certificate: &EndEntityCert<'_>, name: Name<'_>) -> Result<(), ChainError> {
    match name {
        Name::Host(host) => {
            let host = ServerName::try_from(host).map_err(|_| ChainError::Name)?;
            certificate.verify_is_valid_for_subject_name(&host).map_err(|_| ChainError::Name)
        }
        Name::Uri(uri) => {
            let mut uris = certificate.valid_uri_names();
            match (uris.next(), uris.next()) {
                (Some(only), None) if only == uri => Ok(()),
                _ => Err(ChainError::Name),
            }
        }
    }
}
