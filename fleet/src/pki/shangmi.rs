//! The ShangMi pairing: device or gateway ← CA ← root. SM2 keys, signed with SM3 under the id of certificates.

use std::{
    net::Ipv4Addr,
    path::Path,
    str::FromStr,
    time::{Duration, UNIX_EPOCH},
};

use cip22_wire::{Address, DeviceId};
use sm2::{
    SecretKey,
    dsa::{SigningKey, signature::Signer},
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
};
use x509_cert::{
    Certificate, TbsCertificate,
    builder::{Builder, CertificateBuilder, profile::BuilderProfile},
    der::{
        Decode, DecodePem, EncodePem,
        asn1::{BitString, Ia5String, ObjectIdentifier, OctetString},
    },
    ext::{
        Extension, ToExtension,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
            SubjectKeyIdentifier, name::GeneralName,
        },
    },
    name::Name,
    serial_number::SerialNumber,
    spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef},
    time::{Time, Validity},
};
use zeroize::Zeroizing;

use super::{Issued, device_uri, gateway_uri};
use crate::{error::FleetError, files};

/// A root and a CA under it, which issues certificates.
pub struct Authority {
    root: Certificate,
    root_key: SecretKey,
    ca: Certificate,
    ca_key: SecretKey,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// What a certificate says of its subject.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// CN of the subject.
    pub common_name: String,
    /// Subject alternative names.
    pub names: Vec<GeneralName>,
    /// The one extended key usage.
    pub usage: ObjectIdentifier,
    /// First and last second in which it is valid, Unix time.
    pub valid_s: (u64, u64),
}

impl Leaf {
    /// Of a pile.
    ///
    /// # Errors
    /// None: a device id in hex is ASCII.
    pub fn device(device_id: &DeviceId) -> Result<Self, FleetError> {
        Self::client(&device_uri(device_id))
    }

    /// Of a client with whatever URI.
    ///
    /// # Errors
    /// The URI is not ASCII.
    pub fn client(name: &str) -> Result<Self, FleetError> {
        Ok(Self {
            common_name: "CIP-22 pile".into(),
            names: vec![uri(name)?],
            usage: CLIENT_AUTH,
            valid_s: VALID_S,
        })
    }

    /// Of a gateway: its address as URI, `dns` names, and 127.0.0.1.
    ///
    /// # Errors
    /// A DNS name is not ASCII.
    pub fn gateway(address: &Address, dns: &[String]) -> Result<Self, FleetError> {
        let mut names = Vec::new();
        for name in dns {
            names.push(GeneralName::DnsName(Ia5String::new(name)?));
        }
        names.push(GeneralName::IpAddress(OctetString::new(Ipv4Addr::LOCALHOST.octets())?));
        names.push(uri(&gateway_uri(address))?);
        Ok(Self { common_name: "CIP-22 gateway".into(), names, usage: SERVER_AUTH, valid_s: VALID_S })
    }
}

