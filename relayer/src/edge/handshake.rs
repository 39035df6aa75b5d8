//! The handshake (protocol §1): the ClientHello chooses the pairing, and nothing of a connection counts before suite, group,
//! certificate and name have been checked to belong together.

use std::io;

use cip22_wire::DeviceId;
use rustls::CertificateError;
use rustls_shangmi::{Error as PairingError, Pairing, Server};
use shangmi::chain::ChainError;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::edge::identity::{self, IdentityError};
use crate::error::Fault;

/// A connection that has passed every check.
#[derive(Debug)]
pub struct Authenticated<S> {
    /// The connection.
    pub stream: TlsStream<S>,
    /// Its pairing.
    pub pairing: Pairing,
    /// The device of its certificate.
    pub device_id: DeviceId,
}

/// Why a connection got no further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The ClientHello is none, or the connection broke before it was whole.
    #[error("no ClientHello")]
    NoHello(#[source] io::Error),
    /// The ClientHello offers no pairing that is served. Answered by an alert.
    #[error("the ClientHello was refused")]
    Hello(#[source] PairingError),
    /// The handshake failed, of certificates among others. Answered by an alert unless the connection broke.
    #[error("the handshake failed")]
    Handshake(#[source] io::Error),
    /// What the handshake ended with is not of one pairing.
    #[error("the handshake did not end as it should")]
    Check(#[source] PairingError),
    /// The certificate names no device.
    #[error("the certificate was refused")]
    Identity(#[source] IdentityError),
}

impl Refused {
    /// Label for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoHello(error) | Self::Handshake(error) => io_cause(error),
            Self::Hello(error) | Self::Check(error) => pairing_cause(error),
            Self::Identity(error) => error.label(),
        }
    }

    /// Whose fault it is: the device's, as far as it is one.
    pub fn fault(&self) -> Fault {
        Fault::Device
    }
}

/// Reads the ClientHello, goes on with the configuration for it, and checks what comes of it. A refused client is told by an
/// alert, or by the end of the connection where the handshake is over.
pub async fn accept<S>(server: &Server, stream: S) -> Result<Authenticated<S>, Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let begun = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream)
        .await
        .map_err(Refused::NoHello)?;
    let config = match server.choose(&begun.client_hello()) {
        Ok(config) => config,
        Err(error) => {
            let mut stream = begun.io;
            if let Err(mut refused) = server.accept(begun.accepted) {
                let mut alert = Vec::new();
                // Writing to memory does not fail; that the client is gone is no reason to say anything else of it.
                let _ = refused.write_alert(&mut alert);
                let _ = stream.write_all(&alert).await;
                let _ = stream.shutdown().await;
            }
            return Err(Refused::Hello(error));
        }
    };
    let mut stream = begun.into_stream(config).await.map_err(Refused::Handshake)?;
    match check(server, &stream) {
        Ok((pairing, device_id)) => Ok(Authenticated { stream, pairing, device_id }),
        Err(refused) => {
            // Says goodbye, so that the pile can tell a refusal from a broken line.
            let _ = stream.shutdown().await;
            Err(refused)
        }
    }
}

fn check<S>(server: &Server, stream: &TlsStream<S>) -> Result<(Pairing, DeviceId), Refused> {
    let checked = server.check(stream.get_ref().1).map_err(Refused::Check)?;
    let leaf = checked.certificates().first().ok_or(Refused::Check(PairingError::NoPeerCertificate))?;
    let device_id = identity::device(leaf, checked.pairing()).map_err(Refused::Identity)?;
    Ok((checked.pairing(), device_id))
}

fn io_cause(error: &io::Error) -> &'static str {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    tls.map_or("disconnected", tls_cause)
}

fn pairing_cause(error: &PairingError) -> &'static str {
    match error {
        PairingError::NoTls13 => "no_tls13",
        PairingError::NotServed(_) => "not_served",
        PairingError::MixedOffer(_) => "mixed_offer",
        PairingError::MixedPairing { .. } => "mixed_pairing",
        PairingError::OtherPairing { .. } => "other_pairing",
        PairingError::EarlyData => "early_data",
        PairingError::Version(_) => "version",
        PairingError::NoPeerCertificate => "no_certificate",
        PairingError::PeerName { .. } => "wrong_name",
        PairingError::NoTime => "no_time",
        PairingError::Tls(error) => tls_cause(error),
        _ => "protocol",
    }
}

fn tls_cause(error: &rustls::Error) -> &'static str {
    use rustls::Error as Tls;
    match error {
        Tls::NoCertificatesPresented => "no_certificate",
        Tls::InvalidCertificate(error) => certificate_cause(error),
        Tls::PeerIncompatible(_) => "incompatible",
        Tls::NoApplicationProtocol => "no_application_protocol",
        Tls::AlertReceived(_) => "alert",
        _ => "protocol",
    }
}

fn certificate_cause(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => "unknown_issuer",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "not_valid_yet",
        CertificateError::BadSignature => "bad_signature",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "wrong_name",
        CertificateError::Other(other) => other.0.downcast_ref().map_or("bad_certificate", chain_cause),
        _ => "bad_certificate",
    }
}

/// What only chains of the ShangMi pairing are refused for under a name of its own.
fn chain_cause(error: &ChainError) -> &'static str {
    match error {
        ChainError::Name => "wrong_name",
        ChainError::DeviceKeyUsage => "key_usage",
        ChainError::CaKeyUsage => "ca_key_usage",
        ChainError::NoCa => "no_ca",
        ChainError::Key => "key_algorithm",
        ChainError::Certificate(_) => "bad_chain",
        _ => "bad_certificate",
    }
}
