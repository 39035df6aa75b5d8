//! Chains that OpenSSL issued; each fault has its own error.

use core::time::Duration;

use shangmi::chain::{ChainError, Name, Purpose, Root, UnixTime};

use crate::vectors::bytes;

/// 2030-01-01; the certificates are valid for a hundred years from 2026.
const NOW: u64 = 1_893_456_000;
const DEVICE: Name<'static> = Name::Uri("urn:cip22:device:01");

fn der(name: &str) -> Vec<u8> {
    let document: serde_json::Value =
        serde_json::from_str(include_str!("../vectors/sm2_chain.json")).unwrap();
    bytes(&document["vectors"]["certificates"], name)
}

fn verify_at(
    leaf: &str,
    authorities: &[&str],
    seconds: u64,
    purpose: Purpose,
    name: Name<'_>,
) -> Result<(), ChainError> {
    let authorities: Vec<_> = authorities.iter().map(|name| der(name)).collect();
    let authorities: Vec<_> = authorities.iter().map(Vec::as_slice).collect();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    Root::from_der(&der("root"))?.verify(&der(leaf), &authorities, time, purpose, name).map(|_| ())
}

fn verify(leaf: &str, authorities: &[&str]) -> Result<(), ChainError> {
    verify_at(leaf, authorities, NOW, Purpose::Client, DEVICE)
}

#[test]
fn device_and_gateway_from_the_ca_of_the_root_are_accepted() {
    verify("device", &["ca"]).unwrap();
    verify("device", &["look_alike_ca", "ca"]).unwrap();
    verify_at("gateway", &["ca"], NOW, Purpose::Server, Name::Host("gateway.example")).unwrap();
}

#[test]
fn the_key_returned_is_the_devices() {
    let document: serde_json::Value =
        serde_json::from_str(include_str!("../vectors/sm2_chain.json")).unwrap();
    let private = bytes(&document["vectors"], "device_key");
    let expected = shangmi::signature::SigningKey::from_pkcs8_der(&private).unwrap().verifying_key();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
    let key = Root::from_der(&der("root"))
        .unwrap()
        .verify(&der("device"), &[&der("ca")], time, Purpose::Client, DEVICE)
        .unwrap();
    assert_eq!(key, expected);
}

#[test]
fn a_chain_that_does_not_lead_to_the_pinned_root_is_refused() {
    use webpki::Error;
    // The CA of another root of the same name, and a device of it; presented with the true CA too.
    let refused = Err(ChainError::Certificate(Error::InvalidSignatureForPublicKey));
    assert_eq!(verify("device_of_look_alike_ca", &["look_alike_ca"]), refused);
    assert_eq!(verify("device_of_look_alike_ca", &["ca"]), refused);
    assert_eq!(verify("device_of_look_alike_ca", &["look_alike_ca", "other_root"]), refused);
    assert_eq!(verify("device", &["look_alike_ca"]), refused);
    assert_eq!(verify("device", &[]), Err(ChainError::Certificate(Error::UnknownIssuer)));
}

#[test]
fn a_changed_bit_anywhere_in_a_signed_part_is_refused() {
    let (device, ca) = (der("device"), der("ca"));
    let root = Root::from_der(&der("root")).unwrap();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
    let verify = |device: &[u8], ca: &[u8]| root.verify(device, &[ca], time, Purpose::Client, DEVICE);
    verify(&device, &ca).unwrap();
    for place in (0..device.len()).step_by(7) {
        let mut changed = device.clone();
        changed[place] ^= 1;
        assert!(verify(&changed, &ca).is_err(), "device, byte {place}");
    }
    for place in (0..ca.len()).step_by(7) {
        let mut changed = ca.clone();
        changed[place] ^= 1;
        assert!(verify(&device, &changed).is_err(), "CA, byte {place}");
    }
}

#[test]
fn a_chain_holds_only_while_it_is_valid() {
    use webpki::Error;
    let at = |seconds| verify_at("device", &["ca"], seconds, Purpose::Client, DEVICE);
    assert!(matches!(at(NOW + 200 * 31_536_000), Err(ChainError::Certificate(Error::CertExpired { .. }))));
    assert!(matches!(at(1_700_000_000), Err(ChainError::Certificate(Error::CertNotValidYet { .. }))));
}

#[test]
fn an_issuer_that_may_not_issue_is_refused() {
    use webpki::Error;
    let error = verify("device_of_ca_without_ca_bit", &["ca_without_ca_bit"]);
    assert_eq!(error, Err(ChainError::Certificate(Error::EndEntityUsedAsCa)));
    let error = verify("device_of_ca_without_certificate_signing", &["ca_without_certificate_signing"]);
    assert_eq!(error, Err(ChainError::CaKeyUsage));
    assert_eq!(verify("device_of_root", &["ca"]), Err(ChainError::NoCa));
    let error = verify("device_of_sub_ca", &["sub_ca", "ca"]);
    assert_eq!(error, Err(ChainError::Certificate(Error::PathLenConstraintViolated)));
    assert!(matches!(verify("ca", &["ca"]), Err(ChainError::Certificate(Error::CaUsedAsEndEntity))));
}

#[test]
fn a_key_of_another_use_or_purpose_is_refused() {
    use webpki::Error;
    assert_eq!(verify("device_without_key_usage", &["ca"]), Err(ChainError::DeviceKeyUsage));
    assert_eq!(verify("device_for_encryption", &["ca"]), Err(ChainError::DeviceKeyUsage));
    let as_server = verify_at("device", &["ca"], NOW, Purpose::Server, DEVICE);
    assert!(
        matches!(as_server, Err(ChainError::Certificate(Error::RequiredEkuNotFoundContext(_)))),
        "{as_server:?}"
    );
}

#[test]
fn another_name_is_refused() {
    for name in [
        Name::Uri("urn:cip22:device:02"),
        Name::Uri(""),
        Name::Host("gateway.example"),
        Name::Host("not a name"),
    ] {
        let refused = verify_at("device", &["ca"], NOW, Purpose::Client, name);
        assert_eq!(refused, Err(ChainError::Name), "{name:?}");
    }
    assert_eq!(verify("device_with_two_names", &["ca"]), Err(ChainError::Name));
    let other = verify_at("gateway", &["ca"], NOW, Purpose::Server, Name::Host("other.example"));
    assert_eq!(other, Err(ChainError::Name));
}
