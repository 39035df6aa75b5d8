//! A server with one configuration for each pairing, chosen from the ClientHello. Clients always present a certificate.

use std::{fmt, io, sync::Arc};

use pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    CommonState, ServerConfig,
    crypto::CryptoProvider,
    server::{
        Accepted, AcceptedAlert, ClientHello, NoServerSessionStorage, ServerConnection,
        ServerSessionMemoryCache, danger::ClientCertVerifier,
    },
    version::TLS13,
};

use crate::{
    Checked, Error, Options, Pairing,
    chain::PinnedRoot,
    pairing::Offer,
    peer::{check, redacted},
    provider,
};

/// One pairing of a server.
#[derive(Clone)]
pub struct Configuration {
    pairing: Pairing,
    config: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Configuration {
    /// ShangMi, for clients under a pinned root. `chain` begins with the server's certificate; `key` is PKCS #8.
    ///
    /// # Errors
    /// A key that is not of curveSM2, or not the certificate's.
    pub fn shangmi(
        clients: PinnedRoot,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        options: &Options,
    ) -> Result<Self, Error> {
        Self::new(Pairing::ShangMi, provider(), Arc::new(clients), chain, key, options)
    }

    /// Standard TLS 1.3 by `ring`, for clients under some roots.
    ///
    /// # Errors
    /// Roots, a key or a certificate that are of no use.
    #[cfg(feature = "standard")]
    pub fn standard(
        clients: rustls::RootCertStore,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        options: &Options,
    ) -> Result<Self, Error> {
        let provider = crate::client::standard_provider();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(clients),
            Arc::new(provider.clone()),
        )
        .build()
        .map_err(|error| Error::Roots(error.to_string()))?;
        Self::new(Pairing::Standard, provider, verifier, chain, key, options)
    }

    fn new(
        pairing: Pairing,
        provider: CryptoProvider,
        verifier: Arc<dyn ClientCertVerifier>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        options: &Options,
    ) -> Result<Self, Error> {
        let mut config = ServerConfig::builder_with_details(Arc::new(provider), options.time.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier.clone())
            .with_single_cert(chain, key)?;
        if options.sessions == 0 {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        } else {
            config.session_storage = ServerSessionMemoryCache::new(options.sessions);
        }
        config.alpn_protocols.clone_from(&options.alpn_protocols);
        config.enable_secret_extraction = options.secret_extraction;
        Self::from_config(pairing, config, verifier)
    }

    /// A configuration made elsewhere, with the verifier that it has. It must be of the pairing alone, take no early data,
    /// and demand a certificate.
    ///
    /// # Errors
    /// [`Error::MixedConfiguration`], [`Error::EarlyData`] or [`Error::ClientsUnauthenticated`].
    pub fn from_config(
        pairing: Pairing,
        config: ServerConfig,
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> Result<Self, Error> {
        pairing.check_provider(config.crypto_provider())?;
        if config.max_early_data_size != 0 {
            return Err(Error::EarlyData);
        }
        if !verifier.offer_client_auth() || !verifier.client_auth_mandatory() {
            return Err(Error::ClientsUnauthenticated);
        }
        let mut schemes = verifier.supported_verify_schemes().into_iter().map(Pairing::of_scheme);
        if !schemes.all(|scheme| scheme == Some(pairing)) {
            return Err(Error::MixedConfiguration(pairing));
        }
        Ok(Self { pairing, config: Arc::new(config), verifier })
    }
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        redacted(f, "Configuration", self.pairing)
    }
}

/// A server of one or both pairings.
///
/// With an asynchronous acceptor: read the ClientHello (`rustls::server::Acceptor`, or tokio-rustls's
/// `LazyConfigAcceptor`), go on with [`Server::choose`]'s configuration, and after the handshake ask [`Server::check`]
/// before anything of the connection counts.
#[derive(Clone, Debug)]
pub struct Server {
    first: Configuration,
    second: Option<Configuration>,
}

impl Server {
    /// Of configurations, at most one for each pairing.
    ///
    /// # Errors
    /// [`Error::Configurations`].
    pub fn new(configurations: impl IntoIterator<Item = Configuration>) -> Result<Self, Error> {
        let mut configurations = configurations.into_iter();
        let first = configurations.next().ok_or(Error::Configurations)?;
        let second = configurations.next();
        let twice = second.as_ref().is_some_and(|second| second.pairing == first.pairing);
        if twice || configurations.next().is_some() {
            return Err(Error::Configurations);
        }
        Ok(Self { first, second })
    }

    /// The configuration for a client: ShangMi when it offers that whole, else standard when it offers that whole.
    ///
    /// # Errors
    /// [`Error::NoTls13`], [`Error::NotServed`] or [`Error::MixedOffer`].
    pub fn choose(&self, hello: &ClientHello<'_>) -> Result<Arc<ServerConfig>, Error> {
        let pairing = Offer::read(hello).choose(|pairing| self.configuration(pairing).is_some())?;
        self.configuration(pairing)
            .map(|configuration| configuration.config.clone())
            .ok_or(Error::NotServed(pairing))
    }

    /// Begins a connection with the configuration chosen for its ClientHello.
    ///
    /// # Errors
    /// What [`Server::choose`] or rustls refuses, with the alert to send.
    pub fn accept(&self, accepted: Accepted) -> Result<ServerConnection, Box<Refused>> {
        let chosen = self.choose(&accepted.client_hello());
        // A ClientHello that is refused goes to a configuration all the same: it makes the alert.
        let config = chosen.as_ref().unwrap_or(&self.first.config).clone();
        match (chosen, accepted.into_connection(config)) {
            (Ok(_), Ok(connection)) => Ok(connection),
            (Err(error), Ok(_)) => Err(Box::new(Refused { error, alert: None })),
            (chosen, Err((error, alert))) => {
                let error = chosen.err().unwrap_or(Error::Tls(error));
                Err(Box::new(Refused { error, alert: Some(alert) }))
            }
        }
    }

    /// Checks a finished handshake: suite, group and certificate are of the one pairing, and the client's certificate still
    /// holds if the session was resumed.
    ///
    /// # Errors
    /// [`Error::MixedPairing`] and its like; [`Error::Tls`] for a certificate that does not hold any more.
    pub fn check(&self, connection: &CommonState) -> Result<Checked, Error> {
        let pairing = Pairing::negotiated(connection)?;
        let configuration = self.configuration(pairing).ok_or(Error::NotServed(pairing))?;
        check(connection, pairing, &*configuration.config.time_provider, |end_entity, intermediates, now| {
            configuration.verifier.verify_client_cert(end_entity, intermediates, now).map(drop)
        })
    }

    fn configuration(&self, pairing: Pairing) -> Option<&Configuration> {
        [Some(&self.first), self.second.as_ref()]
            .into_iter()
            .flatten()
            .find(|configuration| configuration.pairing == pairing)
    }
}

/// A ClientHello that was refused.
pub struct Refused {
    error: Error,
    alert: Option<AcceptedAlert>,
}

impl Refused {
    /// Why.
    #[must_use]
    pub const fn error(&self) -> &Error {
        &self.error
    }

    /// Writes the alert that tells the client.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_alert(&mut self, writer: &mut dyn io::Write) -> io::Result<()> {
        self.alert.as_mut().map_or(Ok(()), |alert| alert.write_all(writer))
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Refused").field(&self.error).finish()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
