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
        ("signer keys", signers(disk, config)),
        ("certificates", certificates(disk, config)),
        ("deployment", deployment(config)),
        ("journal", journal(disk, config)),
    ]
}

fn gateway_key(disk: &dyn Disk, config: &Config) -> Result<GatewayKey, Box<dyn Error>> {
    Ok(GatewayKey::from_bytes(config.gateway_key(disk)?.expose())?)
}

fn signers(disk: &dyn Disk, config: &Config) -> Outcome {
    let mut addresses = Vec::new();
    for key in config.signer_keys(disk)? {
        let address = format!("0x{}", hex::encode(GatewayKey::from_bytes(key.expose())?.address()));
        if addresses.contains(&address) {
            return Err(format!("chain.signer_key_files names {address} twice").into());
        }
        addresses.push(address);
    }
    Ok(addresses.join(" "))
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, date_time_ymd};

    use super::*;
    use crate::disk::SystemDisk;

    #[test]
    fn a_complete_installation_passes_every_check() {
        let site = Site::new(|_| {});
        assert_eq!(site.failures(), Vec::<&str>::new());
    }

    #[test]
    fn a_certificate_of_another_gateways_address_fails() {
        let site = Site::new(|params| params.subject_alt_names[1] = uri(&[9; 20]));
        assert_eq!(site.failures(), ["certificates"]);
    }

    #[test]
    fn an_expired_certificate_fails() {
        let site = Site::new(|params| params.not_after = date_time_ymd(2020, 1, 1));
        assert_eq!(site.failures(), ["certificates"]);
    }

    #[test]
    fn a_certificate_of_another_root_fails() {
        let (site, other) = (Site::new(|_| {}), Site::new(|_| {}));
        std::fs::copy(&other.config.gateway.root, &site.config.gateway.root).unwrap();
        assert_eq!(site.failures(), ["certificates"]);
    }

    #[test]
    fn a_certificate_with_the_key_of_another_fails() {
        let (site, other) = (Site::new(|_| {}), Site::new(|_| {}));
        std::fs::copy(&other.config.gateway.certificate_key, &site.config.gateway.certificate_key).unwrap();
        assert_eq!(site.failures(), ["certificates"]);
    }

    #[test]
    fn missing_files_each_fail_their_own_check() {
        let site = Site::new(|_| {});
        std::fs::remove_file(&site.config.gateway.site_secret_file).unwrap();
        std::fs::remove_file(&site.config.chain.signer_key_files[0]).unwrap();
        std::fs::remove_file(&site.config.chain.deployment_file).unwrap();
        assert_eq!(site.failures(), ["site secret", "signer keys", "deployment"]);
    }

    #[test]
    fn a_signer_named_twice_fails() {
        let mut site = Site::new(|_| {});
        site.config.chain.signer_key_files.push(site.config.chain.signer_key_files[0].clone());
        assert_eq!(site.failures(), ["signer keys"]);
    }

    #[test]
    fn a_file_that_is_no_journal_fails() {
        let site = Site::new(|_| {});
        write(&site.config.journal.path, "not a journal");
        assert_eq!(site.failures(), ["journal"]);
    }

    /// An installation in a fresh folder.
    struct Site {
        config: Config,
        _folder: tempfile::TempDir,
    }

    impl Site {
        /// With the gateway's certificate changed.
        fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            let mut config = Config::default();
            config.gateway.root = at("root.pem");
            config.gateway.certificate = at("gateway.pem");
            config.gateway.certificate_key = at("gateway-tls.key");
            config.gateway.gateway_key_file = at("gateway.key");
            config.gateway.site_secret_file = at("site.key");
            config.chain.signer_key_files = vec![at("signer.key")];
            config.chain.deployment_file = at("deployment.json");
            config.journal.path = at("journal.redb");

            let root_key = KeyPair::generate().unwrap();
            let mut root = CertificateParams::default();
            root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            write(&config.gateway.root, &root.self_signed(&root_key).unwrap().pem());
            let address = GatewayKey::from_bytes(&[1; 32]).unwrap().address();
            let mut params = CertificateParams::default();
            params.subject_alt_names =
                vec![SanType::DnsName("gateway.example".try_into().unwrap()), uri(&address)];
            change(&mut params);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
            write(&config.gateway.certificate, &certificate.pem());
            write(&config.gateway.certificate_key, &key.serialize_pem());
            for path in [
                &config.gateway.gateway_key_file,
                &config.gateway.site_secret_file,
                &config.chain.signer_key_files[0],
            ] {
                write(path, &"01".repeat(32));
            }
            write(&config.chain.deployment_file, &deployment());
            Self { config, _folder: folder }
        }

        /// Names of the checks that fail.
        fn failures(&self) -> Vec<&'static str> {
            let outcomes = all(&SystemDisk, &self.config);
            outcomes.into_iter().filter(|(_, outcome)| outcome.is_err()).map(|(name, _)| name).collect()
        }
    }

    fn deployment() -> String {
        let address = format!("0x{}", "11".repeat(20));
        serde_json::json!({
            "chain_id": 1235, "start_block": 12, "epoch_len_blocks": 20, "ring_epochs": 32, "access_manager": address,
            "device_registry": address, "gateway_registry": address, "policy_registry": address, "battery_ledger": address,
            "policy_signer": address, "verifiers": [{ "address": address, "label": "v1" }],
        })
        .to_string()
    }

    fn uri(address: &cip22_wire::Address) -> SanType {
        SanType::URI(identity::gateway_uri(address).try_into().unwrap())
    }

    fn write(path: &Path, content: &str) {
        SystemDisk.write_atomic(path, content.as_bytes()).unwrap();
    }
}
