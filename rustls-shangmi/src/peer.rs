//! What both ends share: options, and what is known once a handshake was checked.

use std::{fmt, sync::Arc};

use pki_types::{CertificateDer, UnixTime};
use rustls::{
    CommonState, HandshakeKind,
    time_provider::{DefaultTimeProvider, TimeProvider},
};

use crate::{Error, Pairing, chain::only_uri};

/// Of a configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Sessions kept for resumption, in this process's memory; 0 for none. A resumed connection must pass `check`, which
    /// verifies the peer's certificate again.
    pub sessions: usize,
    /// Application protocols, the preferred first.
    pub alpn_protocols: Vec<Vec<u8>>,
    /// Whether [`crate::secrets::TrafficSecrets::extract`] may.
    pub secret_extraction: bool,
    /// The clock that certificates are checked by.
    pub time: Arc<dyn TimeProvider>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sessions: 0,
            alpn_protocols: Vec::new(),
            secret_extraction: false,
            time: Arc::new(DefaultTimeProvider),
        }
    }
}

/// A handshake that ended as it should have.
#[derive(Clone, Debug)]
pub struct Checked {
    pairing: Pairing,
    resumed: bool,
    certificates: Vec<CertificateDer<'static>>,
}

impl Checked {
    /// The pairing of suite, group and signature.
    #[must_use]
    pub const fn pairing(&self) -> Pairing {
        self.pairing
    }

    /// Whether the session was resumed; the peer's certificate was verified again then.
    #[must_use]
    pub const fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// The peer's certificates, its own first.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The only URI in the peer's certificate, as a device's name.
    #[must_use]
    pub fn uri(&self) -> Option<String> {
        self.certificates.first().and_then(only_uri)
    }

    /// Refuses the certificate of another device than the one that speaks.
    ///
    /// # Errors
    /// [`Error::PeerName`].
    pub fn expect_uri(&self, expected: &str) -> Result<(), Error> {
        let found = self.uri();
        if found.as_deref() == Some(expected) {
            Ok(())
        } else {
            Err(Error::PeerName { expected: expected.to_owned(), found })
        }
    }
}

/// The checks of both ends; `verify` is asked again for a resumed session, as rustls takes the peer's certificates from
/// the session unchecked.
pub(crate) fn check(
    connection: &CommonState,
    expected: Pairing,
    time: &dyn TimeProvider,
    verify: impl Fn(&CertificateDer<'_>, &[CertificateDer<'_>], UnixTime) -> Result<(), rustls::Error>,
) -> Result<Checked, Error> {
    let pairing = Pairing::negotiated(connection)?;
    if pairing != expected {
        return Err(Error::OtherPairing { expected, negotiated: pairing });
    }
    let certificates = connection.peer_certificates().unwrap_or_default();
    let (end_entity, intermediates) = certificates.split_first().ok_or(Error::NoPeerCertificate)?;
    let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
    if resumed {
        verify(end_entity, intermediates, time.current_time().ok_or(Error::NoTime)?)?;
    }
    Ok(Checked { pairing, resumed, certificates: certificates.to_vec() })
}

/// Prints nothing of the configuration, which holds keys.
pub(crate) fn redacted(f: &mut fmt::Formatter<'_>, name: &str, pairing: Pairing) -> fmt::Result {
    f.debug_struct(name).field("pairing", &pairing).finish_non_exhaustive()
}
