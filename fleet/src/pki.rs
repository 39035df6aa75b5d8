//! Development certificates (protocol §1): a root for each pairing, the gateway's, one for each pile.
//!
//! A production root lives in an HSM; these lie beside what they sign.

use std::{fs, path::Path};

use cip22_wire::{Address, DeviceId};
use rustls_shangmi::Pairing;
use zeroize::Zeroizing;

use crate::{error::FleetError, files};

pub mod shangmi;
pub mod standard;

/// A certificate and its key, both PEM.
pub struct Issued {
    /// Certificate; of a ShangMi pile or gateway, its CA's follows.
    pub certificate: String,
    /// Key, PKCS #8.
    pub key: Zeroizing<String>,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Issued {
    /// Writes `<name>.pem` and `<name>.key` (0600) into `folder`. Does not wait for the disk: they can be made again.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(), FleetError> {
        files::write_state(&folder.join(format!("{name}.key")), self.key.as_bytes())?;
        files::write_state(&folder.join(format!("{name}.pem")), self.certificate.as_bytes())
    }
}

/// Which pairings certificates are made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Pairings {
    /// P-256.
    #[default]
    Standard,
    /// SM2.
    #[value(name = "shangmi")]
    ShangMi,
    /// Both, each under a root of its own.
    Both,
}

impl Pairings {
    /// One by one.
    #[must_use]
    pub fn all(self) -> &'static [Pairing] {
        match self {
            Self::Standard => &[Pairing::Standard],
            Self::ShangMi => &[Pairing::ShangMi],
            Self::Both => &[Pairing::Standard, Pairing::ShangMi],
        }
    }
}

/// Who issues the certificates of one pairing.
#[derive(Debug)]
pub enum Issuer {
    /// A root.
    Standard(Box<standard::Root>),
    /// A CA under a root.
    ShangMi(Box<shangmi::Authority>),
}

impl Issuer {
    /// A new one.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn generate(pairing: Pairing) -> Result<Self, FleetError> {
        Ok(match pairing {
            Pairing::Standard => Self::Standard(Box::new(standard::Root::generate()?)),
            Pairing::ShangMi => Self::ShangMi(Box::new(shangmi::Authority::generate()?)),
        })
    }

    /// That of `folder`, made if absent.
    ///
    /// # Errors
    /// Files that cannot be read or written, or hold something else.
    pub fn load_or_generate(folder: &Path, pairing: Pairing) -> Result<Self, FleetError> {
        Ok(match pairing {
            Pairing::Standard => Self::Standard(Box::new(standard::Root::load_or_generate(folder)?)),
            Pairing::ShangMi => Self::ShangMi(Box::new(shangmi::Authority::load_or_generate(folder)?)),
        })
    }

    /// A gateway's certificate: its address as URI, and `dns` names.
    ///
    /// # Errors
    /// A DNS name is not ASCII.
    pub fn issue_gateway(&self, address: &Address, dns: &[String]) -> Result<Issued, FleetError> {
        match self {
            Self::Standard(root) => root.issue_gateway(address, dns),
            Self::ShangMi(authority) => authority.issue_gateway(address, dns),
        }
    }

    /// A pile's certificate: its device id as URI.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn issue_device(&self, device_id: &DeviceId) -> Result<Issued, FleetError> {
        match self {
            Self::Standard(root) => root.issue_device(device_id),
            Self::ShangMi(authority) => authority.issue_device(device_id),
        }
    }
}

/// Name of a file of a pairing: with `sm2-` before it in ShangMi's.
#[must_use]
pub fn file_name(pairing: Pairing, name: &str) -> String {
    match pairing {
        Pairing::Standard => name.to_owned(),
        Pairing::ShangMi => format!("sm2-{name}"),
    }
}

/// What `cip22-fleet pki` is asked for.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder for the files; a root already in it is used again.
    #[arg(long)]
    pub out: std::path::PathBuf,
    /// Which pairings of TLS; the names of ShangMi's files begin with sm2-.
    #[arg(long, value_enum, default_value_t)]
    pub pairing: Pairings,
    /// Address of the gateway's secp256k1 key; makes gateway.pem and gateway.key.
    #[arg(long, value_parser = parse_hex::<20>)]
    pub gateway_address: Option<Address>,
    /// DNS name of the gateway; may be repeated.
    #[arg(long, default_value = "localhost")]
    pub dns: Vec<String>,
    /// Device id; makes device-ID.pem and .key; may be repeated.
    #[arg(long, value_parser = parse_hex::<32>)]
    pub device: Vec<DeviceId>,
}

/// Makes the certificates asked for.
///
/// # Errors
/// As [`Issuer`]'s.
pub fn run(arguments: &Arguments) -> Result<(), FleetError> {
    let out = &arguments.out;
    fs::create_dir_all(out).map_err(FleetError::file(out))?;
    for pairing in arguments.pairing.all() {
        let issuer = Issuer::load_or_generate(out, *pairing)?;
        if let Some(address) = &arguments.gateway_address {
            issuer.issue_gateway(address, &arguments.dns)?.write(out, &file_name(*pairing, "gateway"))?;
        }
        for device_id in &arguments.device {
            let name = file_name(*pairing, &format!("device-{}", hex::encode(device_id)));
            issuer.issue_device(device_id)?.write(out, &name)?;
        }
    }
    Ok(())
}

fn device_uri(device_id: &DeviceId) -> String {
    format!("urn:cip22:device:{}", hex::encode(device_id))
}

fn gateway_uri(address: &Address) -> String {
    format!("urn:cip22:gateway:0x{}", hex::encode(address))
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)
        .map_err(|_| format!("has to be {} hex digits", 2 * N))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn key_files_are_readable_by_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = Arguments {
            out: folder.path().to_owned(),
            pairing: Pairings::Both,
            gateway_address: Some([1; 20]),
            dns: vec!["localhost".into()],
            device: vec![[2; 32]],
        };
        run(&arguments).unwrap();
        let device = format!("device-{}.key", "02".repeat(32));
        let shangmi = format!("sm2-{device}");
        let standard = ["root.key", "gateway.key", &device];
        for name in standard.iter().chain(&["sm2-root.key", "sm2-ca.key", "sm2-gateway.key", &shangmi]) {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn one_pairing_makes_no_files_of_the_other() {
        for (pairing, made, not_made) in [
            (Pairings::Standard, "root.pem", "sm2-root.pem"),
            (Pairings::ShangMi, "sm2-root.pem", "root.pem"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().to_owned();
            run(&Arguments { out, pairing, gateway_address: None, dns: Vec::new(), device: Vec::new() })
                .unwrap();
            assert!(folder.path().join(made).exists());
            assert!(!folder.path().join(not_made).exists());
        }
    }

    #[test]
    fn a_device_id_of_another_length_is_refused() {
        assert_eq!(parse_hex::<32>("0xab").unwrap_err(), "has to be 64 hex digits");
        assert_eq!(parse_hex::<20>(&format!("0x{}", "ab".repeat(20))), Ok([0xab; 20]));
    }
}
