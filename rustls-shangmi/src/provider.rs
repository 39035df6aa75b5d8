//! The provider: one suite, one group, one signature scheme.

use std::sync::Arc;

use pki_types::PrivateKeyDer;
use rustls::{
    Error,
    crypto::{CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom},
    sign::SigningKey,
};

use crate::{cipher_suite::TLS_SM4_GCM_SM3, key_exchange::CURVE_SM2, signature};

/// TLS_SM4_GCM_SM3, curveSM2 and sm2sig_sm3, and nothing besides.
///
/// ```
/// use std::sync::Arc;
/// use rustls::{ClientConfig, version::TLS13};
///
/// let config = ClientConfig::builder_with_provider(Arc::new(rustls_shangmi::provider()))
///     .with_protocol_versions(&[&TLS13])?;
/// # Ok::<(), rustls::Error>(())
/// ```
#[must_use]
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![TLS_SM4_GCM_SM3],
        kx_groups: vec![CURVE_SM2],
        signature_verification_algorithms: signature::ALGORITHMS,
        secure_random: RANDOM,
        key_provider: &Keys,
    }
}

/// Random bytes of the operating system.
pub static RANDOM: &dyn SecureRandom = &OperatingSystem;

pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
    getrandom::fill(bytes).map_err(|_| GetRandomFailed)
}

#[derive(Debug)]
struct OperatingSystem;

impl SecureRandom for OperatingSystem {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        fill(bytes)
    }
}

#[derive(Debug)]
struct Keys;

impl KeyProvider for Keys {
    fn load_private_key(&self, der: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Ok(Arc::new(signature::TlsKey::from_der(&der)?))
    }
}
