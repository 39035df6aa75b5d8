//! One interface over the AEAD suites, each by the fastest implementation the processor has.
//!
//! ```
//! use shangmi::suite::{self, Cipher, Suite};
//! use shangmi::sm4::aead::AeadInOut;
//!
//! println!("{:?}", suite::detect());
//! for suite in Suite::ALL {
//!     let cipher = Cipher::new(suite, &[7; 16]);
//!     let mut buffer = *b"charge";
//!     let tag = cipher.encrypt_inout_detached(&[0; 12].into(), b"", buffer.as_mut_slice().into())?;
//!     cipher.decrypt_inout_detached(&[0; 12].into(), b"", buffer.as_mut_slice().into(), &tag)?;
//!     assert_eq!(&buffer, b"charge");
//! }
//! # Ok::<(), shangmi::sm4::aead::Error>(())
//! ```

use core::fmt;

use aead::{
    AeadCore, AeadInOut, Error, KeyInit, Nonce, Tag, TagPosition,
    consts::{U12, U16},
    inout::InOutBuf,
};
use aes_gcm::Aes128Gcm;
use zeroize::ZeroizeOnDrop;

use crate::sm4::{Implementation, Sm4Gcm};

/// An AEAD with a 16-byte key, a 12-byte nonce and a 16-byte tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Suite {
    /// SM4-GCM (RFC 8998), by this crate.
    Sm4Gcm,
    /// AES-128-GCM, by the crate `aes-gcm`.
    Aes128Gcm,
}

impl Suite {
    /// All.
    pub const ALL: [Self; 2] = [Self::Sm4Gcm, Self::Aes128Gcm];
}

/// What the processor offers the suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detected {
    /// How SM4-GCM will be computed.
    pub sm4_gcm: Implementation,
    /// Whether AES-128-GCM will be computed by the processor's AES and carry-less multiplication; else it is bitsliced.
    pub aes_instructions: bool,
}

/// Asks the processor. Without the feature `std`, tells what the build was made for.
#[must_use]
pub fn detect() -> Detected {
    Detected {
        sm4_gcm: Implementation::detect(),
        aes_instructions: Implementation::AesNi.is_available() || Implementation::ArmAes.is_available(),
    }
}

/// A suite under one key.
#[derive(Clone)]
#[allow(clippy::large_enum_variant)] // without an allocator there is no box to put it in
pub enum Cipher {
    /// SM4-GCM.
    Sm4Gcm(Sm4Gcm),
    /// AES-128-GCM.
    Aes128Gcm(Aes128Gcm),
}

impl Cipher {
    /// By the fastest implementation.
    #[must_use]
    pub fn new(suite: Suite, key: &[u8; 16]) -> Self {
        match suite {
            Suite::Sm4Gcm => Self::Sm4Gcm(Sm4Gcm::new(key.into())),
            Suite::Aes128Gcm => Self::Aes128Gcm(Aes128Gcm::new(key.into())),
        }
    }

    /// Which suite it is.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        match self {
            Self::Sm4Gcm(_) => Suite::Sm4Gcm,
            Self::Aes128Gcm(_) => Suite::Aes128Gcm,
        }
    }
}

impl AeadCore for Cipher {
    type NonceSize = U12;
    type TagSize = U16;
    const TAG_POSITION: TagPosition = TagPosition::Postfix;
}

impl AeadInOut for Cipher {
    fn encrypt_inout_detached(
        &self,
        nonce: &Nonce<Self>,
        associated_data: &[u8],
        buffer: InOutBuf<'_, '_, u8>,
    ) -> Result<Tag<Self>, Error> {
        match self {
            Self::Sm4Gcm(cipher) => cipher.encrypt_inout_detached(nonce, associated_data, buffer),
            Self::Aes128Gcm(cipher) => cipher.encrypt_inout_detached(nonce, associated_data, buffer),
        }
    }

    fn decrypt_inout_detached(
        &self,
        nonce: &Nonce<Self>,
        associated_data: &[u8],
        buffer: InOutBuf<'_, '_, u8>,
        tag: &Tag<Self>,
    ) -> Result<(), Error> {
        match self {
            Self::Sm4Gcm(cipher) => cipher.decrypt_inout_detached(nonce, associated_data, buffer, tag),
            Self::Aes128Gcm(cipher) => cipher.decrypt_inout_detached(nonce, associated_data, buffer, tag),
        }
    }
}

impl ZeroizeOnDrop for Cipher {}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cipher({:?}, redacted)", self.suite())
    }
}
