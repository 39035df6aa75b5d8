//! BLS12-381 with keys in G2 and signatures in G1 (protocol §5.5): the key with which a pile co-signs roots.

use core::fmt;

use blst::min_sig::SecretKey;
use cip22_wire::{
    BlsSignature, DeviceId, Hash, POSSESSION_DST, ROOT_DST,
    digest::{Domain, bls_possession_hash},
};
use zeroize::Zeroizing;

use crate::{error::Error, hal::Entropy};

/// A secret key for co-signing. Zeroized when dropped.
#[derive(Clone)]
pub struct BlsKey(SecretKey);

impl BlsKey {
    /// The key of a big-endian scalar, 32 bytes. The caller zeroizes `secret`.
    ///
    /// # Errors
    /// The scalar is 0 or not below the order of the groups.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, Error> {
        SecretKey::from_bytes(secret).map(Self).map_err(|_| Error::InvalidKey)
    }

    /// A fresh random key.
    ///
    /// # Errors
    /// The source failed.
    pub fn random(entropy: &mut impl Entropy) -> Result<Self, Error> {
        let mut material = Zeroizing::new([0; 32]);
        entropy.fill(&mut *material)?;
        SecretKey::key_gen(&*material, &[]).map(Self).map_err(|_| Error::Entropy)
    }

    /// The scalar, big-endian; for the factory's records.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key as the chain has it: x.c0 ‖ x.c1 ‖ y.c0 ‖ y.c1, 48 bytes each. Takes some 22 KB of stack.
    #[must_use]
    pub fn public_key(&self) -> [u8; 192] {
        let serialized = self.0.sk_to_pk().serialize();
        // ZCash's form has the higher coefficient of a coordinate first.
        let mut key = [0; 192];
        let order = [1usize, 0, 3, 2];
        let (coordinates, _) = serialized.as_chunks::<COORDINATE_BYTES>();
        let (places, _) = key.as_chunks_mut::<COORDINATE_BYTES>();
        for (place, from) in places.iter_mut().zip(order) {
            *place = coordinates.get(from).copied().unwrap_or([0; COORDINATE_BYTES]);
        }
        key
    }

    /// Proof that the device `device_id` holds this key, for its enrolment: x ‖ y of a point of G1, 48 bytes each.
    ///
    /// `registry` is the DeviceRegistry's domain.
    #[must_use]
    pub fn prove_possession(&self, registry: &Domain, device_id: &DeviceId) -> [u8; 96] {
        let digest = registry.digest(&bls_possession_hash(device_id, &self.public_key()));
        self.0.sign(&digest, POSSESSION_DST, &[]).serialize()
    }

    /// Signs the digest of a root, compressed; deterministic. [`Session`](crate::Session) alone decides which.
    #[must_use]
    pub fn sign_root(&self, digest: &Hash) -> BlsSignature {
        self.0.sign(digest, ROOT_DST, &[]).compress()
    }
}

impl fmt::Debug for BlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlsKey(redacted)")
    }
}

const COORDINATE_BYTES: usize = 48;
