//! `cip22-fleet provision`: keys, identities and certificates of a fleet and of its gateway.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cip22_device_sdk::{bls::BlsKey, sign::SigningKey};
use cip22_wire::{Address, limits::GROUP_INDICES_MAX};
use rustls_shangmi::Pairing;
use zeroize::Zeroizing;

use crate::{
    clock::SystemEntropy,
    error::FleetError,
    files::write_private,
    manifest::{Manifest, Pile, Role, hex_bytes, hex_text},
    pki::{self, Issuer},
};

/// What to provision.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Folder for fleet.json, pki/, gateway.key and site.secret.
    #[arg(long)]
    pub out: PathBuf,
    /// Honest piles.
    #[arg(long, default_value_t = 100)]
    pub count: u32,
    /// Further piles for the scripted misbehaviour.
    #[arg(long, default_value_t = 0)]
    pub misbehaving: u32,
    /// Further piles that are to be revoked on chain before the run.
    #[arg(long, default_value_t = 0)]
    pub revoked: u32,
    /// Further piles that charge honestly and co-sign roots with a wrong key.
    #[arg(long, default_value_t = 0)]
    pub bad_batch_sig: u32,
    /// Further piles that charge honestly and close the connection when a root comes.
    #[arg(long, default_value_t = 0)]
    pub vanish_on_root: u32,
    /// Pairing of the piles' TLS.
    #[arg(long, value_enum, default_value_t)]
    pub tls: Tls,
    /// First group; each takes 224 piles.
    #[arg(long, default_value_t = 1)]
    pub group: u32,
    /// The gateway's address; without it, that of gateway.key, made if absent.
    #[arg(long, value_parser = hex_bytes::<20>)]
    pub gateway_address: Option<Address>,
    /// DNS names of the gateway.
    #[arg(long, default_value = "localhost", value_delimiter = ',')]
    pub dns: Vec<String>,
}

/// Pairing of the piles' TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Tls {
    /// P-256 certificates.
    #[default]
    Standard,
    /// SM2 certificates.
    #[value(name = "shangmi")]
    ShangMi,
    /// In turns: of each kind, the first pile standard, the second ShangMi, and so on.
    Mixed,
}

impl Tls {
    fn of_pile(self, number: u32) -> Pairing {
        match self {
            Self::Standard => Pairing::Standard,
            Self::ShangMi => Pairing::ShangMi,
            Self::Mixed if number.is_multiple_of(2) => Pairing::ShangMi,
            Self::Mixed => Pairing::Standard,
        }
    }

    fn pairings(self) -> &'static [Pairing] {
        match self {
            Self::Standard => &[Pairing::Standard],
            Self::ShangMi => &[Pairing::ShangMi],
            Self::Mixed => &Pairing::ALL,
        }
    }
}

/// Makes the fleet.
///
/// # Errors
/// `fleet.json` exists already, or a file cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), FleetError> {
    let out = &arguments.out;
    let path = out.join("fleet.json");
    if path.exists() {
        return Err(FleetError::Setting(format!("{} exists already", path.display())));
    }
    let pki = out.join("pki");
    fs::create_dir_all(&pki).map_err(FleetError::file(&pki))?;
    let gateway_key = secret_file(&out.join("gateway.key"))?;
    let gateway = match arguments.gateway_address {
        Some(address) => address,
        None => SigningKey::from_bytes(&gateway_key)?.address(),
    };
    secret_file(&out.join("site.secret"))?;

    let mut issuers = Vec::new();
    for pairing in arguments.tls.pairings() {
        let issuer = Issuer::load_or_generate(&pki, *pairing)?;
        let name = pki::file_name(*pairing, "gateway");
        issuer.issue_gateway(&gateway, &arguments.dns)?.write(&pki, &name)?;
        issuers.push((*pairing, issuer));
    }
    let roles = [
        ("pile", arguments.count, Role::Honest),
        ("misbehaving", arguments.misbehaving, Role::Misbehaving),
        ("revoked", arguments.revoked, Role::Revoked),
        ("bad-batch-sig", arguments.bad_batch_sig, Role::BadBatchSig),
        ("vanish-on-root", arguments.vanish_on_root, Role::VanishOnRoot),
    ];
    let mut piles = Vec::new();
    for (prefix, count, role) in roles {
        for number in 1..=count {
            let group = arguments.group
                + u32::try_from(piles.len()).unwrap_or(u32::MAX) / u32::from(GROUP_INDICES_MAX);
            let pairing = arguments.tls.of_pile(number);
            let (_, issuer) = issuers
                .iter()
                .find(|(issues, _)| *issues == pairing)
                .ok_or_else(|| FleetError::Setting(format!("nobody issues {pairing} certificates")))?;
            let name = format!("{prefix}-{number:04}");
            piles.push(pile((pairing, issuer), &pki, name, group, role)?);
        }
    }
    Manifest { piles }.store(&path)
}

fn pile(
    (pairing, issuer): (Pairing, &Issuer),
    pki: &Path,
    name: String,
    group: u32,
    role: Role,
) -> Result<Pile, FleetError> {
    let (key, secret) = random_key()?;
    let (device_id, battery) = (random_id()?, random_id()?);
    let file = pki::file_name(pairing, &name);
    issuer.issue_device(&device_id)?.write(pki, &file)?;
    // Who misbehaves is not there when a root comes.
    let co_signing = match role {
        Role::Misbehaving => None,
        _ => Some(BlsKey::random(&mut SystemEntropy)?),
    };
    Ok(Pile {
        bls_secret: co_signing.as_ref().map(|key| hex_text(&*key.to_bytes())),
        bls_key: co_signing.as_ref().map(|key| hex_text(&key.public_key())),
        bls_possession: None,
        device_id: hex_text(&device_id),
        key: hex_text(&*secret),
        address: hex_text(&key.address()),
        group,
        battery: hex_text(&battery),
        pairing,
        certificate: PathBuf::from(format!("pki/{file}.pem")),
        certificate_key: PathBuf::from(format!("pki/{file}.key")),
        name,
        role,
    })
}

