//! SM2 signatures (GB/T 32918.2), by RustCrypto's `sm2`.
//!
//! ```
//! use shangmi::signature::{DEFAULT_ID, SigningKey, TLS_ID};
//!
//! let key = SigningKey::from_bytes(&[7; 32])?;
//! let signature = key.sign(DEFAULT_ID, b"message")?;
//! key.verifying_key().verify(DEFAULT_ID, b"message", &signature)?;
//! assert!(key.verifying_key().verify(TLS_ID, b"message", &signature).is_err());
//! # Ok::<(), shangmi::Error>(())
//! ```

use core::fmt;

use sm2::{
    PublicKey, SecretKey,
    dsa::{
        self,
        signature::{Signer, Verifier},
    },
    elliptic_curve::sec1::ToSec1Point,
    pkcs8::DecodePrivateKey,
};

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::Error;

/// The distinguishing id of certificates, and of whatever names no other (GM/T 0009).
pub const DEFAULT_ID: &str = "1234567812345678";
/// The distinguishing id of TLS 1.3's CertificateVerify (RFC 8998 §3.2.1).
pub const TLS_ID: &str = "TLSv1.3+GM+Cipher+Suite";
/// Longest DER signature, bytes.
pub const MAX_DER_LENGTH: usize = 72;

/// A signature: r ‖ s, 64 bytes, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature(dsa::Signature);

impl Signature {
    /// From r ‖ s.
    ///
    /// # Errors
    /// [`Error::InvalidSignature`] for numbers that are not of the group's order.
    pub fn from_bytes(bytes: &[u8; 64]) -> Result<Self, Error> {
        dsa::Signature::from_slice(bytes).map(Self).map_err(|_| Error::InvalidSignature)
    }

    /// From DER, as certificates and TLS carry it.
    ///
    /// # Errors
    /// [`Error::InvalidSignature`] for anything but the one encoding of a valid pair.
    pub fn from_der(bytes: &[u8]) -> Result<Self, Error> {
        dsa::Signature::from_der(bytes).map(Self).map_err(|_| Error::InvalidSignature)
    }

    /// r ‖ s.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 64] {
        self.0.to_bytes().into()
    }

    /// As DER.
    #[must_use]
    pub fn to_der(&self) -> DerSignature {
        DerSignature(self.0.to_der())
    }
}

/// A signature in DER, at most [`MAX_DER_LENGTH`] bytes.
#[derive(Clone, Debug)]
pub struct DerSignature(dsa::DerSignature);

impl AsRef<[u8]> for DerSignature {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

/// A private key. Wiped when dropped; signing takes the same time for every key.
#[derive(Clone)]
pub struct SigningKey(SecretKey);

impl SigningKey {
    /// From the number, 32 bytes, big-endian.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] for zero and for numbers not below the group's order less one.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, Error> {
        SecretKey::from_slice(bytes).map_err(|_| Error::InvalidKey).and_then(Self::checked)
    }

    /// From PKCS #8 in DER.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] for anything but a private key of curveSM2.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, Error> {
        SecretKey::from_pkcs8_der(der).map_err(|_| Error::InvalidKey).and_then(Self::checked)
    }

    /// The standard's range ends at n - 2, one before that of the crate underneath: 1 + d must have an inverse.
    fn checked(key: SecretKey) -> Result<Self, Error> {
        let mut bytes = key.to_bytes();
        let largest: bool = bytes.ct_eq(&ORDER_LESS_ONE.into()).into();
        bytes.zeroize();
        if largest { Err(Error::InvalidKey) } else { Ok(Self(key)) }
    }

    /// The public key.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.public_key())
    }

    /// Signs the message under a distinguishing id. The nonce is derived from key and message (RFC 6979).
    ///
    /// # Errors
    /// [`Error::TooLong`] for an id beyond 8191 bytes.
    pub fn sign(&self, id: &str, message: &[u8]) -> Result<Signature, Error> {
        let key = dsa::SigningKey::new(id, &self.0).map_err(|_| Error::TooLong)?;
        key.try_sign(message).map(Signature).map_err(|_| Error::InvalidKey)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

/// A public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyingKey(PublicKey);

impl VerifyingKey {
    /// From SEC 1, 33 or 65 bytes.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] for anything but a point of the curve.
    pub fn from_sec1_bytes(bytes: &[u8]) -> Result<Self, Error> {
        PublicKey::from_sec1_bytes(bytes).map(Self).map_err(|_| Error::InvalidKey)
    }

    /// As SEC 1, uncompressed.
    #[must_use]
    pub fn to_sec1_bytes(&self) -> [u8; 65] {
        let point = self.0.to_sec1_point(false);
        let mut bytes = [0; 65];
        for (place, byte) in bytes.iter_mut().zip(point.as_bytes()) {
            *place = *byte;
        }
        bytes
    }

    /// Checks a signature.
    ///
    /// # Errors
    /// [`Error::InvalidSignature`].
    pub fn verify(&self, id: &str, message: &[u8], signature: &Signature) -> Result<(), Error> {
        let key = dsa::VerifyingKey::new(id, self.0).map_err(|_| Error::InvalidSignature)?;
        key.verify(message, &signature.0).map_err(|_| Error::InvalidSignature)
    }
}

/// n - 1, of the group's order n.
const ORDER_LESS_ONE: [u8; 32] = [
    0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x72,
    0x03, 0xdf, 0x6b, 0x21, 0xc6, 0x05, 0x2b, 0x53, 0xbb, 0xf4, 0x09, 0x39, 0xd5, 0x41, 0x22,
];
