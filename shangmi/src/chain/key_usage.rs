//! The extension KeyUsage (RFC 5280 §4.2.1.3), read from a certificate `rustls-webpki` has accepted.

/// Bit 0: signatures.
pub(super) const DIGITAL_SIGNATURE: u8 = 0x80;
/// Bit 5: signatures on certificates.
pub(super) const CERTIFICATE_SIGNATURE: u8 = 0x04;

/// Whether the extension is there and has the bit. A certificate without the extension is refused: GM/T 0015 wants it.
pub(super) fn allows(certificate: &[u8], bit: u8) -> bool {
    extension(certificate).is_some_and(|bits| bits & bit != 0)
}

/// The first eight bits of the extension.
fn extension(certificate: &[u8]) -> Option<u8> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    let extensions = loop {
        let (tag, contents, rest) = any(fields)?;
        if tag == EXTENSIONS {
            break contents;
        }
        fields = rest;
    };
    let (mut list, _) = element(extensions, SEQUENCE)?;
    loop {
        let (extension, rest) = element(list, SEQUENCE)?;
        let (id, after_id) = element(extension, OBJECT_IDENTIFIER)?;
        if id == KEY_USAGE {
            let value = element(after_id, BOOLEAN).map_or(after_id, |(_, rest)| rest);
            let (value, _) = element(value, OCTET_STRING)?;
            let (bits, _) = element(value, BIT_STRING)?;
            // The first byte tells how many bits of the last are unused; those are zero in DER.
            return bits.get(1).copied();
        }
        list = rest;
    }
}

/// The key of a SubjectPublicKeyInfo.
pub(super) fn public_key(info: &[u8]) -> Option<&[u8]> {
    let (info, _) = element(info, SEQUENCE)?;
    let (_, key) = element(info, SEQUENCE)?;
    let (key, _) = element(key, BIT_STRING)?;
    match key.split_first() {
        Some((0, key)) => Some(key),
        _ => None,
    }
}

const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// `[3]` of a TBSCertificate.
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.15
const KEY_USAGE: &[u8] = b"\x55\x1d\x0f";

/// Contents of an element with the tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, contents, rest) = any(bytes)?;
    (found == tag).then_some((contents, rest))
}

/// Tag and contents of the first element, and what follows it.
fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}
