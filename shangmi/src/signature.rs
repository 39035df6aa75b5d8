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
    FieldBytes, ProjectivePoint, PublicKey, Scalar, SecretKey,
    dsa::{self, signature::Verifier},
    elliptic_curve::{Group, ff::PrimeField, ops::Reduce, point::AffineCoordinates, sec1::ToSec1Point},
    pkcs8::DecodePrivateKey,
};
use sm3::{Digest, Sm3};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{Error, declassify::declassify, kdf};

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
pub struct SigningKey {
    scalar: Scalar,
    public: PublicKey,
}

impl SigningKey {
    /// From the number, 32 bytes, big-endian.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] for zero and for numbers not below the group's order less one.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, Error> {
        let mut number = FieldBytes::from(*bytes);
        let scalar = Scalar::from_repr(number);
        number.zeroize();
        // The range ends at n - 2: 1 + d must have an inverse.
        let valid = scalar.is_some() & !bytes.ct_eq(&ORDER_LESS_ONE);
        let mut scalar = scalar.unwrap_or(Scalar::ZERO);
        let valid = valid & !scalar.is_zero();
        if !bool::from(declassify(valid, "whether a number is a private key: the caller is told")) {
            scalar.zeroize();
            return Err(Error::InvalidKey);
        }
        let point = ProjectivePoint::mul_by_generator(&scalar).to_affine();
        let point = declassify(point, "the point of a private key: it is the public key");
        let public = PublicKey::from_affine(point).map_err(|_| Error::InvalidKey)?;
        Ok(Self { scalar, public })
    }

    /// From PKCS #8 in DER.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] for anything but a private key of curveSM2.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, Error> {
        let key = SecretKey::from_pkcs8_der(der).map_err(|_| Error::InvalidKey)?;
        Self::from_bytes(&Zeroizing::new(key.to_bytes().into()))
    }

    /// The public key.
    #[must_use]
    pub const fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.public)
    }

    /// Signs the message under a distinguishing id. The nonce is derived from key and message (RFC 6979).
    ///
    /// # Errors
    /// [`Error::TooLong`] for an id beyond 8191 bytes.
    pub fn sign(&self, id: &str, message: &[u8]) -> Result<Signature, Error> {
        let e = Scalar::reduce(&self.verifying_key().digest(id, message)?);
        let mut nonces = Nonces::new(&self.scalar, &e);
        loop {
            if let Some(signature) = nonces.candidate().and_then(|k| self.sign_with(&k, &e)) {
                return Ok(signature);
            }
        }
    }

    /// Steps A4 to A7 of GB/T 32918.2 with the nonce `k`; none for the one in 2²⁵⁶ that the standard throws away. The crate
    /// underneath has the same, but nothing in it says which of its branches are on public values.
    #[allow(clippy::arithmetic_side_effects)] // modulo n, where nothing overflows
    fn sign_with(&self, k: &Scalar, e: &Scalar) -> Option<Signature> {
        let x = ProjectivePoint::mul_by_generator(k).to_affine().x();
        let r = declassify(*e + Scalar::reduce(&x), "r: it is half of the signature");
        let unfit = (r + *k).is_zero();
        if bool::from(declassify(unfit, "whether r + k is zero: such a nonce is thrown away")) {
            return None;
        }
        // The key is not n - 1, so that there is an inverse.
        let mut inverse = (self.scalar + Scalar::ONE).invert().unwrap_or(Scalar::ZERO);
        let s = declassify(inverse * (*k - r * self.scalar), "s: it is half of the signature");
        inverse.zeroize();
        dsa::Signature::from_scalars(r, s).map(Signature).ok()
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.scalar.zeroize();
    }
}

impl ZeroizeOnDrop for SigningKey {}

/// The nonces of one signature: HMAC-DRBG over SM3 (RFC 6979 §3.2), whose first number in range is taken.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Nonces {
    key: [u8; 32],
    value: [u8; 32],
}

impl Nonces {
    fn new(scalar: &Scalar, e: &Scalar) -> Self {
        let mut nonces = Self { key: [0; 32], value: [1; 32] };
        let mut seed = Zeroizing::new([0; 64]);
        for (place, byte) in seed.iter_mut().zip(scalar.to_repr().iter().chain(&e.to_repr())) {
            *place = *byte;
        }
        nonces.update(0, seed.as_slice());
        nonces.update(1, seed.as_slice());
        nonces
    }

    /// The next number; none when it is zero or not below the group's order.
    fn candidate(&mut self) -> Option<Zeroizing<Scalar>> {
        self.value = kdf::hmac_sm3(&self.key, &[&self.value]);
        let scalar = Scalar::from_repr(self.value.into());
        let in_range = scalar.is_some();
        let scalar = Zeroizing::new(scalar.unwrap_or(Scalar::ZERO));
        let in_range = in_range & !scalar.is_zero();
        // Another is taken, which this one's fate says nothing of.
        if bool::from(declassify(
            in_range,
            "whether a candidate for the nonce is in range: the others are thrown away",
        )) {
            return Some(scalar);
        }
        self.update(0, &[]);
        None
    }

    fn update(&mut self, round: u8, seed: &[u8]) {
        self.key = kdf::hmac_sm3(&self.key, &[&self.value, &[round], seed]);
        self.value = kdf::hmac_sm3(&self.key, &[&self.value]);
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

    /// The hash that is signed: SM3 of Z, the hash of id, curve and key, and of the message (GB/T 32918.2 §5.5).
    fn digest(&self, id: &str, message: &[u8]) -> Result<FieldBytes, Error> {
        let bits = id.len().checked_mul(8).and_then(|bits| u16::try_from(bits).ok()).ok_or(Error::TooLong)?;
        let mut z = Sm3::new_with_prefix(bits.to_be_bytes());
        z.update(id);
        z.update(CURVE.as_flattened());
        z.update(self.to_sec1_bytes().get(1..).unwrap_or_default());
        Ok(Sm3::new_with_prefix(z.finalize()).chain_update(message).finalize())
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

/// Coefficients a and b and the base point's x and y, as Z takes them (GB/T 32918.5 §2).
const CURVE: [[u8; 32]; 4] = [
    [
        0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc,
    ],
    [
        0x28, 0xe9, 0xfa, 0x9e, 0x9d, 0x9f, 0x5e, 0x34, 0x4d, 0x5a, 0x9e, 0x4b, 0xcf, 0x65, 0x09, 0xa7, 0xf3,
        0x97, 0x89, 0xf5, 0x15, 0xab, 0x8f, 0x92, 0xdd, 0xbc, 0xbd, 0x41, 0x4d, 0x94, 0x0e, 0x93,
    ],
    [
        0x32, 0xc4, 0xae, 0x2c, 0x1f, 0x19, 0x81, 0x19, 0x5f, 0x99, 0x04, 0x46, 0x6a, 0x39, 0xc9, 0x94, 0x8f,
        0xe3, 0x0b, 0xbf, 0xf2, 0x66, 0x0b, 0xe1, 0x71, 0x5a, 0x45, 0x89, 0x33, 0x4c, 0x74, 0xc7,
    ],
    [
        0xbc, 0x37, 0x36, 0xa2, 0xf4, 0xf6, 0x77, 0x9c, 0x59, 0xbd, 0xce, 0xe3, 0x6b, 0x69, 0x21, 0x53, 0xd0,
        0xa9, 0x87, 0x7c, 0xc6, 0x2a, 0x47, 0x40, 0x02, 0xdf, 0x32, 0xe5, 0x21, 0x39, 0xf0, 0xa0,
    ],
];
