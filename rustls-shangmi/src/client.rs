//! A client of one pairing. It presents a certificate, and offers nothing of the other pairing.

use std::{fmt, sync::Arc};

use pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, CommonState,
    client::{ClientConnection, Resumption, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    version::TLS13,
};

use crate::{
    Checked, Error, Options, Pairing,
    chain::PinnedRoot,
    peer::{check, redacted},
    provider,
};

/// A client.
#[derive(Clone)]
pub struct Client {
    pairing: Pairing,
    config: Arc<ClientConfig>,
    verifier: Arc<dyn ServerCertVerifier>,
}

impl Client {
    /// ShangMi, for servers under a pinned root. `chain` begins with the client's certificate; `key` is PKCS #8.
    ///
    /// # Errors
    /// A key that is not of curveSM2, or not the certificate's.
    pub fn shangmi(
        servers: PinnedRoot,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        options: &Options,
    ) -> Result<Self, Error> {
        Self::new(Pairing::ShangMi, provider(), Arc::new(servers), chain, key, options)
    }

    /// Standard TLS 1.3 by `ring`, for servers under some roots.
    ///
    /// # Errors
    /// Roots, a key or a certificate that are of no use.
    #[cfg(feature = "standard")]
    pub fn standard(
        servers: rustls::RootCertStore,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        options: &Options,
    ) -> Result<Self, Error> {
        let provider = standard_provider();
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
            Arc::new(servers),
            Arc::new(provider.clone()),
        )
        .build()
        .map_err(|error| Error::Roots(error.to_string()))?;
        Self::new(Pairing::Standard, provider, verifier, chain, key, options)
    }

    fn new(
        pairing: Pairing,
        provider: CryptoProvider,
        verifier: Arc<dyn ServerCertVerifier>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        options: &Options,
    ) -> Result<Self, Error> {
        let mut config = ClientConfig::builder_with_details(Arc::new(provider), options.time.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_auth_cert(chain, key)?;
        config.resumption = match options.sessions {
            0 => Resumption::disabled(),
            sessions => Resumption::in_memory_sessions(sessions),
        };
        config.alpn_protocols.clone_from(&options.alpn_protocols);
        config.enable_secret_extraction = options.secret_extraction;
        Self::from_config(pairing, config, verifier)
    }

    /// A configuration made elsewhere, with the verifier that it has. It must be of the pairing alone and send no early data.
    ///
    /// # Errors
    /// [`Error::MixedConfiguration`] or [`Error::EarlyData`].
    pub fn from_config(
        pairing: Pairing,
        config: ClientConfig,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<Self, Error> {
        pairing.check_provider(config.crypto_provider())?;
        if config.enable_early_data {
            return Err(Error::EarlyData);
        }
        let mut schemes = verifier.supported_verify_schemes().into_iter().map(Pairing::of_scheme);
        if !schemes.all(|scheme| scheme == Some(pairing)) {
            return Err(Error::MixedConfiguration(pairing));
        }
        Ok(Self { pairing, config: Arc::new(config), verifier })
    }

    /// The configuration, for an asynchronous connector. [`Client::check`] is due after the handshake.
    #[must_use]
    pub const fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Begins a connection.
    ///
    /// # Errors
    /// rustls's.
    pub fn connect(&self, server: ServerName<'static>) -> Result<ClientConnection, Error> {
        Ok(ClientConnection::new(self.config.clone(), server)?)
    }

    /// Checks a finished handshake: suite, group and certificate are of the client's pairing, and the server's certificate
    /// still holds, and for this name, if the session was resumed.
    ///
    /// # Errors
    /// [`Error::MixedPairing`] and its like; [`Error::Tls`] for a certificate that does not hold any more.
    pub fn check(&self, connection: &CommonState, server: &ServerName<'_>) -> Result<Checked, Error> {
        check(connection, self.pairing, &*self.config.time_provider, |end_entity, intermediates, now| {
            self.verifier.verify_server_cert(end_entity, intermediates, server, &[], now).map(drop)
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        redacted(f, "Client", self.pairing)
    }
}

/// `ring`'s suites of TLS 1.3.
#[cfg(feature = "standard")]
pub(crate) fn standard_provider() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| Pairing::of_suite(suite.suite()).is_some());
    provider
}
