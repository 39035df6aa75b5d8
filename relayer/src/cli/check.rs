//! What `relayer check` checks.

use std::error::Error;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::Config;
use crate::deployment::Deployment;
use crate::disk::Disk;
use crate::edge::{identity, tls};
use crate::gateway_key::GatewayKey;
use crate::journal::Journal;
use crate::journal::redb_log::RedbLog;

/// What was found, or why it will not do.
pub(super) type Outcome = Result<String, Box<dyn Error>>;

/// Every check with its outcome. The configuration itself has been checked by loading it.
pub(super) fn all(disk: &dyn Disk, config: &Config) -> Vec<(&'static str, Outcome)> {
    vec![
        ("configuration", Ok("valid".into())),
        ("gateway key", gateway_key(disk, config).map(|key| format!("0x{}", hex::encode(key.address())))),
        ("site secret", config.site_secret(disk).map(|_| "readable".into()).map_err(Into::into)),
        ("signer key", signer(disk, config)),
        ("certificates", certificates(disk, config)),
        ("deployment", deployment(config)),
        ("journal", journal(disk, config)),
    ]
}

fn gateway_key(disk: &dyn Disk, config: &Config) -> Result<GatewayKey, Box<dyn Error>> {
    Ok(GatewayKey::from_bytes(config.gateway_key(disk)?.expose())?)
}

fn signer(disk: &dyn Disk, config: &Config) -> Outcome {
    let key = GatewayKey::from_bytes(config.signer_key(disk)?.expose())?;
    Ok(format!("0x{}", hex::encode(key.address())))
}

/// Files parse, key and certificate belong together, the leaf is in date and names our address, and a pile that trusts `root`
/// would accept it.
fn certificates(disk: &dyn Disk, config: &Config) -> Outcome {
    let credentials = tls::Credentials::load(disk, config)?;
    let (chain, roots) = (credentials.chain.clone(), credentials.roots.clone());
    let leaf = chain.first().ok_or("the certificate file is empty")?;
    let named = identity::gateway(leaf)?;
    let key = gateway_key(disk, config)?;
    if named != key.address() {
        let (named, ours) = (hex::encode(named), hex::encode(key.address()));
        return Err(
            format!("the certificate names 0x{named}, but gateway.gateway_key_file is 0x{ours}").into()
        );
    }
    chain_to_root(&chain, roots)?;
    tls::server_config(credentials)?;
    let (_, parsed) = X509Certificate::from_der(leaf)?;
    Ok(format!("names 0x{}, valid until {}", hex::encode(named), parsed.validity().not_after))
}

fn chain_to_root(
    chain: &[CertificateDer<'_>],
    roots: Vec<CertificateDer<'static>>,
) -> Result<(), Box<dyn Error>> {
    let mut store = rustls::RootCertStore::empty();
    for root in roots {
        store.add(root)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let store = Arc::new(store);
    let (leaf, intermediates) = chain.split_first().ok_or("the certificate file is empty")?;
    // The DNS names are those of the certificate itself: which one piles use is theirs to know.
    let name = dns_name(leaf)?;
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(store, provider).build()?;
    verifier.verify_server_cert(leaf, intermediates, &name, &[], UnixTime::now())?;
    Ok(())
}

fn dns_name(leaf: &CertificateDer<'_>) -> Result<rustls_pki_types::ServerName<'static>, Box<dyn Error>> {
    let (_, parsed) = X509Certificate::from_der(leaf)?;
    let names =
        parsed.subject_alternative_name()?.ok_or("the certificate has no subject alternative name")?;
    let name = names.value.general_names.iter().find_map(|name| match name {
        x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    Ok(rustls_pki_types::ServerName::try_from(name.ok_or("the certificate has no DNS name")?)?)
}

fn deployment(config: &Config) -> Outcome {
    let deployment = Deployment::load(&config.chain.deployment_file)?;
    let verifier = hex::encode(deployment.verifier());
    Ok(format!("chain {}, verifier 0x{verifier}", deployment.chain_id))
}

/// A journal that is not there yet is made at the first start; here only its folder has to exist.
fn journal(disk: &dyn Disk, config: &Config) -> Outcome {
    let path = &config.journal.path;
    if !disk.exists(path) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        return match folder {
            Some(folder) if !disk.exists(folder) => {
                Err(format!("folder {} is missing", folder.display()).into())
            }
            _ => Ok("will be made at the first start".into()),
        };
    }
    Ok(format!("{} records", RedbLog::open(path)?.last()?))
}
