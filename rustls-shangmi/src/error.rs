//! What the crate refuses.

use rustls::{CipherSuite, NamedGroup, ProtocolVersion};
use shangmi::chain::ChainError;

use crate::pairing::{Offer, Pairing};

/// Why a configuration, a ClientHello or a finished handshake was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The ClientHello offers no cipher suite of TLS 1.3.
    #[error("the client does not offer TLS 1.3")]
    NoTls13,
    /// The ClientHello offers a whole pairing, but the server has no configuration for it.
    #[error("the client offers the {0} pairing, which is not served")]
    NotServed(Pairing),
    /// The ClientHello offers parts of pairings, and none whole.
    #[error("the client offers no pairing whole: {0:?}")]
    MixedOffer(Offer),
    /// The handshake ended with parts of different pairings.
    #[error("suite {suite:?}, group {group:?} and the peer's key ({peer_key:?}) are not of one pairing")]
    MixedPairing {
        /// The cipher suite.
        suite: CipherSuite,
        /// The key exchange.
        group: NamedGroup,
        /// The pairing of the peer's certificate, when it presented one.
        peer_key: Option<Pairing>,
    },
    /// The handshake ended with another pairing than the configuration's.
    #[error("negotiated the {negotiated} pairing instead of {expected}")]
    OtherPairing {
        /// The configuration's.
        expected: Pairing,
        /// The handshake's.
        negotiated: Pairing,
    },
    /// The configuration has suites or groups of another pairing, or none.
    #[error("the configuration is not of the {0} pairing alone")]
    MixedConfiguration(Pairing),
    /// Two configurations for one pairing, or none at all.
    #[error("a server needs one configuration for each pairing it serves")]
    Configurations,
    /// The configuration would take or send early data.
    #[error("early data is on")]
    EarlyData,
    /// The configuration would accept a client without a certificate.
    #[error("clients without a certificate would be accepted")]
    ClientsUnauthenticated,
    /// The handshake has not ended.
    #[error("the handshake has not ended")]
    HandshakeUnfinished,
    /// Not TLS 1.3.
    #[error("negotiated {0:?} instead of TLS 1.3")]
    Version(ProtocolVersion),
    /// The peer presented no certificate.
    #[error("the peer presented no certificate")]
    NoPeerCertificate,
    /// A certificate, but another peer's.
    #[error("the certificate names {found:?} instead of {expected:?}")]
    PeerName {
        /// The URI expected.
        expected: String,
        /// The certificate's only URI, when it has just one.
        found: Option<String>,
    },
    /// The clock gives no time to check certificates by.
    #[error("no time to check certificates by")]
    NoTime,
    /// The connection's secrets are not of [`crate::cipher_suite::TLS_SM4_GCM_SM3`].
    #[error("the secrets are not of TLS_SM4_GCM_SM3")]
    OtherSecrets,
    /// A root that cannot be read.
    #[error("the root cannot be read: {0}")]
    Root(ChainError),
    /// A set of client roots that is no use, in the standard pairing.
    #[error("the roots are of no use: {0}")]
    Roots(String),
    /// What rustls refused: among others a certificate or a signature.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}