fn random_key() -> Result<(SigningKey, Zeroizing<[u8; 32]>), FleetError> {
    loop {
        let secret = Zeroizing::new(random_id()?);
        // All but 2^-128 of the scalars are keys.
        if let Ok(key) = SigningKey::from_bytes(&secret) {
            return Ok((key, secret));
        }
    }
}

fn random_id() -> Result<[u8; 32], FleetError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Reads 32 bytes in hex, or makes them.
fn secret_file(path: &Path) -> Result<Zeroizing<[u8; 32]>, FleetError> {
    if path.exists() {
        let text = Zeroizing::new(fs::read_to_string(path).map_err(FleetError::file(path))?);
        let bytes = hex_bytes(text.trim()).map_err(|problem| FleetError::content(path, problem))?;
        return Ok(Zeroizing::new(bytes));
    }
    let (_, secret) = random_key()?;
    let text = Zeroizing::new(format!("{}\n", hex::encode(*secret)));
    write_private(path, text.as_bytes())?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::link::{Binding, Connector, Gateway};

    fn arguments(out: PathBuf, count: u32) -> Arguments {
        let dns = vec!["localhost".to_owned()];
        let (misbehaving, revoked, bad_batch_sig, vanish_on_root) = (1, 1, 1, 1);
        let (group, gateway_address, tls) = (7, None, Tls::Standard);
        Arguments {
            out,
            count,
            misbehaving,
            revoked,
            bad_batch_sig,
            vanish_on_root,
            tls,
            group,
            gateway_address,
            dns,
        }
    }

    #[test]
    fn a_fleet_loads_as_it_was_provisioned_and_keeps_its_keys_to_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        run(&arguments(folder.path().to_owned(), 225)).unwrap();
        let path = folder.path().join("fleet.json");
        let fleet = Manifest::load(&path).unwrap();
        assert_eq!(fleet.piles.len(), 229);
        assert_eq!((fleet.piles[223].group, fleet.piles[224].group), (7, 8), "224 piles a group");
        assert_eq!(fleet.piles[226].role, Role::Revoked);
        assert_eq!([227, 228].map(|at| fleet.piles[at].role), [Role::BadBatchSig, Role::VanishOnRoot]);
        let keys: HashSet<_> = fleet.piles.iter().filter_map(|pile| pile.bls_key.clone()).collect();
        assert_eq!(keys.len(), 228, "a key of its own for every pile that may co-sign");
        for file in ["fleet.json", "gateway.key", "site.secret", "pki/pile-0001.key", "pki/root.key"] {
            let mode = fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let before = fs::read(folder.path().join("gateway.key")).unwrap();
        assert!(run(&arguments(folder.path().to_owned(), 1)).is_err(), "a fleet is not overwritten");
        assert_eq!(fs::read(folder.path().join("gateway.key")).unwrap(), before);
    }

    #[test]
    fn piles_of_a_mixed_fleet_have_their_pairings_in_turns_each_under_its_own_root() {
        let folder = tempfile::tempdir().unwrap();
        run(&Arguments { tls: Tls::Mixed, ..arguments(folder.path().to_owned(), 3) }).unwrap();
        let fleet = Manifest::load(&folder.path().join("fleet.json")).unwrap();
        let pairings: Vec<_> = fleet.piles.iter().map(|pile| pile.pairing).collect();
        let (standard, shangmi) = (Pairing::Standard, Pairing::ShangMi);
        assert_eq!(pairings[..3], [standard, shangmi, standard]);
        let gateway = Gateway::new("h:1".into(), "localhost".into(), &folder.path().join("pki")).unwrap();
        for pile in &fleet.piles {
            Connector::new(&gateway, pile, Binding::Raw).unwrap();
        }
        let confused = Pile { pairing: shangmi, ..fleet.piles[0].clone() };
        assert!(Connector::new(&gateway, &confused, Binding::Raw).is_err(), "a P-256 key in ShangMi");
    }

    #[test]
    fn a_standard_fleet_has_no_files_and_no_fields_of_shangmi() {
        let folder = tempfile::tempdir().unwrap();
        run(&arguments(folder.path().to_owned(), 1)).unwrap();
        assert!(!folder.path().join("pki/sm2-root.pem").exists());
        assert!(!fs::read_to_string(folder.path().join("fleet.json")).unwrap().contains("pairing"));
    }

    #[test]
    fn an_address_that_is_not_the_keys_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        run(&arguments(folder.path().to_owned(), 1)).unwrap();
        let path = folder.path().join("fleet.json");
        let mut fleet = Manifest::load(&path).unwrap();
        fleet.piles[0].address = fleet.piles[1].address.clone();
        fleet.store(&path).unwrap();
        let error = Manifest::load(&path).unwrap_err().to_string();
        assert!(error.contains("pile-0001.address"), "{error}");
    }

    #[test]
    fn a_bls_key_that_is_not_the_secrets_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        run(&arguments(folder.path().to_owned(), 1)).unwrap();
        let path = folder.path().join("fleet.json");
        let mut fleet = Manifest::load(&path).unwrap();
        fleet.piles[0].bls_key = fleet.piles[3].bls_key.clone();
        fleet.store(&path).unwrap();
        let error = Manifest::load(&path).unwrap_err().to_string();
        assert!(error.contains("pile-0001.bls_key"), "{error}");
    }
}
