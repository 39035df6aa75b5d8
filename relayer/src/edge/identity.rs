//! Names in certificates (protocol §1): `urn:cip22:device:<64 hex>` and `urn:cip22:gateway:0x<40 hex>`.

use cip22_wire::{Address, DeviceId};
use rustls_pki_types::CertificateDer;
use rustls_shangmi::Pairing;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, Oid, asn1_rs::oid};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::Fault;

/// Why a certificate does not name a device or a gateway. Its chain has been checked elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Not an X.509 certificate, or with a malformed subject alternative name.
    #[error("the certificate does not parse")]
    Malformed,
    /// Its key is not of the pairing's curve.
    #[error("the certificate's key is not of the pairing's curve")]
    KeyAlgorithm,
    /// No subject alternative name of type URI.
    #[error("the certificate has no URI name")]
    Missing,
    /// Several subject alternative names of type URI.
    #[error("the certificate has several URI names")]
    Several,
    /// A URI that names something else.
    #[error("the certificate's URI names neither what was expected nor in the expected form")]
    Foreign,
    /// The right prefix, but not followed by exactly so many lower-case hex digits.
    #[error("the certificate's URI does not end in the right number of lower-case hex digits")]
    Digits,
}

impl IdentityError {
    /// Label for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed_certificate",
            Self::KeyAlgorithm => "key_algorithm",
            Self::Missing => "uri_missing",
            Self::Several => "uri_several",
            Self::Foreign => "uri_foreign",
            Self::Digits => "uri_digits",
        }
    }

    /// Whose fault it is: the device's, whose certificate it is.
    pub fn fault(self) -> Fault {
        Fault::Device
    }
}

/// The device that a certificate of a pairing names.
pub fn device(certificate: &CertificateDer<'_>, pairing: Pairing) -> Result<DeviceId, IdentityError> {
    name(certificate, pairing, DEVICE_PREFIX)
}

/// The gateway's address that a certificate of a pairing names.
pub fn gateway(certificate: &CertificateDer<'_>, pairing: Pairing) -> Result<Address, IdentityError> {
    name(certificate, pairing, GATEWAY_PREFIX)
}

/// The URI of a device.
pub fn device_uri(device_id: &DeviceId) -> String {
    format!("{DEVICE_PREFIX}{}", hex::encode(device_id))
}

/// The URI of a gateway.
pub fn gateway_uri(address: &Address) -> String {
    format!("{GATEWAY_PREFIX}{}", hex::encode(address))
}

fn name<const N: usize>(
    certificate: &CertificateDer<'_>,
    pairing: Pairing,
    prefix: &str,
) -> Result<[u8; N], IdentityError> {
    let (rest, certificate) = X509Certificate::from_der(certificate).map_err(|_| IdentityError::Malformed)?;
    if !rest.is_empty() {
        return Err(IdentityError::Malformed);
    }
    let key = &certificate.public_key().algorithm;
    let curve = key.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let expected = match pairing {
        Pairing::Standard => OID_EC_P256,
        Pairing::ShangMi => OID_CURVE_SM2,
    };
    if key.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY || curve != Some(expected) {
        return Err(IdentityError::KeyAlgorithm);
    }
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Malformed)?;
    let names = names.map_or(&[][..], |extension| &extension.value.general_names);
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let uri = uris.next().ok_or(IdentityError::Missing)?;
    if uris.next().is_some() {
        return Err(IdentityError::Several);
    }
    digits(uri.strip_prefix(prefix).ok_or(IdentityError::Foreign)?)
}

fn digits<const N: usize>(text: &str) -> Result<[u8; N], IdentityError> {
    let lower_case = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut bytes = [0; N];
    if !lower_case || hex::decode_to_slice(text, &mut bytes).is_err() {
        return Err(IdentityError::Digits);
    }
    Ok(bytes)
}

/// GM/T 0006, RFC 8998 §3.2.1.
const OID_CURVE_SM2: Oid<'static> = oid!(1.2.156.10197.1.301);
const DEVICE_PREFIX: &str = "urn:cip22:device:";
const GATEWAY_PREFIX: &str = "urn:cip22:gateway:0x";