impl Authority {
    /// Makes a new root and a new CA.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn generate() -> Result<Self, FleetError> {
        let (root_key, ca_key) = (random_key()?, random_key()?);
        let name = |common_name| Issue { issuer: ROOT_NAME, subject: common_name, valid_s: VALID_S };
        let root = issue(&name(ROOT_NAME), &public(&root_key)?, &root_key, &authority_extensions(1)?)?;
        let ca = issue(&name(CA_NAME), &public(&ca_key)?, &root_key, &authority_extensions(0)?)?;
        Ok(Self { root, root_key, ca, ca_key })
    }

    /// Reads the root and the CA of `folder`.
    ///
    /// # Errors
    /// A file is missing or holds something else.
    pub fn load(folder: &Path) -> Result<Self, FleetError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path)
                .map(|text| (Zeroizing::new(text), path.clone()))
                .map_err(FleetError::file(path))
        };
        let certificate = |name| {
            let (text, path) = read(name)?;
            Certificate::from_pem(text.as_bytes()).map_err(|error| FleetError::content(path, error))
        };
        let key = |name| {
            let (text, path) = read(name)?;
            SecretKey::from_pkcs8_pem(&text).map_err(|error| FleetError::content(path, error))
        };
        Ok(Self {
            root: certificate(ROOT_CERTIFICATE)?,
            root_key: key(ROOT_KEY)?,
            ca: certificate(CA_CERTIFICATE)?,
            ca_key: key(CA_KEY)?,
        })
    }

    /// [`Self::load`] if `folder` holds a CA, else [`Self::generate`] and [`Self::write`].
    ///
    /// # Errors
    /// As those.
    pub fn load_or_generate(folder: &Path) -> Result<Self, FleetError> {
        if folder.join(CA_KEY).exists() {
            return Self::load(folder);
        }
        let authority = Self::generate()?;
        authority.write(folder)?;
        Ok(authority)
    }

    /// Writes root and CA with their keys into `folder`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), FleetError> {
        // The CA's key last: with it, all are there.
        files::write_private(&folder.join(ROOT_KEY), key_pem(&self.root_key)?.as_bytes())?;
        files::write_private(&folder.join(ROOT_CERTIFICATE), pem(&self.root)?.as_bytes())?;
        files::write_private(&folder.join(CA_CERTIFICATE), pem(&self.ca)?.as_bytes())?;
        files::write_private(&folder.join(CA_KEY), key_pem(&self.ca_key)?.as_bytes())
    }

    /// The root's certificate, PEM.
    ///
    /// # Errors
    /// None: it has been encoded before.
    pub fn root_certificate(&self) -> Result<String, FleetError> {
        pem(&self.root)
    }

    /// A gateway's certificate: its address as URI, `dns` names, and 127.0.0.1.
    ///
    /// # Errors
    /// A DNS name is not ASCII.
    pub fn issue_gateway(&self, address: &Address, dns: &[String]) -> Result<Issued, FleetError> {
        self.issue(&Leaf::gateway(address, dns)?)
    }

    /// A pile's certificate: its device id as URI.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn issue_device(&self, device_id: &DeviceId) -> Result<Issued, FleetError> {
        self.issue(&Leaf::device(device_id)?)
    }

    /// Any certificate, with a new key.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn issue(&self, leaf: &Leaf) -> Result<Issued, FleetError> {
        let key = random_key()?;
        Ok(Issued { certificate: self.certify_key(leaf, &public(&key)?)?, key: key_pem(&key)? })
    }

    /// Any certificate, for whatever public key (SubjectPublicKeyInfo, DER), its CA's after it; PEM.
    ///
    /// # Errors
    /// The key does not parse, or the system's random source failed.
    pub fn certify(&self, leaf: &Leaf, key_der: &[u8]) -> Result<String, FleetError> {
        self.certify_key(leaf, &SubjectPublicKeyInfoOwned::from_der(key_der)?)
    }

    fn certify_key(&self, leaf: &Leaf, key: &SubjectPublicKeyInfoOwned) -> Result<String, FleetError> {
        let extensions = [
            extension(&BasicConstraints { ca: false, path_len_constraint: None })?,
            extension(&KeyUsage(KeyUsages::DigitalSignature.into()))?,
            extension(&ExtendedKeyUsage(vec![leaf.usage]))?,
            extension(&SubjectAltName(leaf.names.clone()))?,
        ];
        let names = Issue { issuer: CA_NAME, subject: &leaf.common_name, valid_s: leaf.valid_s };
        let certificate = issue(&names, key, &self.ca_key, &extensions)?;
        Ok(pem(&certificate)? + &pem(&self.ca)?)
    }
}

/// Who certifies whom, and for how long.
struct Issue<'a> {
    issuer: &'a str,
    subject: &'a str,
    valid_s: (u64, u64),
}

/// Names and key identifiers; the rest is added by whoever issues.
struct Names {
    issuer: Name,
    subject: Name,
}

impl BuilderProfile for Names {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        key: SubjectPublicKeyInfoRef<'_>,
        issuer_key: SubjectPublicKeyInfoRef<'_>,
        _tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let subject = SubjectKeyIdentifier::try_from(key)?;
        let issuer = AuthorityKeyIdentifier::try_from(issuer_key)?;
        let none = Name::default();
        Ok(vec![(&subject).to_extension(&none, &[])?, (&issuer).to_extension(&none, &[])?])
    }
}

fn issue(
    names: &Issue<'_>,
    key: &SubjectPublicKeyInfoOwned,
    issuer_key: &SecretKey,
    extensions: &[Extension],
) -> Result<Certificate, FleetError> {
    let name = |common_name: &str| Name::from_str(&format!("CN={common_name}"));
    let profile = Names { issuer: name(names.issuer)?, subject: name(names.subject)? };
    let (first, last) = names.valid_s;
    let validity = Validity::new(time(first)?, time(last)?);
    let mut builder = CertificateBuilder::new(profile, random_serial()?, validity, key.clone())?;
    for extension in extensions {
        builder.add_extension(extension.clone())?;
    }
    let signer = SigningKey::new(::shangmi::signature::DEFAULT_ID, issuer_key).map_err(builder_error)?;
    // Not by `build`: sm2 puts r ‖ s into the certificate, where DER belongs.
    let to_be_signed = builder.finalize(&signer)?;
    let signature: sm2::dsa::Signature = signer.try_sign(&to_be_signed).map_err(builder_error)?;
    Ok(builder.assemble(BitString::from_bytes(signature.to_der().as_bytes())?, &signer)?)
}

fn builder_error(error: sm2::dsa::signature::Error) -> FleetError {
    FleetError::Builder(error.into())
}

fn authority_extensions(path_len: u8) -> Result<[Extension; 2], FleetError> {
    Ok([
        extension(&BasicConstraints { ca: true, path_len_constraint: Some(path_len) })?,
        extension(&KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign))?,
    ])
}

