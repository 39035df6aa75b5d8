//! curveSM2 (41): ephemeral Diffie–Hellman, uncompressed points, the shared x coordinate (RFC 8998 §3.2).

use rustls::{
    Error, NamedGroup, PeerMisbehaved,
    crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup},
};
use sm2::{
    PublicKey, SecretKey,
    elliptic_curve::{point::AffineCoordinates, sec1::ToSec1Point},
};
use zeroize::Zeroizing;

use crate::provider::fill;

/// The group's number.
pub const ID: NamedGroup = NamedGroup::Unknown(41);

/// The group.
pub static CURVE_SM2: &dyn SupportedKxGroup = &CurveSm2;

/// Bytes of an uncompressed point.
const POINT_LENGTH: usize = 65;

#[derive(Debug)]
struct CurveSm2;

impl SupportedKxGroup for CurveSm2 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        let secret = loop {
            fill(&mut bytes[..])?;
            // Uniform below the order: what is not is drawn again, once in 2³² times.
            if let Ok(secret) = SecretKey::from_slice(&bytes[..]) {
                break secret;
            }
        };
        let public = secret.public_key().to_sec1_point(false).as_bytes().to_vec();
        Ok(Box::new(Ephemeral { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        ID
    }
}

struct Ephemeral {
    secret: SecretKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Ephemeral {
    #[allow(clippy::arithmetic_side_effects)] // of a point and a scalar: nothing overflows
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let refused = || Error::from(PeerMisbehaved::InvalidKeyShare);
        if peer.len() != POINT_LENGTH || peer.first() != Some(&4) {
            return Err(refused());
        }
        let peer = PublicKey::from_sec1_bytes(peer).map_err(|_| refused())?;
        let scalar = Zeroizing::new(*self.secret.to_nonzero_scalar());
        let x = Zeroizing::new(<[u8; 32]>::from((peer.to_projective() * *scalar).to_affine().x()));
        Ok(SharedSecret::from(&x[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        ID
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_compute_one_secret() {
        let (one, other) = (CURVE_SM2.start().unwrap(), CURVE_SM2.start().unwrap());
        let (of_one, of_other) = (one.pub_key().to_vec(), other.pub_key().to_vec());
        assert_eq!(of_one.len(), POINT_LENGTH);
        assert_ne!(of_one, of_other);
        let secret = one.complete(&of_other).unwrap();
        assert_eq!(secret.secret_bytes(), other.complete(&of_one).unwrap().secret_bytes());
        assert_eq!(secret.secret_bytes().len(), 32);
    }

    #[test]
    fn what_is_no_uncompressed_point_of_the_curve_is_refused() {
        let point = CURVE_SM2.start().unwrap().pub_key().to_vec();
        let mut off_curve = point.clone();
        off_curve[64] ^= 1;
        let mut compressed = point[..33].to_vec();
        compressed[0] = 2 | (point[64] & 1);
        let mut hybrid = point.clone();
        hybrid[0] = 6;
        let identity = vec![0];
        for peer in [off_curve, compressed, hybrid, identity, Vec::new(), point[..64].to_vec()] {
            let refused = CURVE_SM2.start().unwrap().complete(&peer).err().unwrap();
            assert_eq!(refused, Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare));
        }
    }
}
