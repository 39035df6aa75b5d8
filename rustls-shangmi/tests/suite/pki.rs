//! The fixtures that `tests/pki/generate.py` wrote.

use std::{sync::Arc, sync::atomic::AtomicU64, sync::atomic::Ordering, time::Duration};

use pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use rustls::{RootCertStore, time_provider::TimeProvider};
use rustls_shangmi::{Client, Options, Server, chain::PinnedRoot, server::Configuration};

/// 2030-01-01; the certificates are valid for a hundred years from 2026.
pub(crate) const NOW: u64 = 1_893_456_000;
pub(crate) const BEFORE: u64 = 1_700_000_000;
pub(crate) const AFTER: u64 = NOW + 200 * 31_536_000;
pub(crate) const DEVICE_1: &str = "urn:cip22:device:01";

pub(crate) fn path(file: &str) -> String {
    format!("{}/tests/pki/{file}", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn chain(name: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path(&format!("{name}.pem"))).unwrap().map(Result::unwrap).collect()
}

pub(crate) fn key(name: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(path(&format!("{name}.key"))).unwrap()
}

pub(crate) fn root(name: &str) -> PinnedRoot {
    PinnedRoot::from_der(&chain(name)[0]).unwrap()
}

pub(crate) fn roots(name: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(chain(name)[0].clone()).unwrap();
    roots
}

pub(crate) fn gateway() -> ServerName<'static> {
    ServerName::try_from("gateway.example").unwrap()
}

/// A clock that stands still until it is set.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn at(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    pub(crate) fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

pub(crate) fn options_at(clock: &Clock) -> Options {
    Options { sessions: 8, time: Arc::new(clock.clone()), ..Options::default() }
}

pub(crate) fn options() -> Options {
    options_at(&Clock::at(NOW))
}

pub(crate) fn shangmi_configuration(options: &Options) -> Configuration {
    Configuration::shangmi(root("root"), chain("gateway"), key("gateway"), options).unwrap()
}

pub(crate) fn standard_configuration(options: &Options) -> Configuration {
    let roots = roots("standard_root");
    Configuration::standard(roots, chain("standard_gateway"), key("standard_gateway"), options).unwrap()
}

pub(crate) fn shangmi_server() -> Server {
    Server::new([shangmi_configuration(&options())]).unwrap()
}

pub(crate) fn both_server() -> Server {
    Server::new([standard_configuration(&options()), shangmi_configuration(&options())]).unwrap()
}

pub(crate) fn shangmi_client(name: &str) -> Client {
    Client::shangmi(root("root"), chain(name), key(name), &options()).unwrap()
}

pub(crate) fn standard_client() -> Client {
    let roots = roots("standard_root");
    Client::standard(roots, chain("standard_device"), key("standard_device"), &options()).unwrap()
}
