//! HMAC-SM3 and key derivation: HKDF-SM3 (RFC 5869) and KDF2 (ISO/IEC 18033-2 §6.2.3) over HMAC-SM3.
//!
//! ```
//! use shangmi::kdf;
//!
//! let mut key = [0; 16];
//! kdf::kdf2(b"unique id of the device", b"shared secret", b"purpose", &mut key)?;
//! assert!(kdf::verify_hmac_sm3(&key, &[b"a", b"b"], &kdf::hmac_sm3(&key, &[b"ab"])));
//! # Ok::<(), shangmi::Error>(())
//! ```

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sm3::Sm3;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::Error;

/// Bytes of an HMAC-SM3 tag.
pub const MAC_LENGTH: usize = 32;

/// HMAC-SM3 of the parts, one after the other.
#[must_use]
pub fn hmac_sm3(key: &[u8], parts: &[&[u8]]) -> [u8; MAC_LENGTH] {
    finish(keyed(key), parts)
}

/// Whether `tag` is [`hmac_sm3`]'s; in constant time.
#[must_use]
pub fn verify_hmac_sm3(key: &[u8], parts: &[&[u8]], tag: &[u8; MAC_LENGTH]) -> bool {
    hmac_sm3(key, parts).ct_eq(tag).into()
}

/// KDF2 with HMAC-SM3, keyed by `salt`, as its hash: block `i`, from 1, is `HMAC-SM3(salt, secret ‖ i ‖ info)` with `i` as
/// four bytes, big-endian. The salt is the device's unique id: two devices with one secret still have keys apart.
///
/// # Errors
/// [`Error::TooLong`] beyond 2³² - 1 blocks; `out` is untouched.
pub fn kdf2(salt: &[u8], secret: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), Error> {
    if u32::try_from(out.len().div_ceil(MAC_LENGTH)).is_err() {
        return Err(Error::TooLong);
    }
    let mac = keyed(salt);
    for (counter, place) in (1u32..).zip(out.chunks_mut(MAC_LENGTH)) {
        let mut block = finish(mac.clone(), &[secret, &counter.to_be_bytes(), info]);
        for (place, byte) in place.iter_mut().zip(block) {
            *place = byte;
        }
        block.zeroize();
    }
    Ok(())
}

/// HKDF-SM3: extract and expand.
///
/// # Errors
/// [`Error::TooLong`] beyond 255 · 32 bytes.
pub fn hkdf_sm3(salt: &[u8], secret: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), Error> {
    Hkdf::<Sm3>::new(Some(salt), secret).expand(info, out).map_err(|_| Error::TooLong)
}

/// HKDF-Extract.
#[must_use]
pub fn hkdf_sm3_extract(salt: &[u8], secret: &[u8]) -> Zeroizing<[u8; MAC_LENGTH]> {
    Zeroizing::new(hmac_sm3(salt, &[secret]))
}

/// HKDF-Expand of a key that [`hkdf_sm3_extract`] made.
///
/// # Errors
/// [`Error::TooLong`] beyond 255 · 32 bytes.
pub fn hkdf_sm3_expand(key: &[u8; MAC_LENGTH], info: &[u8], out: &mut [u8]) -> Result<(), Error> {
    let hkdf = Hkdf::<Sm3>::from_prk(key).map_err(|_| Error::InvalidKey)?;
    hkdf.expand(info, out).map_err(|_| Error::TooLong)
}

fn keyed(key: &[u8]) -> Hmac<Sm3> {
    // HMAC takes keys of any length: a longer one is hashed first.
    let mut block = [0; 64];
    let hashed;
    let key = if key.len() <= block.len() {
        key
    } else {
        hashed = <Sm3 as sm3::Digest>::digest(key);
        &hashed
    };
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    let mac = Hmac::new(&block.into());
    block.zeroize();
    mac
}

fn finish(mut mac: Hmac<Sm3>, parts: &[&[u8]]) -> [u8; MAC_LENGTH] {
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
