//! Peers' certificates: device ← CA ← pinned root, by [`shangmi::chain`].

use std::sync::Arc;

use pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::verify_tls13_signature,
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use shangmi::chain::{ChainError, Name, Purpose, Root};

use crate::signature::{ALGORITHMS, SM2SIG_SM3};

/// Accepts peers whose chain leads to one root: gateways by the name dialled, devices by the only URI they carry. Which device
/// it is, is the caller's to compare: [`crate::Checked::expect_uri`].
///
/// Refusals are rustls's `InvalidCertificate`: expired, not yet valid, another name and an unknown issuer under rustls's
/// names, everything else as [`CertificateError::Other`] of a [`ChainError`]. `BadSignature` is left to the
/// CertificateVerify.
#[derive(Clone, Debug)]
pub struct PinnedRoot {
    root: Root,
    client_names: Vec<DistinguishedName>,
}

impl PinnedRoot {
    /// Of a root.
    #[must_use]
    pub const fn new(root: Root) -> Self {
        Self { root, client_names: Vec::new() }
    }

    /// From a root certificate in DER. Its signature and validity are the caller's trust.
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub fn from_der(der: &[u8]) -> Result<Self, ChainError> {
        Root::from_der(der).map(Self::new)
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        purpose: Purpose,
        name: Name<'_>,
    ) -> Result<(), Error> {
        let intermediates: Vec<&[u8]> = intermediates.iter().map(AsRef::as_ref).collect();
        match self.root.verify(end_entity, &intermediates, now, purpose, name) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::InvalidCertificate(refusal(error))),
        }
    }
}

impl ServerCertVerifier for PinnedRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = server_name.to_str();
        self.verify(end_entity, intermediates, now, Purpose::Server, Name::Host(&name))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SM2SIG_SM3]
    }
}

impl ClientCertVerifier for PinnedRoot {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.client_names
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let uri = only_uri(end_entity).unwrap_or_default();
        self.verify(end_entity, intermediates, now, Purpose::Client, Name::Uri(&uri))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SM2SIG_SM3]
    }
}

/// The certificate's URI, when it carries exactly one.
pub(crate) fn only_uri(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut uris = certificate.valid_uri_names();
    match (uris.next(), uris.next()) {
        (Some(only), None) => Some(only.to_owned()),
        _ => None,
    }
}

fn refusal(error: ChainError) -> CertificateError {
    match error {
        ChainError::Certificate(webpki::Error::CertExpired { time, not_after }) => {
            CertificateError::ExpiredContext { time, not_after }
        }
        ChainError::Certificate(webpki::Error::CertNotValidYet { time, not_before }) => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        ChainError::Certificate(webpki::Error::UnknownIssuer) => CertificateError::UnknownIssuer,
        ChainError::Certificate(webpki::Error::BadDer) => CertificateError::BadEncoding,
        ChainError::Name => CertificateError::NotValidForName,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
}
