//! TLS_SM4_GCM_SM3 (0x00c6): SM3, HMAC-SM3 and SM4-GCM records, sealed and opened in place.

use hmac::{Hmac, KeyInit, Mac};
use rustls::{
    CipherSuite, CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion,
    SupportedCipherSuite, Tls13CipherSuite,
    crypto::{
        cipher::{
            AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter,
            Nonce, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls13AeadAlgorithm,
            UnsupportedOperationError, make_tls13_aad,
        },
        hash::{self, HashAlgorithm},
        hmac as rustls_hmac,
        tls13::HkdfUsingHmac,
    },
};
use shangmi::sm4::{KEY_LENGTH, Sm4Gcm, TAG_LENGTH, aead::AeadInOut};
use sm3::{Digest, Sm3};
use zeroize::Zeroizing;

use crate::secrets;

/// The suite's number.
pub const ID: CipherSuite = CipherSuite::Unknown(0x00c6);

/// The suite.
pub static TLS_SM4_GCM_SM3: SupportedCipherSuite = SupportedCipherSuite::Tls13(&Tls13CipherSuite {
    common: CipherSuiteCommon {
        suite: ID,
        hash_provider: &Sm3Hash,
        // As AES-GCM's (RFC 8446 §5.5): the limit follows from the block's 128 bits.
        confidentiality_limit: 1 << 24,
    },
    hkdf_provider: &HkdfUsingHmac(&HmacSm3),
    aead_alg: &Sm4GcmRecords,
    quic: None,
});

/// HashAlgorithm has no number for SM3; rustls only compares it between suites, to tell which may resume which.
const SM3: HashAlgorithm = HashAlgorithm::Unknown(7);

struct Sm3Hash;

impl hash::Hash for Sm3Hash {
    fn start(&self) -> Box<dyn hash::Context> {
        Box::new(Sm3Context(Sm3::new()))
    }

    fn hash(&self, data: &[u8]) -> hash::Output {
        hash::Output::new(&Sm3::digest(data))
    }

    fn output_len(&self) -> usize {
        32
    }

    fn algorithm(&self) -> HashAlgorithm {
        SM3
    }
}

struct Sm3Context(Sm3);

impl hash::Context for Sm3Context {
    fn fork_finish(&self) -> hash::Output {
        hash::Output::new(&self.0.clone().finalize())
    }

    fn fork(&self) -> Box<dyn hash::Context> {
        Box::new(Self(self.0.clone()))
    }

    fn finish(self: Box<Self>) -> hash::Output {
        hash::Output::new(&self.0.finalize())
    }

    fn update(&mut self, data: &[u8]) {
        Digest::update(&mut self.0, data);
    }
}

struct HmacSm3;

impl rustls_hmac::Hmac for HmacSm3 {
    fn with_key(&self, key: &[u8]) -> Box<dyn rustls_hmac::Key> {
        // HMAC takes keys of any length: a longer one is hashed first (RFC 2104).
        let mut block = Zeroizing::new([0; 64]);
        let hashed;
        let key = if key.len() <= block.len() {
            key
        } else {
            hashed = Zeroizing::new(<[u8; 32]>::from(Sm3::digest(key)));
            &hashed[..]
        };
        for (place, byte) in block.iter_mut().zip(key) {
            *place = *byte;
        }
        Box::new(HmacSm3Key(Hmac::new((&*block).into())))
    }

    fn hash_output_len(&self) -> usize {
        32
    }
}

struct HmacSm3Key(Hmac<Sm3>);

impl rustls_hmac::Key for HmacSm3Key {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> rustls_hmac::Tag {
        let mut mac = self.0.clone();
        mac.update(first);
        for part in middle {
            mac.update(part);
        }
        mac.update(last);
        rustls_hmac::Tag::new(&mac.finalize().into_bytes())
    }

    fn tag_len(&self) -> usize {
        32
    }
}

struct Sm4GcmRecords;

impl Tls13AeadAlgorithm for Sm4GcmRecords {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Records { cipher: cipher(&key), iv })
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Records { cipher: cipher(&key), iv })
    }

    fn key_len(&self) -> usize {
        KEY_LENGTH
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        secrets::carry(key, iv)
    }
}

/// Under the suite's key, whose length rustls takes from `key_len`.
fn cipher(key: &AeadKey) -> Option<Sm4Gcm> {
    key.as_ref().try_into().ok().map(|key: &[u8; KEY_LENGTH]| Sm4Gcm::new(key.into()))
}

struct Records {
    /// None, and every record refused, only for a key of another length.
    cipher: Option<Sm4Gcm>,
    iv: Iv,
}

impl MessageEncrypter for Records {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let length = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(length);
        payload.extend_from_chunks(&message.payload);
        payload.extend_from_slice(&message.typ.to_array());
        let nonce = Nonce::new(&self.iv, sequence).0;
        let tag = self
            .cipher
            .as_ref()
            .ok_or(Error::EncryptError)?
            .encrypt_inout_detached(&nonce.into(), &make_tls13_aad(length), payload.as_mut().into())
            .map_err(|_| Error::EncryptError)?;
        payload.extend_from_slice(&tag);
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload))
    }

    fn encrypted_payload_len(&self, payload: usize) -> usize {
        payload.saturating_add(1).saturating_add(TAG_LENGTH)
    }
}

impl MessageDecrypter for Records {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let nonce = Nonce::new(&self.iv, sequence).0;
        let aad = make_tls13_aad(message.payload.len());
        let (ciphertext, tag) =
            message.payload.split_last_chunk_mut::<TAG_LENGTH>().ok_or(Error::DecryptError)?;
        let (length, tag) = (ciphertext.len(), (&*tag).into());
        self.cipher
            .as_ref()
            .ok_or(Error::DecryptError)?
            .decrypt_inout_detached(&nonce.into(), &aad, ciphertext.into(), tag)
            .map_err(|_| Error::DecryptError)?;
        message.payload.truncate(length);
        message.into_tls13_unpadded_message()
    }
}
