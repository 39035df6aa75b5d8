//! `fleet.json`: who the piles are (docs/architecture.md, "Parts that meet in files").

use std::{
    fmt,
    path::{Path, PathBuf},
};

use cip22_device_sdk::{bls::BlsKey, sign::SigningKey};
use cip22_wire::{Address, BatteryId, DeviceId};
use rustls_shangmi::Pairing;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{error::FleetError, files};

/// The piles of a fleet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// In the order of their numbers.
    pub piles: Vec<Pile>,
}

/// One pile: its identity, its battery, its certificate.
#[derive(Clone, Serialize, Deserialize)]
pub struct Pile {
    /// `pile-0001`.
    pub name: String,
    /// `0x` and 64 hex digits.
    pub device_id: String,
    /// Secret key, `0x` and 64 hex digits.
    pub key: String,
    /// Address of the key, `0x` and 40 hex digits.
    pub address: String,
    /// Group it is registered in.
    pub group: u32,
    /// Battery at the pile, `0x` and 64 hex digits.
    pub battery: String,
    /// Pairing of its TLS, `standard` or `shangmi`; absent: standard.
    #[serde(default = "standard", skip_serializing_if = "is_standard", with = "pairing_name")]
    pub pairing: Pairing,
    /// Certificate, PEM, relative to the manifest's folder.
    pub certificate: PathBuf,
    /// Key of the certificate, PEM, relative to the manifest's folder.
    pub certificate_key: PathBuf,
    /// Secret key with which it co-signs roots, `0x` and 64 hex digits; absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bls_secret: Option<String>,
    /// Its public key x.c0 ‖ x.c1 ‖ y.c0 ‖ y.c1, `0x` and 384 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bls_key: Option<String>,
    /// Proof of its possession x ‖ y for one deployment, `0x` and 192 hex digits; written by `cip22-fleet possess`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bls_possession: Option<String>,
    /// What it is for; absent: an honest pile.
    #[serde(default, skip_serializing_if = "Role::is_honest")]
    pub role: Role,
}

/// What a pile of the fleet is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Follows the protocol.
    #[default]
    Honest,
    /// Plays the scripted misbehaviour.
    Misbehaving,
    /// Is to be revoked on chain before the run, and plays that.
    Revoked,
    /// Honest, but co-signs roots with another key than the enrolled one, for ever.
    BadBatchSig,
    /// Honest, but closes the connection whenever a root to co-sign comes.
    VanishOnRoot,
}

impl Role {
    /// Whether it charges as the protocol says, so that its authorizations count.
    #[must_use]
    pub fn charges(self) -> bool {
        matches!(self, Self::Honest | Self::BadBatchSig | Self::VanishOnRoot)
    }

    fn is_honest(&self) -> bool {
        *self == Self::Honest
    }
}

impl Manifest {
    /// Reads and checks `path`; the paths in it are then relative to the current folder.
    ///
    /// # Errors
    /// The file, or the field at fault.
    pub fn load(path: &Path) -> Result<Self, FleetError> {
        let mut manifest = Self::read(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for pile in &mut manifest.piles {
            pile.certificate = folder.join(&pile.certificate);
            pile.certificate_key = folder.join(&pile.certificate_key);
        }
        Ok(manifest)
    }

    /// Reads and checks `path` as it stands, so that it may be stored again.
    ///
    /// # Errors
    /// The file, or the field at fault.
    pub fn read(path: &Path) -> Result<Self, FleetError> {
        let text = std::fs::read_to_string(path).map_err(FleetError::file(path))?;
        let manifest: Self = serde_json::from_str(&text).map_err(|error| FleetError::content(path, error))?;
        for pile in &manifest.piles {
            pile.check().map_err(|problem| FleetError::content(path, problem))?;
        }
        Ok(manifest)
    }

    /// Writes `path`, readable by its owner only.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn store(&self, path: &Path) -> Result<(), FleetError> {
        let mut text =
            serde_json::to_string_pretty(self).map_err(|error| FleetError::content(path, error))?;
        text.push('\n');
        files::write_private(path, text.as_bytes())
    }
}