#[cfg(test)]
mod tests {
    use cip22_fleet::pki::shangmi::Authority;
    use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SanType};
    use rustls_pki_types::pem::PemObject;

    use super::*;

    fn device(certificate: &CertificateDer<'_>) -> Result<DeviceId, IdentityError> {
        super::device(certificate, Pairing::Standard)
    }

    fn gateway(certificate: &CertificateDer<'_>) -> Result<Address, IdentityError> {
        super::gateway(certificate, Pairing::Standard)
    }

    #[test]
    fn a_device_certificate_names_its_device() {
        assert_eq!(device(&certificate(&[uri(&device_uri(&[0xab; 32]))])), Ok([0xab; 32]));
    }

    #[test]
    fn a_gateway_certificate_names_its_address_beside_a_dns_name() {
        let dns = SanType::DnsName("localhost".try_into().unwrap());
        assert_eq!(gateway(&certificate(&[dns, uri(&gateway_uri(&[0xcd; 20]))])), Ok([0xcd; 20]));
    }

    #[test]
    fn a_gateway_is_no_device_and_a_device_no_gateway() {
        assert_eq!(device(&certificate(&[uri(&gateway_uri(&[1; 20]))])), Err(IdentityError::Foreign));
        assert_eq!(gateway(&certificate(&[uri(&device_uri(&[1; 32]))])), Err(IdentityError::Foreign));
    }

    #[test]
    fn a_certificate_without_a_uri_is_refused() {
        let dns = SanType::DnsName(device_uri(&[1; 32]).try_into().unwrap());
        assert_eq!(device(&certificate(&[])), Err(IdentityError::Missing));
        assert_eq!(device(&certificate(&[dns])), Err(IdentityError::Missing));
    }

    #[test]
    fn a_second_uri_is_refused_even_if_it_is_the_same() {
        let one = uri(&device_uri(&[1; 32]));
        assert_eq!(device(&certificate(&[one.clone(), one.clone()])), Err(IdentityError::Several));
        assert_eq!(device(&certificate(&[one, uri("https://example.org")])), Err(IdentityError::Several));
    }

    #[test]
    fn only_exactly_64_lower_case_hex_digits_are_a_device_id() {
        let good = device_uri(&[0xab; 32]);
        let upper = format!("{DEVICE_PREFIX}{}", "AB".repeat(32));
        for bad in [
            &good[..good.len() - 1],
            &good[..good.len() - 2],
            &format!("{good}00"),
            &upper,
            &format!("{good} "),
        ] {
            assert_eq!(device(&certificate(&[uri(bad)])), Err(IdentityError::Digits), "{bad}");
        }
        assert_eq!(device(&certificate(&[uri(&good.to_uppercase())])), Err(IdentityError::Foreign));
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let certificate = params(&[uri(&device_uri(&[1; 32]))]).self_signed(&key).unwrap();
        assert_eq!(device(certificate.der()), Err(IdentityError::KeyAlgorithm));
    }

    #[test]
    fn a_key_of_the_other_pairing_is_refused() {
        let p256 = certificate(&[uri(&device_uri(&[1; 32]))]);
        assert_eq!(super::device(&p256, Pairing::ShangMi), Err(IdentityError::KeyAlgorithm));
        let issued = Authority::generate().unwrap().issue_device(&[2; 32]).unwrap();
        let sm2 = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        assert_eq!(super::device(&sm2, Pairing::ShangMi), Ok([2; 32]));
        assert_eq!(device(&sm2), Err(IdentityError::KeyAlgorithm));
    }

    #[test]
    fn no_truncation_of_a_certificate_is_accepted() {
        let whole = certificate(&[uri(&device_uri(&[1; 32]))]);
        for length in 0..whole.len() {
            assert!(device(&CertificateDer::from(&whole[..length])).is_err());
        }
        assert_eq!(device(&CertificateDer::from([&whole[..], &[0]].concat())), Err(IdentityError::Malformed));
    }

    fn certificate(names: &[SanType]) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        params(names).self_signed(&key).unwrap().der().clone()
    }

    fn params(names: &[SanType]) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }
}
