//! secp256k1: recoverable signatures in the form of EIP-2098, addresses, and the Diffie–Hellman coordinate (protocol §5).

use core::fmt;

use cip22_wire::{Address, Hash, PublicKey, Signature, keccak256};
use k256::{
    AffinePoint, FieldBytes, ProjectivePoint,
    ecdsa::{self, RecoveryId, VerifyingKey},
    elliptic_curve::point::AffineCoordinates,
};
use zeroize::Zeroizing;

use crate::{error::Error, hal::Entropy};

/// A secret key: a pile's identity, or the ephemeral key of one ticket. Zeroized when dropped.
#[derive(Clone)]
pub struct SigningKey(ecdsa::SigningKey);

impl SigningKey {
    /// The key of a big-endian scalar, 32 bytes. The caller zeroizes `secret`.
    ///
    /// # Errors
    /// The scalar is 0 or not below the order of the curve.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, Error> {
        let bytes = Zeroizing::new(FieldBytes::from(*secret));
        ecdsa::SigningKey::from_bytes(&bytes).map(Self).map_err(|_| Error::InvalidKey)
    }

    /// A fresh random key.
    ///
    /// # Errors
    /// The source failed.
    pub fn random(entropy: &mut impl Entropy) -> Result<Self, Error> {
        let mut secret = Zeroizing::new([0; 32]);
        // A sound source misses the range with probability 2^-128; one that misses repeatedly is broken.
        for _ in 0..KEY_ATTEMPTS_MAX {
            entropy.fill(&mut *secret)?;
            if let Ok(key) = Self::from_bytes(&secret) {
                return Ok(key);
            }
        }
        Err(Error::Entropy)
    }

    /// The public key, SEC 1 compressed.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let mut compressed = [0; 33];
        for (to, from) in compressed.iter_mut().zip(self.0.verifying_key().to_sec1_point(true).as_bytes()) {
            *to = *from;
        }
        compressed
    }

    /// The address of the public key.
    #[must_use]
    pub fn address(&self) -> Address {
        address(self.0.verifying_key())
    }

    /// [`sign_digest`] with this key.
    #[must_use]
    pub fn sign(&self, digest: &Hash) -> Signature {
        sign_digest(self, digest)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

/// Signs a 32-byte digest: r ‖ yParityAndS, s in the lower half; deterministic (RFC 6979).
#[must_use]
pub fn sign_digest(key: &SigningKey, digest: &Hash) -> Signature {
    let (signature, recovery) = key.0.sign_prehash_recoverable(digest);
    let mut out = [0; 64];
    for (to, from) in out.iter_mut().zip(signature.to_bytes()) {
        *to = from;
    }
    if let (true, Some(high)) = (recovery.is_y_odd(), out.get_mut(Y_PARITY_BYTE)) {
        *high |= Y_PARITY_BIT;
    }
    out
}

/// The address whose key signed `digest`.
///
/// # Errors
/// [`Error::InvalidSignature`]: s is not in the lower half, or no key made this signature.
pub fn recover_address(digest: &Hash, signature: &Signature) -> Result<Address, Error> {
    let mut bytes = *signature;
    let high = bytes.get_mut(Y_PARITY_BYTE).ok_or(Error::InvalidSignature)?;
    let y_odd = *high & Y_PARITY_BIT != 0;
    *high &= !Y_PARITY_BIT;

    let parsed = ecdsa::Signature::from_slice(&bytes).map_err(|_| Error::InvalidSignature)?;
    if parsed.normalize_s() != parsed {
        return Err(Error::InvalidSignature);
    }
    // r is the x coordinate itself: an x not below the order has no place in this form.
    let key = VerifyingKey::recover_from_prehash(digest, &parsed, RecoveryId::new(y_odd, false))
        .map_err(|_| Error::InvalidSignature)?;
    Ok(address(&key))
}

/// The address of a public key, SEC 1 compressed.
///
/// # Errors
/// [`Error::InvalidPoint`].
pub fn address_of(public_key: &PublicKey) -> Result<Address, Error> {
    VerifyingKey::from_sec1_bytes(public_key).map(|key| address(&key)).map_err(|_| Error::InvalidPoint)
}

/// The affine x coordinate of `key` · `public_key`, 32 bytes.
///
/// # Errors
/// [`Error::InvalidPoint`]: the bytes are not on the curve.
pub fn ecdh_x(key: &SigningKey, public_key: &PublicKey) -> Result<Zeroizing<[u8; 32]>, Error> {
    let point = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| Error::InvalidPoint)?;
    #[allow(clippy::arithmetic_side_effects, reason = "a point times a scalar is defined for all")]
    let shared: AffinePoint =
        (ProjectivePoint::from(*point.as_affine()) * key.0.as_nonzero_scalar().as_ref()).to_affine();
    Ok(Zeroizing::new(shared.x().into()))
}

fn address(key: &VerifyingKey) -> Address {
    let point = key.to_sec1_point(false);
    let coordinates = point.as_bytes().get(1..).unwrap_or_default();
    let hash = keccak256(&[coordinates]);
    let mut address = [0; 20];
    for (to, from) in address.iter_mut().zip(hash.iter().skip(12)) {
        *to = *from;
    }
    address
}

const KEY_ATTEMPTS_MAX: u8 = 8;
const Y_PARITY_BYTE: usize = 32;
const Y_PARITY_BIT: u8 = 0x80;
