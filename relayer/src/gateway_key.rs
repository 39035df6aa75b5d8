//! The gateway's secp256k1 key, the site secret that ticket keys derive from, and recovery of signers (protocol §5).

use std::fmt;

use cip22_wire::{Address, Hash, PublicKey, Sid, Signature, keccak256};
use hkdf::Hkdf;
use secp256k1::ecdsa::{self, RecoverableSignature, RecoveryId};
use secp256k1::{Message, SecretKey};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// Why a key or a signature is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Zero or not below the group order.
    #[error("the secret key is not a valid secp256k1 scalar")]
    SecretKey,
    /// Not a point of the curve in SEC 1 compressed form.
    #[error("the public key is not a compressed secp256k1 point")]
    PublicKey,
    /// r or s out of range, or no point recovers.
    #[error("the signature does not recover to a public key")]
    Signature,
    /// s is in the upper half.
    #[error("the signature's s is in the upper half")]
    HighS,
}

/// The key that signs tickets and epochs. Erased when dropped.
pub struct GatewayKey {
    secret: ErasedSecret,
    public_key: PublicKey,
    address: Address,
}

impl GatewayKey {
    /// The key with this secret scalar, 32 bytes big-endian.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, KeyError> {
        let secret = ErasedSecret::from_bytes(secret)?;
        let public_key = secret.0.public_key().serialize();
        let address = address_of(&public_key)?;
        Ok(Self { secret, public_key, address })
    }

    /// Signs a digest: r ‖ yParityAndS (EIP-2098), s in the lower half, nonce as RFC 6979.
    pub fn sign(&self, digest: &Hash) -> Signature {
        let signature =
            RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(*digest), &self.secret.0);
        let (recovery_id, mut bytes) = signature.serialize_compact();
        // Ids 2 and 3 mean an r beyond the group order: chance 2^-127, and only a lost signature if it ever came.
        bytes[32] |= (recovery_id.to_u8() & 1) << 7;
        bytes
    }

    /// Its public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Its Ethereum address.
    pub fn address(&self) -> Address {
        self.address
    }
}

impl fmt::Debug for GatewayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayKey").field("address", &hex::encode(self.address)).finish_non_exhaustive()
    }
}

/// The secret of a site, from which the ephemeral keys of its tickets derive, so that a restart offers identical bytes.
pub struct SiteSecret(Zeroizing<[u8; 32]>);

impl SiteSecret {
    /// Takes over a 32-byte secret.
    pub fn new(secret: Zeroizing<[u8; 32]>) -> Self {
        Self(secret)
    }

    /// The ephemeral key of the ticket `sid`: HKDF-SHA256 with info `cip22 gw_eph` ‖ sid ‖ counter, for the first counter from 0
    /// that gives a valid scalar.
    pub fn ticket_key(&self, sid: &Sid) -> Result<TicketKey, KeyError> {
        let hkdf = Hkdf::<Sha256>::new(None, self.0.as_slice());
        for counter in 0..=u8::MAX {
            let mut scalar = Zeroizing::new([0u8; 32]);
            let mut info = [0u8; TICKET_INFO.len() + 16 + 1];
            let (label, rest) = info.split_at_mut(TICKET_INFO.len());
            label.copy_from_slice(TICKET_INFO);
            rest[..16].copy_from_slice(sid);
            rest[16] = counter;
            hkdf.expand(&info, scalar.as_mut_slice()).map_err(|_| KeyError::SecretKey)?;
            if let Ok(secret) = ErasedSecret::from_bytes(&scalar) {
                let public_key = secret.0.public_key().serialize();
                return Ok(TicketKey { secret, public_key });
            }
        }
        Err(KeyError::SecretKey)
    }
}

impl fmt::Debug for SiteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SiteSecret(redacted)")
    }
}

/// The gateway's ephemeral key of one ticket. Erased when dropped.
pub struct TicketKey {
    secret: ErasedSecret,
    public_key: PublicKey,
}

impl TicketKey {
    /// `gw_eph` of the ticket.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The x coordinate of the Diffie–Hellman point with `peer`, 32 bytes big-endian.
    pub fn ecdh_x(&self, peer: &PublicKey) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        ecdh_x(&self.secret.0, peer)
    }

    /// Z = x(gwEph·devEph) ‖ x(gwEph·devStatic), the input of the session keys (protocol §5.3).
    pub fn shared_secret(
        &self,
        dev_eph: &PublicKey,
        dev_static: &PublicKey,
    ) -> Result<Zeroizing<[u8; 64]>, KeyError> {
        let mut z = Zeroizing::new([0u8; 64]);
        z[..32].copy_from_slice(self.ecdh_x(dev_eph)?.as_slice());
        z[32..].copy_from_slice(self.ecdh_x(dev_static)?.as_slice());
        Ok(z)
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey").field("public_key", &hex::encode(self.public_key)).finish_non_exhaustive()
    }
}

