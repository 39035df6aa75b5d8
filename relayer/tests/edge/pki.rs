//! Certificates for these tests.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, date_time_ymd};

pub(super) struct Root {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Root {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(super) fn gateway(&self) -> Issued {
        let uri = format!("urn:cip22:gateway:0x{}", "cd".repeat(20));
        self.issue(vec![SanType::DnsName("localhost".try_into().unwrap()), self::uri(&uri)], false)
    }

    pub(super) fn device(&self, device_id: &[u8; 32]) -> Issued {
        self.issue(vec![uri(&device_uri(device_id))], false)
    }

    pub(super) fn with_uris(&self, uris: &[&str]) -> Issued {
        self.issue(uris.iter().map(|name| uri(name)).collect(), false)
    }

    pub(super) fn expired(&self, device_id: &[u8; 32]) -> Issued {
        self.issue(vec![uri(&device_uri(device_id))], true)
    }

    fn issue(&self, names: Vec<SanType>, expired: bool) -> Issued {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        if expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }
}

pub(super) fn device_uri(device_id: &[u8; 32]) -> String {
    format!("urn:cip22:device:{}", hex::encode(device_id))
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}
