//! The mode: NIST SP 800-38D with 12-byte nonces and 16-byte tags, as RFC 8998 uses it.

use core::fmt;

use aead::{
    AeadCore, AeadInOut, Error, Key, KeyInit, KeySizeUser, Nonce, Tag, TagPosition,
    consts::{U12, U16},
    inout::InOutBuf,
};
use zeroize::ZeroizeOnDrop;

use super::backend::{AnyKernel, Implementation, Unavailable, first_counter};

/// Longest message, bytes: the counter has 2³² - 2 blocks for it (SP 800-38D §5.2.1.1).
pub const MAX_LENGTH: u64 = (1 << 36) - 32;

/// SM4-GCM under one key, by the fastest [`Implementation`] of the processor.
///
/// `decrypt` checks the tag before it computes any plaintext: after an error an in-place buffer still holds the
/// ciphertext, and a separate output is untouched.
///
/// A nonce must never be used twice under a key: see [`crate::session`] for a counter that refuses.
///
/// ```
/// use shangmi::sm4::{Sm4Gcm, aead::{AeadInOut, KeyInit}};
///
/// let cipher = Sm4Gcm::new(&[7; 16].into());
/// let mut buffer = *b"charge";
/// let tag = cipher.encrypt_inout_detached(&[0; 12].into(), b"pile 9", buffer.as_mut_slice().into())?;
/// assert_ne!(&buffer, b"charge");
/// cipher.decrypt_inout_detached(&[0; 12].into(), b"pile 9", buffer.as_mut_slice().into(), &tag)?;
/// assert_eq!(&buffer, b"charge");
/// # Ok::<(), shangmi::sm4::aead::Error>(())
/// ```
#[derive(Clone)]
pub struct Sm4Gcm {
    kernel: AnyKernel,
}

impl Sm4Gcm {
    /// By the implementation named.
    ///
    /// # Errors
    /// The processor lacks it.
    pub fn with_implementation(key: &[u8; 16], implementation: Implementation) -> Result<Self, Unavailable> {
        AnyKernel::new(key, implementation).map(|kernel| Self { kernel })
    }

    /// The implementation in use.
    pub fn implementation(&self) -> Implementation {
        self.kernel.implementation()
    }
}

impl KeySizeUser for Sm4Gcm {
    type KeySize = U16;
}

impl KeyInit for Sm4Gcm {
    fn new(key: &Key<Self>) -> Self {
        Self { kernel: AnyKernel::fastest(&key.0) }
    }
}

impl AeadCore for Sm4Gcm {
    type NonceSize = U12;
    type TagSize = U16;
    const TAG_POSITION: TagPosition = TagPosition::Postfix;
}

impl AeadInOut for Sm4Gcm {
    fn encrypt_inout_detached(
        &self,
        nonce: &Nonce<Self>,
        associated_data: &[u8],
        buffer: InOutBuf<'_, '_, u8>,
    ) -> Result<Tag<Self>, Error> {
        check_lengths(associated_data.len(), buffer.len())?;
        Ok(self.kernel.seal_message(&first_counter(&nonce.0), associated_data, buffer).into())
    }

    fn decrypt_inout_detached(
        &self,
        nonce: &Nonce<Self>,
        associated_data: &[u8],
        buffer: InOutBuf<'_, '_, u8>,
        tag: &Tag<Self>,
    ) -> Result<(), Error> {
        check_lengths(associated_data.len(), buffer.len())?;
        if self.kernel.open_message(&first_counter(&nonce.0), associated_data, buffer, &tag.0) {
            Ok(())
        } else {
            Err(Error)
        }
    }
}

impl ZeroizeOnDrop for Sm4Gcm {}

impl fmt::Debug for Sm4Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sm4Gcm").field("implementation", &self.implementation()).finish_non_exhaustive()
    }
}

fn check_lengths(associated_data: usize, message: usize) -> Result<(), Error> {
    let [associated_data, message] = [associated_data, message].map(u64::try_from);
    match (associated_data, message) {
        // Lengths are hashed in bits, as 64-bit numbers.
        (Ok(associated_data), Ok(message)) if message <= MAX_LENGTH && associated_data < 1 << 61 => Ok(()),
        _ => Err(Error),
    }
}
