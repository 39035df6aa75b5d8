//! The part of `relayer check` that needs no chain: files, keys, certificates, journal.

use std::error::Error;

use cip22_wire::Address;

use super::{Finding, certificates};
use crate::config::Config;
use crate::deployment::Deployment;
use crate::disk::Disk;
use crate::error::with_causes;
use crate::gateway_key::GatewayKey;
use crate::journal::Journal;
use crate::journal::redb_log::RedbLog;

/// What was found, or why it will not do.
pub(super) type Outcome = Result<String, Box<dyn Error>>;

/// Every check. The configuration itself has been checked by loading it.
pub(super) fn all(disk: &dyn Disk, config: &Config, now_ms: u64) -> Vec<Finding> {
    let outcomes = [
        ("configuration", Ok("valid".into()), ""),
        (
            "gateway key",
            gateway_key(disk, config).map(|key| format!("0x{}", hex::encode(key.address()))),
            "see gateway.gateway_key_file: 64 hex digits, for its owner alone (chmod 600)",
        ),
        (
            "site secret",
            config.site_secret(disk).map(|_| "readable".into()).map_err(Into::into),
            "see gateway.site_secret_file: 64 hex digits, for its owner alone (chmod 600)",
        ),
        (
            "signer keys",
            signers(disk, config),
            "see chain.signer_key_files: each 64 hex digits, for its owner alone (chmod 600)",
        ),
        ("deployment", deployment(config), "take chain.deployment_file from the deployment script"),
        ("journal", journal(disk, config), "see journal.path and its folder; never start from an older copy"),
    ];
    let mut findings: Vec<Finding> = outcomes
        .into_iter()
        .map(|(name, outcome, mend)| match outcome {
            Ok(detail) => Finding::ok(name, detail),
            Err(error) => Finding::fail(name, with_causes(error.as_ref()), mend),
        })
        .collect();
    findings.extend(certificates::all(disk, config, now_ms));
    if config.dev {
        let detail = "--dev accepts key files that others may read".to_owned();
        findings.push(Finding::warn("key files", detail, "leave --dev out where keys are worth something"));
    }
    findings
}

pub(super) fn gateway_key(disk: &dyn Disk, config: &Config) -> Result<GatewayKey, Box<dyn Error>> {
    Ok(GatewayKey::from_bytes(config.gateway_key(disk)?.expose())?)
}

fn signers(disk: &dyn Disk, config: &Config) -> Outcome {
    let mut shown = Vec::new();
    for address in signer_addresses(disk, config)? {
        let address = format!("0x{}", hex::encode(address));
        if shown.contains(&address) {
            return Err(format!("chain.signer_key_files names {address} twice").into());
        }
        shown.push(address);
    }
    Ok(shown.join(" "))
}

/// The paying accounts.
pub(super) fn signer_addresses(disk: &dyn Disk, config: &Config) -> Result<Vec<Address>, Box<dyn Error>> {
    let mut addresses = Vec::new();
    for key in config.signer_keys(disk)? {
        addresses.push(GatewayKey::from_bytes(key.expose())?.address());
    }
    Ok(addresses)
}

fn deployment(config: &Config) -> Outcome {
    let deployment = Deployment::load(&config.chain.deployment_file)?;
    let verifier = hex::encode(deployment.verifier());
    Ok(format!("chain {}, verifier 0x{verifier}", deployment.chain_id))
}

/// A journal that is not there yet is made at the first start; here only its folder has to exist. One that a running relayer holds is
/// left to it.
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
    match RedbLog::open(path) {
        Ok(log) => Ok(format!("{} records", log.last()?)),
        Err(_) if is_running(config) => Ok("in use by the running relayer".into()),
        Err(error) => Err(error.into()),
    }
}

