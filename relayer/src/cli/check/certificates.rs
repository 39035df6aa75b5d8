//! What certifies the gateway, in each pairing that it serves.

use std::error::Error;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_shangmi::Pairing;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Finding;
use super::installation::{Outcome, gateway_key};
use crate::config::Config;
use crate::disk::Disk;
use crate::edge::{identity, tls};
use crate::error::with_causes;

/// Every pairing of `tls.mode`: whether it works, and a warning while its certificate is valid for a short time only.
pub(super) fn all(disk: &dyn Disk, config: &Config, now_ms: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pairing in config.tls.mode.pairings() {
        let (name, age, mend) = match pairing {
            Pairing::Standard => (
                "certificates",
                "certificate age",
                "see gateway.certificate, certificate_key and root; piles refuse the gateway otherwise",
            ),
            Pairing::ShangMi => (
                "ShangMi certificates",
                "ShangMi certificate age",
                "see tls.shangmi.certificate, certificate_key and root; piles refuse the gateway otherwise",
            ),
        };
        findings.push(match one(disk, config, *pairing) {
            Ok(detail) => Finding::ok(name, detail),
            Err(error) => Finding::fail(name, with_causes(error.as_ref()), mend),
        });
        if let Some(days) = days_left(disk, config, *pairing, now_ms) {
            let detail = format!("the certificate ends in {days} days");
            findings.push(Finding::warn(age, detail, "renew it and start the relayer again"));
        }
    }
    findings
}

/// Files parse, key and certificate belong together and to the pairing, the leaf is in date and names our address, and a pile
/// that trusts the root would accept it.
fn one(disk: &dyn Disk, config: &Config, pairing: Pairing) -> Outcome {
    let credentials = tls::Credentials::load(disk, config, pairing)?;
    let leaf = credentials.chain.first().ok_or("the certificate file is empty")?.clone();
    let named = identity::gateway(&leaf, pairing)?;
    let key = gateway_key(disk, config)?;
    if named != key.address() {
        let (named, ours) = (hex::encode(named), hex::encode(key.address()));
        return Err(
            format!("the certificate names 0x{named}, but gateway.gateway_key_file is 0x{ours}").into()
        );
    }
    chain_to_root(&credentials)?;
    credentials.configuration()?;
    let (_, parsed) = X509Certificate::from_der(&leaf)?;
    Ok(format!("names 0x{}, valid until {}", hex::encode(named), parsed.validity().not_after))
}

fn chain_to_root(credentials: &tls::Credentials) -> Result<(), Box<dyn Error>> {
    let (leaf, intermediates) = credentials.chain.split_first().ok_or("the certificate file is empty")?;
    // The DNS names are those of the certificate itself: which one piles use is theirs to know.
    let name = dns_name(leaf)?;
    let verifier: Arc<dyn ServerCertVerifier> = match credentials.pairing {
        Pairing::ShangMi => Arc::new(credentials.pinned_root()?),
        Pairing::Standard => {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let roots = Arc::new(credentials.root_store()?);
            rustls::client::WebPkiServerVerifier::builder_with_provider(roots, provider).build()?
        }
    };
    verifier.verify_server_cert(leaf, intermediates, &name, &[], UnixTime::now())?;
    Ok(())
}

fn dns_name(leaf: &CertificateDer<'_>) -> Result<ServerName<'static>, Box<dyn Error>> {
    let (_, parsed) = X509Certificate::from_der(leaf)?;
    let names =
        parsed.subject_alternative_name()?.ok_or("the certificate has no subject alternative name")?;
    let name = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    Ok(ServerName::try_from(name.ok_or("the certificate has no DNS name")?)?)
}

/// Days that the certificate is still valid for, when they are few.
fn days_left(disk: &dyn Disk, config: &Config, pairing: Pairing, now_ms: u64) -> Option<i64> {
    let credentials = tls::Credentials::load(disk, config, pairing).ok()?;
    let (_, parsed) = X509Certificate::from_der(credentials.chain.first()?).ok()?;
    let left_s = parsed.validity().not_after.timestamp().saturating_sub(i64::try_from(now_ms / 1_000).ok()?);
    (0..CERTIFICATE_WARNING_S).contains(&left_s).then_some(left_s / DAY_S)
}

const DAY_S: i64 = 24 * 3_600;
/// From so little time on, a certificate's end is warned of.
const CERTIFICATE_WARNING_S: i64 = 30 * DAY_S;
