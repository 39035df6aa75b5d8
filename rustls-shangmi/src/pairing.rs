//! RFC 8998's strict pairing: a connection's suite, group and signature are ShangMi's, or none of them is. rustls chooses
//! each of the three alone, so the pairing is kept by configurations of one pairing, chosen from the ClientHello, and checked
//! after the handshake.

use std::fmt;

use pki_types::CertificateDer;
use rustls::{
    CipherSuite, CommonState, NamedGroup, ProtocolVersion, SignatureScheme, crypto::CryptoProvider,
    server::ClientHello,
};
use shangmi::chain::PUBLIC_KEY_ALGORITHM;

use crate::{Error, cipher_suite, key_exchange, signature};

/// What a connection's suite, group and signature belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pairing {
    /// TLS_SM4_GCM_SM3, curveSM2 and sm2sig_sm3.
    ShangMi,
    /// The suites of RFC 8446, with its groups and signatures.
    Standard,
}

impl Pairing {
    /// Both, the one preferred first.
    pub const ALL: [Self; 2] = [Self::ShangMi, Self::Standard];

    /// Of a suite; none for those of TLS 1.2 and unknown ones.
    #[must_use]
    pub fn of_suite(suite: CipherSuite) -> Option<Self> {
        match suite {
            cipher_suite::ID => Some(Self::ShangMi),
            CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS13_AES_256_GCM_SHA384
            | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS13_AES_128_CCM_SHA256
            | CipherSuite::TLS13_AES_128_CCM_8_SHA256 => Some(Self::Standard),
            _ => None,
        }
    }

    /// Of a group.
    #[must_use]
    pub fn of_group(group: NamedGroup) -> Self {
        if group == key_exchange::ID { Self::ShangMi } else { Self::Standard }
    }

    /// Of a signature scheme; none for those unknown.
    #[must_use]
    pub fn of_scheme(scheme: SignatureScheme) -> Option<Self> {
        match scheme {
            signature::SM2SIG_SM3 => Some(Self::ShangMi),
            SignatureScheme::Unknown(_) => None,
            _ => Some(Self::Standard),
        }
    }

    /// Of the key in a certificate; none when it cannot be read. A key allows the signatures of its own pairing only.
    #[must_use]
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
        let info = certificate.subject_public_key_info();
        // The identifier is unique enough to search for: it opens the structure, after its and its algorithm's header.
        let shangmi = info.get(..40).unwrap_or(&info).windows(PUBLIC_KEY_ALGORITHM.len());
        let is_shangmi = shangmi.into_iter().any(|window| window == PUBLIC_KEY_ALGORITHM.as_ref());
        Some(if is_shangmi { Self::ShangMi } else { Self::Standard })
    }

    /// Of a finished handshake.
    ///
    /// # Errors
    /// [`Error::MixedPairing`], [`Error::Version`] or [`Error::HandshakeUnfinished`].
    pub fn negotiated(connection: &CommonState) -> Result<Self, Error> {
        let (false, Some(version), Some(suite), Some(group)) = (
            connection.is_handshaking(),
            connection.protocol_version(),
            connection.negotiated_cipher_suite(),
            connection.negotiated_key_exchange_group(),
        ) else {
            return Err(Error::HandshakeUnfinished);
        };
        if version != ProtocolVersion::TLSv1_3 {
            return Err(Error::Version(version));
        }
        let (suite, group) = (suite.suite(), group.name());
        let certificate = connection.peer_certificates().and_then(|chain| chain.first());
        let peer_key = certificate.and_then(Self::of_certificate);
        let same = |pairing| certificate.is_none() || peer_key == Some(pairing);
        match Self::of_suite(suite) {
            Some(pairing) if Self::of_group(group) == pairing && same(pairing) => Ok(pairing),
            _ => Err(Error::MixedPairing { suite, group, peer_key }),
        }
    }

    /// Refuses a provider with a suite, group or signature of the other pairing.
    pub(crate) fn check_provider(self, provider: &CryptoProvider) -> Result<(), Error> {
        let suites = provider.cipher_suites.iter().map(|suite| Self::of_suite(suite.suite()));
        let groups = provider.kx_groups.iter().map(|group| Some(Self::of_group(group.name())));
        let mut parts = suites.chain(groups);
        let whole = !provider.cipher_suites.is_empty() && !provider.kx_groups.is_empty();
        if whole && parts.all(|part| part == Some(self)) {
            Ok(())
        } else {
            Err(Error::MixedConfiguration(self))
        }
    }
}

impl fmt::Display for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ShangMi => "ShangMi",
            Self::Standard => "standard",
        })
    }
}

/// Which parts of a pairing a ClientHello offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// A cipher suite.
    pub suite: bool,
    /// A key exchange.
    pub group: bool,
    /// A signature scheme.
    pub signature: bool,
}

impl Parts {
    /// Whether all are there.
    #[must_use]
    pub const fn are_whole(self) -> bool {
        self.suite && self.group && self.signature
    }
}

/// What a ClientHello offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Of ShangMi.
    pub shangmi: Parts,
    /// Of the standard pairing.
    pub standard: Parts,
}

impl Offer {
    /// Reads a ClientHello.
    #[must_use]
    pub fn read(hello: &ClientHello<'_>) -> Self {
        let mut offer = Self::default();
        for pairing in hello.cipher_suites().iter().filter_map(|suite| Pairing::of_suite(*suite)) {
            offer.parts_mut(pairing).suite = true;
        }
        for group in hello.named_groups().unwrap_or_default() {
            offer.parts_mut(Pairing::of_group(*group)).group = true;
        }
        for pairing in hello.signature_schemes().iter().filter_map(|scheme| Pairing::of_scheme(*scheme)) {
            offer.parts_mut(pairing).signature = true;
        }
        offer
    }

    /// The parts of one pairing.
    #[must_use]
    pub const fn parts(&self, pairing: Pairing) -> Parts {
        match pairing {
            Pairing::ShangMi => self.shangmi,
            Pairing::Standard => self.standard,
        }
    }

    const fn parts_mut(&mut self, pairing: Pairing) -> &mut Parts {
        match pairing {
            Pairing::ShangMi => &mut self.shangmi,
            Pairing::Standard => &mut self.standard,
        }
    }

    /// The pairing to serve: ShangMi before standard, whole, and served.
    ///
    /// # Errors
    /// [`Error::NoTls13`], [`Error::NotServed`] or [`Error::MixedOffer`].
    pub fn choose(&self, is_served: impl Fn(Pairing) -> bool) -> Result<Pairing, Error> {
        let whole = || Pairing::ALL.into_iter().filter(|pairing| self.parts(*pairing).are_whole());
        if let Some(pairing) = whole().find(|pairing| is_served(*pairing)) {
            return Ok(pairing);
        }
        if !self.shangmi.suite && !self.standard.suite {
            return Err(Error::NoTls13);
        }
        Err(whole().next().map_or(Error::MixedOffer(*self), Error::NotServed))
    }
}