/// Who signed `digest`: public key and address. Refuses an s in the upper half.
pub fn recover(digest: &Hash, signature: &Signature) -> Result<(PublicKey, Address), KeyError> {
    let mut compact = *signature;
    let parity = compact[32] >> 7;
    compact[32] &= 0x7f;
    let standard = ecdsa::Signature::from_compact(&compact).map_err(|_| KeyError::Signature)?;
    let mut low = standard;
    low.normalize_s();
    if low != standard {
        return Err(KeyError::HighS);
    }
    let public_key = RecoverableSignature::from_compact(&compact, RecoveryId::from_u8_masked(parity))
        .and_then(|signature| signature.recover_ecdsa(Message::from_digest(*digest)))
        .map_err(|_| KeyError::Signature)?;
    Ok((public_key.serialize(), address(&public_key)))
}

/// Ethereum address of a public key.
pub fn address_of(public_key: &PublicKey) -> Result<Address, KeyError> {
    Ok(address(&parse(public_key)?))
}

fn address(public_key: &secp256k1::PublicKey) -> Address {
    let hash = keccak256(&[&public_key.serialize_uncompressed()[1..]]);
    let mut address = [0; 20];
    address.copy_from_slice(&hash[12..]);
    address
}

fn ecdh_x(secret: &SecretKey, peer: &PublicKey) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let point = Zeroizing::new(secp256k1::ecdh::shared_secret_point(&parse(peer)?, secret));
    let mut x = Zeroizing::new([0; 32]);
    x.copy_from_slice(&point[..32]);
    Ok(x)
}

fn parse(public_key: &PublicKey) -> Result<secp256k1::PublicKey, KeyError> {
    secp256k1::PublicKey::from_byte_array_compressed(*public_key).map_err(|_| KeyError::PublicKey)
}

/// A secret scalar that is overwritten when dropped.
struct ErasedSecret(SecretKey);

impl ErasedSecret {
    fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let mut copy = *bytes;
        let secret = SecretKey::from_secret_bytes(copy).map(Self).map_err(|_| KeyError::SecretKey);
        copy.zeroize();
        secret
    }
}

