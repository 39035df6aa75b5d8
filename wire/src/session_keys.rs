//! Keys of one charge and the tags made with them (§4.2, §5.3).

use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{Hash, Sid, message::FrameType};

/// Keys both ends derive from their Diffie–Hellman points. Zeroized when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SessionKeys {
    k: [u8; 31],
    mac: [u8; 32],
    enc_gateway: [u8; 16],
    enc_pile: [u8; 16],
}

impl SessionKeys {
    /// Derives the keys of the charge `sid` from `z` = x(gwEph·devEph) ‖ x(gwEph·devStatic), 64 bytes. The caller zeroizes `z`.
    #[must_use]
    pub fn derive(z: &[u8; 64], sid: &Sid) -> Self {
        let prk = hmac_sha256(sid, &[z]);
        Self {
            k: expand(&prk, b"CIP-22/2 K"),
            mac: expand(&prk, b"CIP-22/2 K_mac"),
            enc_gateway: expand(&prk, b"CIP-22/2 K_enc gateway"),
            enc_pile: expand(&prk, b"CIP-22/2 K_enc pile"),
        }
    }

    /// Tag of a `body`, 32 bytes: HMAC-SHA256(K_mac, ticketHash ‖ type ‖ suite ‖ body), for circuit version 0.
    #[must_use]
    pub fn tag(&self, ticket_hash: &Hash, frame_type: FrameType, suite: u8, body: &[u8]) -> Hash {
        *hmac_sha256(&self.mac, &[ticket_hash, &[frame_type.code(), suite], body])
    }

    /// Whether `tag` is the one [`Self::tag`] makes; in constant time.
    #[must_use]
    pub fn verify_tag(
        &self,
        ticket_hash: &Hash,
        frame_type: FrameType,
        suite: u8,
        body: &[u8],
        tag: &Hash,
    ) -> bool {
        self.tag(ticket_hash, frame_type, suite, body).ct_eq(tag).into()
    }

    /// K, for circuits; it fits the scalar field.
    #[must_use]
    pub const fn k(&self) -> &[u8; 31] {
        &self.k
    }

    /// What the keys of suite 1 come from: K_enc gateway ‖ K_enc pile (§4.5).
    #[must_use]
    pub fn enc_secret(&self) -> Zeroizing<[u8; 32]> {
        let mut secret = Zeroizing::new([0; 32]);
        for (to, from) in secret.iter_mut().zip(self.enc_gateway.iter().chain(&self.enc_pile)) {
            *to = *from;
        }
        secret
    }

    /// First half of [`Self::enc_secret`].
    #[must_use]
    pub const fn enc_gateway(&self) -> &[u8; 16] {
        &self.enc_gateway
    }

    /// Second half of [`Self::enc_secret`].
    #[must_use]
    pub const fn enc_pile(&self) -> &[u8; 16] {
        &self.enc_pile
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKeys(redacted)")
    }
}

/// HKDF-Expand for one block, which every key here fits: unlike the general one it cannot fail.
fn expand<const N: usize>(prk: &Hash, info: &[u8]) -> [u8; N] {
    const { assert!(N <= 32) };
    let block = hmac_sha256(prk, &[info, &[1]]);
    let mut key = [0; N];
    for (to, from) in key.iter_mut().zip(block.iter()) {
        *to = *from;
    }
    key
}

/// HMAC-SHA256 under a key of at most one block, so that padding with zeros leaves it the same key.
fn hmac_sha256<const N: usize>(key: &[u8; N], parts: &[&[u8]]) -> Zeroizing<Hash> {
    const { assert!(N <= HMAC_BLOCK_BYTES) };
    let mut block = Zeroizing::new([0; HMAC_BLOCK_BYTES]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

const HMAC_BLOCK_BYTES: usize = 64;
