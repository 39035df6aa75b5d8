//! The standard pairing: a root, and what it signs. P-256 throughout.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use cip22_wire::{Address, DeviceId};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use zeroize::Zeroizing;

use super::{Issued, device_uri, gateway_uri};
use crate::{error::FleetError, files};

/// A root that issues certificates.
#[derive(Debug)]
pub struct Root {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Root {
    /// Makes a new root.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn generate() -> Result<Self, FleetError> {
        let key = KeyPair::generate()?;
        let mut params = params("CIP-22 development root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Reads `root.pem` and `root.key` of `folder`.
    ///
    /// # Errors
    /// A file is missing or holds something else.
    pub fn load(folder: &Path) -> Result<Self, FleetError> {
        let (certificate, key) = (folder.join(ROOT_CERTIFICATE), folder.join(ROOT_KEY));
        let pem = std::fs::read_to_string(&certificate).map_err(FleetError::file(&certificate))?;
        let key_pem = Zeroizing::new(std::fs::read_to_string(&key).map_err(FleetError::file(&key))?);
        let key_pair = KeyPair::from_pem(&key_pem).map_err(|error| FleetError::content(&key, error))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key_pair)
            .map_err(|error| FleetError::content(&certificate, error))?;
        Ok(Self { issuer, pem })
    }

    /// [`Self::load`] if `folder` holds a root, else [`Self::generate`] and [`Self::write`].
    ///
    /// # Errors
    /// As those.
    pub fn load_or_generate(folder: &Path) -> Result<Self, FleetError> {
        if folder.join(ROOT_KEY).exists() {
            return Self::load(folder);
        }
        let root = Self::generate()?;
        root.write(folder)?;
        Ok(root)
    }

    /// Writes `root.pem` and `root.key` into `folder`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), FleetError> {
        let key = Zeroizing::new(self.issuer.key().serialize_pem());
        files::write_private(&folder.join(ROOT_KEY), key.as_bytes())?;
        files::write_private(&folder.join(ROOT_CERTIFICATE), self.pem.as_bytes())
    }

    /// The root's certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.pem
    }

    /// A gateway's certificate: its address as URI, `dns` names, and 127.0.0.1.
    ///
    /// # Errors
    /// A DNS name is not ASCII.
    pub fn issue_gateway(&self, address: &Address, dns: &[String]) -> Result<Issued, FleetError> {
        let mut params = params("CIP-22 gateway");
        for name in dns {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.subject_alt_names.push(uri(&gateway_uri(address))?);
        self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A pile's certificate: its device id as URI.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn issue_device(&self, device_id: &DeviceId) -> Result<Issued, FleetError> {
        self.issue_uri(&device_uri(device_id))
    }

    /// A client's certificate that carries whatever URI; for tests of refusals.
    ///
    /// # Errors
    /// The URI is not ASCII.
    pub fn issue_uri(&self, name: &str) -> Result<Issued, FleetError> {
        let mut params = params("CIP-22 pile");
        params.subject_alt_names.push(uri(name)?);
        self.issue(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Issued, FleetError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate: Certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.pem(), key: Zeroizing::new(key.serialize_pem()) })
    }
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2045, 1, 1);
    params
}

fn uri(name: &str) -> Result<SanType, FleetError> {
    Ok(SanType::URI(name.try_into()?))
}

const ROOT_CERTIFICATE: &str = "root.pem";
const ROOT_KEY: &str = "root.key";

#[cfg(test)]
mod tests {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

    use super::*;

    #[test]
    fn a_root_read_back_issues_certificates_that_its_first_life_signed_for() {
        let folder = tempfile::tempdir().unwrap();
        let made = Root::load_or_generate(folder.path()).unwrap();
        let loaded = Root::load_or_generate(folder.path()).unwrap();
        assert_eq!(made.certificate(), loaded.certificate());
        let root = CertificateDer::from_pem_slice(made.certificate().as_bytes()).unwrap();
        let (_, root) = X509Certificate::from_der(&root).unwrap();
        let issued = loaded.issue_device(&[7; 32]).unwrap();
        let device = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let (_, device) = X509Certificate::from_der(&device).unwrap();
        assert_eq!(device.issuer(), root.subject());
        let names = device.subject_alternative_name().unwrap().unwrap();
        let expected = format!("urn:cip22:device:{}", "07".repeat(32));
        assert!(matches!(names.value.general_names[..], [GeneralName::URI(name)] if name == expected));
    }
}