fn extension<'a, E>(value: &'a E) -> Result<Extension, FleetError>
where
    &'a E: ToExtension<Error = x509_cert::der::Error>,
{
    // The subject has a name, so that none of these is critical for want of one.
    Ok(value.to_extension(&Name::from_str("CN=named")?, &[])?)
}

fn public(key: &SecretKey) -> Result<SubjectPublicKeyInfoOwned, FleetError> {
    SubjectPublicKeyInfo::from_key(&key.public_key()).map_err(|error| FleetError::Builder(error.into()))
}

fn pem(certificate: &Certificate) -> Result<String, FleetError> {
    Ok(certificate.to_pem(LineEnding::LF)?)
}

fn key_pem(key: &SecretKey) -> Result<Zeroizing<String>, FleetError> {
    key.to_pkcs8_pem(LineEnding::LF).map_err(FleetError::Key)
}

fn random_key() -> Result<SecretKey, FleetError> {
    loop {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice())?;
        // All but 2^-32 of the scalars are keys.
        if let Ok(key) = SecretKey::from_slice(bytes.as_slice()) {
            return Ok(key);
        }
    }
}

fn random_serial() -> Result<SerialNumber, FleetError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    // Positive, and of the same length each time.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::new(&bytes)?)
}

fn time(unix_s: u64) -> Result<Time, FleetError> {
    Ok(Time::try_from(UNIX_EPOCH + Duration::from_secs(unix_s))?)
}

fn uri(name: &str) -> Result<GeneralName, FleetError> {
    Ok(GeneralName::UniformResourceIdentifier(Ia5String::new(name)?))
}

/// 2025-01-01 to 2045-01-01.
const VALID_S: (u64, u64) = (1_735_689_600, 2_366_841_600);
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const ROOT_NAME: &str = "CIP-22 development ShangMi root";
const CA_NAME: &str = "CIP-22 development ShangMi CA";
const ROOT_CERTIFICATE: &str = "sm2-root.pem";
const ROOT_KEY: &str = "sm2-root.key";
const CA_CERTIFICATE: &str = "sm2-ca.pem";
const CA_KEY: &str = "sm2-ca.key";

#[cfg(test)]
mod tests {
    use ::shangmi::chain::{Name, Purpose, Root, UnixTime};
    use rustls_pki_types::{CertificateDer, pem::PemObject};

    use super::*;

    /// 2030-01-01.
    const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_893_456_000));

    #[test]
    fn chains_of_a_ca_read_back_lead_to_the_root_of_its_first_life() {
        let folder = tempfile::tempdir().unwrap();
        let made = Authority::load_or_generate(folder.path()).unwrap();
        let loaded = Authority::load_or_generate(folder.path()).unwrap();
        let root = root(&made);
        let device = loaded.issue_device(&[7; 32]).unwrap();
        verify(&root, &device, Purpose::Client, Name::Uri(&device_uri(&[7; 32]))).unwrap();
        verify(&root, &device, Purpose::Client, Name::Uri(&device_uri(&[8; 32]))).unwrap_err();
        verify(&root, &device, Purpose::Server, Name::Uri(&device_uri(&[7; 32]))).unwrap_err();
        let gateway = loaded.issue_gateway(&[1; 20], &["gateway.example".into()]).unwrap();
        verify(&root, &gateway, Purpose::Server, Name::Host("gateway.example")).unwrap();
        verify(&root, &gateway, Purpose::Server, Name::Host("127.0.0.1")).unwrap();
    }

    #[test]
    fn a_certificate_of_another_authority_of_the_same_names_is_refused() {
        let (ours, other) = (Authority::generate().unwrap(), Authority::generate().unwrap());
        let device = other.issue_device(&[7; 32]).unwrap();
        let name = device_uri(&[7; 32]);
        verify(&root(&other), &device, Purpose::Client, Name::Uri(&name)).unwrap();
        verify(&root(&ours), &device, Purpose::Client, Name::Uri(&name)).unwrap_err();
    }

    #[test]
    fn key_and_certificate_make_a_client() {
        let authority = Authority::generate().unwrap();
        let device = authority.issue_device(&[7; 32]).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(device.key.as_bytes()).unwrap();
        let pinned = rustls_shangmi::chain::PinnedRoot::new(root(&authority));
        let options = rustls_shangmi::Options::default();
        rustls_shangmi::Client::shangmi(pinned, chain(&device), key, &options).unwrap();
    }

    fn root(authority: &Authority) -> Root {
        let root = authority.root_certificate().unwrap();
        Root::from_der(&CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap()
    }

    fn chain(issued: &Issued) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(issued.certificate.as_bytes()).collect::<Result<_, _>>().unwrap()
    }

    fn verify(
        root: &Root,
        issued: &Issued,
        purpose: Purpose,
        name: Name<'_>,
    ) -> Result<(), ::shangmi::chain::ChainError> {
        let chain = chain(issued);
        let [leaf, ca] = &chain[..] else { panic!("leaf and CA") };
        root.verify(leaf, &[ca], NOW, purpose, name).map(drop)
    }
}
