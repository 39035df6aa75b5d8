//! sm2sig_sm3 (0x0708). SM2 signs under a distinguishing id, and RFC 8998 has two: certificates are signed under
//! `1234567812345678`, a CertificateVerify under `TLSv1.3+GM+Cipher+Suite`.

use std::sync::Arc;

use pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::{
    Error, SignatureAlgorithm, SignatureScheme,
    crypto::WebPkiSupportedAlgorithms,
    sign::{Signer, SigningKey, public_key_to_spki},
};
use shangmi::{
    chain::{PUBLIC_KEY_ALGORITHM, Sm2WithSm3},
    signature::{SigningKey as Sm2Key, TLS_ID},
};

/// The scheme's number.
pub const SM2SIG_SM3: SignatureScheme = SignatureScheme::Unknown(0x0708);

/// The algorithms of certificates, and the one of a CertificateVerify.
pub static ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[&Sm2WithSm3::CERTIFICATE, &Sm2WithSm3::CERTIFICATE_NULL],
    mapping: &[(SM2SIG_SM3, &[&CERTIFICATE_VERIFY])],
};

static CERTIFICATE_VERIFY: Sm2WithSm3 = Sm2WithSm3::with_id(TLS_ID);

/// A private key that signs a CertificateVerify.
#[derive(Clone, Debug)]
pub struct TlsKey(Arc<Sm2Key>);

impl TlsKey {
    /// Of a key of SM2.
    #[must_use]
    pub fn new(key: Sm2Key) -> Self {
        Self(Arc::new(key))
    }

    /// From PKCS #8.
    ///
    /// # Errors
    /// Anything but a private key of curveSM2 in PKCS #8.
    pub fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, Error> {
        match der {
            PrivateKeyDer::Pkcs8(der) => Sm2Key::from_pkcs8_der(der.secret_pkcs8_der())
                .map(Self::new)
                .map_err(|_| Error::General("not a private key of curveSM2".into())),
            _ => Err(Error::General("a private key of curveSM2 must be in PKCS #8".into())),
        }
    }
}

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SM2SIG_SM3).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(public_key_to_spki(&PUBLIC_KEY_ALGORITHM, self.0.verifying_key().to_sec1_bytes()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::Unknown(8)
    }
}

impl Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.0.sign(TLS_ID, message).map_err(|error| Error::General(error.to_string()))?;
        Ok(signature.to_der().as_ref().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SM2SIG_SM3
    }
}