impl Pile {
    fn check(&self) -> Result<(), String> {
        let Self { name, device_id, key, battery, .. } = self;
        hex_bytes::<32>(device_id).map_err(|problem| format!("{name}.device_id: {problem}"))?;
        hex_bytes::<32>(battery).map_err(|problem| format!("{name}.battery: {problem}"))?;
        let secret =
            Zeroizing::new(hex_bytes::<32>(key).map_err(|problem| format!("{name}.key: {problem}"))?);
        let signing = SigningKey::from_bytes(&secret).map_err(|error| format!("{name}.key: {error}"))?;
        let address: Address =
            hex_bytes(&self.address).map_err(|problem| format!("{name}.address: {problem}"))?;
        if signing.address() != address {
            return Err(format!("{name}.address is not the key's"));
        }
        let co_signing = self.bls_key().map_err(|error| format!("{name}.bls_secret: {error}"))?;
        if let (Some(key), Some(text)) = (&co_signing, &self.bls_key) {
            let public = hex_bytes::<192>(text).map_err(|problem| format!("{name}.bls_key: {problem}"))?;
            if key.public_key() != public {
                return Err(format!("{name}.bls_key is not the secret's"));
            }
        }
        Ok(())
    }

    /// Identity.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        hex_bytes(&self.device_id).unwrap_or_default()
    }

    /// Battery.
    #[must_use]
    pub fn battery(&self) -> BatteryId {
        hex_bytes(&self.battery).unwrap_or_default()
    }

    /// Key.
    ///
    /// # Errors
    /// It is no secret key of the curve.
    pub fn signing_key(&self) -> Result<SigningKey, FleetError> {
        let secret = Zeroizing::new(
            hex_bytes::<32>(&self.key)
                .map_err(|problem| FleetError::Setting(format!("{}.key: {problem}", self.name)))?,
        );
        Ok(SigningKey::from_bytes(&secret)?)
    }

    /// Key with which it co-signs roots, if it does.
    ///
    /// # Errors
    /// It is no secret key of the curve.
    pub fn bls_key(&self) -> Result<Option<BlsKey>, FleetError> {
        let Some(text) = &self.bls_secret else { return Ok(None) };
        let secret = Zeroizing::new(
            hex_bytes::<32>(text)
                .map_err(|problem| FleetError::Setting(format!("{}.bls_secret: {problem}", self.name)))?,
        );
        Ok(Some(BlsKey::from_bytes(&secret)?))
    }
}

impl fmt::Debug for Pile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pile")
            .field("name", &self.name)
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

fn standard() -> Pairing {
    Pairing::Standard
}

fn is_standard(pairing: &Pairing) -> bool {
    *pairing == Pairing::Standard
}

/// A pairing as the manifest names it.
mod pairing_name {
    use rustls_shangmi::Pairing;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Name {
        Standard,
        ShangMi,
    }

    pub(super) fn serialize<S: Serializer>(pairing: &Pairing, serializer: S) -> Result<S::Ok, S::Error> {
        let name = match pairing {
            Pairing::Standard => Name::Standard,
            Pairing::ShangMi => Name::ShangMi,
        };
        name.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pairing, D::Error> {
        Ok(match Name::deserialize(deserializer)? {
            Name::Standard => Pairing::Standard,
            Name::ShangMi => Pairing::ShangMi,
        })
    }
}

/// `N` bytes of `0x` and 2N hex digits; the `0x` may be absent.
///
/// # Errors
/// What is wrong, without the text.
pub fn hex_bytes<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let mut out = [0; N];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut out)
        .map_err(|error| format!("not {N} bytes in hex: {error}"))?;
    Ok(out)
}

/// `0x` and hex digits.
#[must_use]
pub fn hex_text(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}