fn is_running(config: &Config) -> bool {
    std::os::unix::net::UnixStream::connect(&config.admin.socket).is_ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cip22_fleet::pki::shangmi::Authority;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, date_time_ymd};

    use super::super::Level;
    use super::*;
    use crate::config::TlsMode;
    use crate::disk::SystemDisk;
    use crate::edge::identity;

    /// 2030-01-01.
    const NOW_MS: u64 = 1_893_456_000_000;

    #[test]
    fn a_complete_installation_passes_every_check() {
        let site = Site::new(|_| {});
        assert_eq!(site.failures(), Vec::<String>::new());
        assert_eq!(site.findings(Level::Warn), Vec::<String>::new());
    }

    #[test]
    fn a_certificate_near_its_end_is_warned_of() {
        let in_four_days = date_time_ymd(2030, 1, 5);
        let site = Site::new(|params| params.not_after = in_four_days);
        assert_eq!(site.findings(Level::Warn), ["certificate age"]);
        assert_eq!(site.failures(), Vec::<String>::new());
    }

    #[test]
    fn keys_that_others_may_read_fail_and_are_warned_of_in_development() {
        use std::os::unix::fs::PermissionsExt;
        let mut site = Site::new(|_| {});
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&site.config.gateway.gateway_key_file, open).unwrap();
        assert_eq!(
            site.failures(),
            ["gateway key", "certificates"],
            "the certificate is held against the key"
        );
        site.config.dev = true;
        assert_eq!(site.failures(), Vec::<String>::new());
        assert_eq!(site.findings(Level::Warn), ["key files"]);
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
    fn each_pairing_of_the_mode_is_checked_and_no_other() {
        let mut site = Site::new(|_| {});
        site.config.tls.mode = TlsMode::Both;
        assert_eq!(site.failures(), ["ShangMi certificates"], "there are none");
        site.add_shangmi(&address());
        assert_eq!(site.failures(), Vec::<String>::new());
        site.add_shangmi(&[9; 20]);
        assert_eq!(site.failures(), ["ShangMi certificates"], "of another gateway");
        site.config.tls.mode = TlsMode::Standard;
        assert_eq!(site.failures(), Vec::<String>::new());
        site.add_shangmi(&address());
        site.config.tls.mode = TlsMode::ShangMi;
        std::fs::remove_file(&site.config.gateway.certificate).unwrap();
        assert_eq!(site.failures(), Vec::<String>::new(), "standard certificates are not needed");
    }

    #[test]
    fn a_certificate_of_one_pairing_fails_in_the_other() {
        let mut site = Site::new(|_| {});
        site.add_shangmi(&address());
        let (gateway, shangmi) = (site.config.gateway.clone(), site.config.tls.shangmi.clone());
        site.config.tls.mode = TlsMode::ShangMi;
        site.config.tls.shangmi.certificate = gateway.certificate;
        site.config.tls.shangmi.certificate_key = gateway.certificate_key;
        assert_eq!(site.failures(), ["ShangMi certificates"]);
        site.config.tls.mode = TlsMode::Standard;
        site.config.gateway.certificate = shangmi.certificate;
        site.config.gateway.certificate_key = shangmi.certificate_key;
        assert_eq!(site.failures(), ["certificates"]);
    }

    #[test]
    fn a_shangmi_key_that_others_may_read_fails_by_the_name_of_its_key() {
        use std::os::unix::fs::PermissionsExt;
        let mut site = Site::new(|_| {});
        site.add_shangmi(&address());
        site.config.tls.mode = TlsMode::Both;
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&site.config.tls.shangmi.certificate_key, open).unwrap();
        let failed = all(&SystemDisk, &site.config, NOW_MS);
        let failed = failed.iter().find(|finding| finding.level == Level::Fail).unwrap();
        assert!(failed.detail.starts_with("tls.shangmi.certificate_key "), "{}", failed.detail);
        let root = std::fs::read_to_string(&site.config.tls.shangmi.root).unwrap();
        write(&site.config.tls.shangmi.root, &root.repeat(2));
        site.config.dev = true;
        let failed = all(&SystemDisk, &site.config, NOW_MS);
        let failed = failed.iter().find(|finding| finding.level == Level::Fail).unwrap();
        assert!(failed.detail.starts_with("tls.shangmi.root holds 2 certificates"), "{}", failed.detail);
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
        folder: tempfile::TempDir,
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
            let address = address();
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
            Self { config, folder }
        }

        /// With files of the ShangMi pairing beside, for the gateway of an address.
        fn add_shangmi(&mut self, address: &Address) {
            let folder = self.folder.path();
            let authority = Authority::generate().unwrap();
            authority.write(folder).unwrap();
            let gateway = authority.issue_gateway(address, &["gateway.example".into()]).unwrap();
            gateway.write(folder, "sm2-gateway").unwrap();
            self.config.tls.shangmi.root = folder.join("sm2-root.pem");
            self.config.tls.shangmi.certificate = folder.join("sm2-gateway.pem");
            self.config.tls.shangmi.certificate_key = folder.join("sm2-gateway.key");
        }

        /// Names of the checks that fail.
        fn failures(&self) -> Vec<String> {
            self.findings(Level::Fail)
        }

        fn findings(&self, level: Level) -> Vec<String> {
            let findings = all(&SystemDisk, &self.config, NOW_MS);
            findings
                .into_iter()
                .filter(|finding| finding.level == level)
                .map(|finding| finding.name)
                .collect()
        }
    }

    fn address() -> Address {
        GatewayKey::from_bytes(&[1; 32]).unwrap().address()
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