impl Drop for ErasedSecret {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

const TICKET_INFO: &[u8] = b"cip22 gw_eph";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_address_is_ethereums() {
        // The first account of the well-known development mnemonic.
        let secret = bytes("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
        let key = GatewayKey::from_bytes(&secret).unwrap();
        assert_eq!(hex::encode(key.address()), "f39fd6e51aad88f6f4ce6ab8827279cfffb92266");
    }

    #[test]
    fn eip_2098_examples_recover_and_are_reproduced() {
        // The two test cases of EIP-2098: messages with the personal-sign prefix.
        let key = GatewayKey::from_bytes(&bytes(&format!("{}1234", "1234567890".repeat(6)))).unwrap();
        for (message, r, s) in [
            (
                "Hello World",
                "68a020a209d3d56c46f38cc50a33f704f4a9a10a59377f8dd762ac66910e9b90",
                "7e865ad05c4035ab5792787d4a0297a43617ae897930a6fe4d822b8faea52064",
            ),
            (
                "It's a small(er) world",
                "9328da16089fcba9bececa81663203989f2df5fe1faa6291a45381c81bd17f76",
                "939c6d6b623b42da56557e5e734a43dc83345ddfadec52cbe24d0cc64f550793",
            ),
        ] {
            let prefixed = format!("\x19Ethereum Signed Message:\n{}{message}", message.len());
            let digest = keccak256(&[prefixed.as_bytes()]);
            let signature: Signature = [bytes(r), bytes(s)].concat().try_into().unwrap();
            assert_eq!(recover(&digest, &signature).unwrap(), (*key.public_key(), key.address()));
            assert_eq!(key.sign(&digest), signature);
        }
    }

    #[test]
    fn golden_signatures_recover_to_their_signers_and_the_gateways_are_reproduced() {
        let vectors = vectors(include_str!("../../tests/vectors/digests.json"));
        for (signed, signer) in [
            ("challenge_req", "device"),
            ("head", "device"),
            ("charge_end", "device"),
            ("ticket", "gateway"),
            ("epoch", "gateway"),
            ("policy", "governance"),
            ("trust_update", "governance"),
        ] {
            let (signed, signer) = (&vectors[signed], &vectors[signer]);
            let (digest, signature) = (field(signed, "digest"), field(signed, "signature"));
            let expected = (field(signer, "public_key"), field(signer, "address"));
            assert_eq!(recover(&digest, &signature), Ok(expected), "{signed}");
            let key = GatewayKey::from_bytes(&field(signer, "private_key")).unwrap();
            assert_eq!((*key.public_key(), key.address()), expected);
            assert_eq!(key.sign(&digest), signature, "{signed}");
        }
    }

    #[test]
    fn the_golden_shared_secret_is_reproduced() {
        let vectors = vectors(include_str!("../../tests/vectors/session_keys.json"));
        let secret = ErasedSecret::from_bytes(&field(&vectors, "gw_eph_private_key")).unwrap();
        let key = TicketKey { secret, public_key: field(&vectors, "gw_eph") };
        let z = key.shared_secret(&field(&vectors, "dev_eph"), &field(&vectors, "device_public_key"));
        assert_eq!(*z.unwrap(), field::<64>(&vectors, "z"));
    }

    #[test]
    fn an_upper_half_s_is_refused() {
        let key = GatewayKey::from_bytes(&[7; 32]).unwrap();
        let digest = [9; 32];
        let mut signature = key.sign(&digest);
        // s' = 2^255 - 1 is below the order and above half of it.
        signature[32..].fill(0xff);
        signature[32] = 0x7f;
        assert_eq!(recover(&digest, &signature), Err(KeyError::HighS));
    }

    #[test]
    fn zero_and_the_order_are_no_secret_keys() {
        let order = bytes("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
        assert_eq!(GatewayKey::from_bytes(&[0; 32]).unwrap_err(), KeyError::SecretKey);
        assert_eq!(GatewayKey::from_bytes(&order).unwrap_err(), KeyError::SecretKey);
    }

    #[test]
    fn ticket_keys_are_the_same_after_a_restart_and_differ_by_sid_and_site() {
        let key = |site: u8, sid: u8| {
            *SiteSecret::new(Zeroizing::new([site; 32])).ticket_key(&[sid; 16]).unwrap().public_key()
        };
        assert_eq!(key(1, 1), key(1, 1));
        assert_ne!(key(1, 1), key(1, 2));
        assert_ne!(key(1, 1), key(2, 1));
    }

    #[test]
    fn both_ends_of_a_diffie_hellman_exchange_agree() {
        let site = SiteSecret::new(Zeroizing::new([3; 32]));
        let (one, other) = (site.ticket_key(&[1; 16]).unwrap(), site.ticket_key(&[2; 16]).unwrap());
        assert_eq!(one.ecdh_x(other.public_key()).unwrap(), other.ecdh_x(one.public_key()).unwrap());
        assert_eq!(one.ecdh_x(&[5; 33]).unwrap_err(), KeyError::PublicKey);
    }

    #[test]
    fn the_diffie_hellman_point_with_the_generator_is_the_public_key() {
        let site = SiteSecret::new(Zeroizing::new([3; 32]));
        let key = site.ticket_key(&[1; 16]).unwrap();
        let one: [u8; 32] = std::array::from_fn(|at| u8::from(at == 31));
        let generator = *GatewayKey::from_bytes(&one).unwrap().public_key();
        assert_eq!(key.ecdh_x(&generator).unwrap().as_slice(), &key.public_key()[1..]);
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = [0xab; 32];
        let site = SiteSecret::new(Zeroizing::new(secret));
        let shown = format!(
            "{:?} {:?} {:?}",
            GatewayKey::from_bytes(&secret).unwrap(),
            site,
            site.ticket_key(&[0; 16]).unwrap()
        );
        assert!(!shown.contains(&hex::encode(secret)) && !shown.contains("171, 171"), "{shown}");
    }

    proptest! {
        #[test]
        fn what_is_signed_recovers_to_the_signer(secret in any::<[u8; 32]>(), digest in any::<[u8; 32]>()) {
            if let Ok(key) = GatewayKey::from_bytes(&secret) {
                let signature = key.sign(&digest);
                prop_assert_eq!(recover(&digest, &signature), Ok((*key.public_key(), key.address())));
            }
        }

        #[test]
        fn a_changed_signature_never_recovers_to_the_signer(at in 0usize..64, bit in 0u8..8) {
            let key = GatewayKey::from_bytes(&[7; 32]).unwrap();
            let digest = [9; 32];
            let mut signature = key.sign(&digest);
            signature[at] ^= 1 << bit;
            if let Ok((_, address)) = recover(&digest, &signature) {
                prop_assert_ne!(address, key.address());
            }
        }
    }

    fn vectors(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap()
    }

    fn field<const N: usize>(object: &serde_json::Value, name: &str) -> [u8; N] {
        let text = object[name].as_str().unwrap();
        hex::decode(text.strip_prefix("0x").unwrap()).unwrap().try_into().unwrap()
    }

    fn bytes(text: &str) -> [u8; 32] {
        hex::decode(text).unwrap().try_into().unwrap()
    }
}
