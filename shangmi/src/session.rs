//! A key and a nonce space for each session and direction, with counter nonces that are never used twice, and a window
//! against replay.
//!
//! ```
//! use shangmi::{session::{Role, SessionSecret}, suite::Suite};
//!
//! let secret = SessionSecret::derive(b"unique id of the pile", b"shared secret", b"session id")?;
//! let (mut gateway, _) = secret.split(Suite::Sm4Gcm, Role::Initiator);
//! let (_, mut pile) = secret.split(Suite::Sm4Gcm, Role::Responder);
//!
//! let mut body = *b"start charging";
//! let sealed = gateway.seal(b"header", &mut body)?;
//! pile.open(sealed.sequence, b"header", &mut body, &sealed.tag)?;
//! assert_eq!(&body, b"start charging");
//! assert!(pile.open(sealed.sequence, b"header", &mut body, &sealed.tag).is_err());
//! # Ok::<(), shangmi::Error>(())
//! ```

use core::fmt;

use aead::AeadInOut;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    Error, kdf,
    suite::{Cipher, Suite},
};

/// Which end of the session this is: what one seals, the other opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that asked for the session.
    Initiator,
    /// The other.
    Responder,
}

/// What a session's keys come from.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SessionSecret([u8; 32]);

impl SessionSecret {
    /// From the secret two ends share, as of a key agreement: KDF2 over HMAC-SM3 salted with the device's id, then
    /// HKDF-Extract with the session's id. The caller wipes `shared`.
    ///
    /// # Errors
    /// None for these lengths.
    pub fn derive(device_id: &[u8], shared: &[u8], session_id: &[u8]) -> Result<Self, Error> {
        let mut device_key = Zeroizing::new([0; 32]);
        kdf::kdf2(device_id, shared, b"shangmi session", device_key.as_mut_slice())?;
        Ok(Self(*kdf::hkdf_sm3_extract(session_id, device_key.as_slice())))
    }

    /// The two directions of the session, as `role` uses them. The secret gives the same keys each time: split it once,
    /// and after a restart continue at a sequence number not yet used ([`Sealer::starting_at`]), or take a new session.
    #[must_use]
    pub fn split(&self, suite: Suite, role: Role) -> (Sealer, Opener) {
        let (from_initiator, from_responder) =
            (self.direction(suite, b"initiator"), self.direction(suite, b"responder"));
        match role {
            Role::Initiator => (Sealer::new(from_initiator), Opener::new(from_responder)),
            Role::Responder => (Sealer::new(from_responder), Opener::new(from_initiator)),
        }
    }

    fn direction(&self, suite: Suite, sender: &[u8]) -> Direction {
        let mut material = Zeroizing::new([0; 28]);
        let label: &[u8] = match suite {
            Suite::Sm4Gcm => b"sm4-gcm ",
            Suite::Aes128Gcm => b"aes-128-gcm ",
        };
        let mut info = [0; 32];
        let length = label.len().saturating_add(sender.len()).min(info.len());
        for (place, byte) in info.iter_mut().zip(label.iter().chain(sender)) {
            *place = *byte;
        }
        let info = info.get(..length).unwrap_or_default();
        // 28 bytes are one block, which HKDF-Expand never refuses.
        let expanded = kdf::hkdf_sm3_expand(&self.0, info, material.as_mut_slice());
        debug_assert!(expanded.is_ok());
        let (key, iv) = material.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        Direction { cipher: Cipher::new(suite, key), iv: iv.first_chunk().copied().unwrap_or_default() }
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(redacted)")
    }
}

/// A sealed message's number and tag; the ciphertext is in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Position in the direction's sequence, from 0; the nonce follows from it.
    pub sequence: u64,
    /// Tag.
    pub tag: [u8; 16],
}

/// The sending end of a direction.
pub struct Sealer {
    direction: Direction,
    next: u64,
}

impl Sealer {
    const fn new(direction: Direction) -> Self {
        Self { direction, next: 0 }
    }

    /// Skips the numbers before `sequence`; never goes back.
    #[must_use]
    pub fn starting_at(mut self, sequence: u64) -> Self {
        self.next = self.next.max(sequence);
        self
    }

    /// The number the next message gets, and the first that no message had.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Encrypts in place.
    ///
    /// # Errors
    /// [`Error::NoncesExhausted`] at [`MAX_MESSAGES`]; [`Error::TooLong`] beyond [`MAX_MESSAGE_LENGTH`]. The buffer is
    /// untouched.
    pub fn seal(&mut self, associated_data: &[u8], buffer: &mut [u8]) -> Result<Sealed, Error> {
        if buffer.len() > MAX_MESSAGE_LENGTH {
            return Err(Error::TooLong);
        }
        let sequence = self.next;
        let nonce = self.direction.nonce(sequence)?;
        self.next = sequence.saturating_add(1);
        let tag = self
            .direction
            .cipher
            .encrypt_inout_detached(&nonce.into(), associated_data, buffer.into())
            .map_err(|_| Error::TooLong)?;
        Ok(Sealed { sequence, tag: tag.into() })
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("next", &self.next).finish_non_exhaustive()
    }
}

/// The receiving end of a direction.
pub struct Opener {
    direction: Direction,
    window: ReplayWindow,
}

impl Opener {
    const fn new(direction: Direction) -> Self {
        Self { direction, window: ReplayWindow::new() }
    }

    /// Refuses the numbers before `sequence`, as after a restart.
    #[must_use]
    pub fn starting_at(mut self, sequence: u64) -> Self {
        self.window.advance_to(sequence);
        self
    }

    /// Checks number and tag, then decrypts in place. Messages may come out of order within the window.
    ///
    /// # Errors
    /// [`Error::Replayed`], [`Error::BehindWindow`], [`Error::NoncesExhausted`] or [`Error::Authentication`]; the buffer
    /// still holds the ciphertext, and the window is as before.
    pub fn open(
        &mut self,
        sequence: u64,
        associated_data: &[u8],
        buffer: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), Error> {
        self.window.check(sequence)?;
        let nonce = self.direction.nonce(sequence)?;
        self.direction
            .cipher
            .decrypt_inout_detached(&nonce.into(), associated_data, buffer.into(), tag.into())
            .map_err(|_| Error::Authentication)?;
        // Only an authentic number moves the window.
        self.window.accept(sequence)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("window", &self.window).finish_non_exhaustive()
    }
}

/// Most messages under one key: of [`MAX_MESSAGE_LENGTH`] each, they stay below the bound of RFC 8446 §5.5.
pub const MAX_MESSAGES: u64 = 1 << 24;
/// Longest message, bytes.
pub const MAX_MESSAGE_LENGTH: usize = 1 << 14;

/// Numbers seen, of the last [`ReplayWindow::LENGTH`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayWindow {
    /// One past the greatest number accepted.
    end: u64,
    /// Bit `i`: the number `end - 1 - i` was accepted, or is not to be.
    seen: u128,
}

impl ReplayWindow {
    /// Numbers the window spans.
    pub const LENGTH: u64 = 128;

    /// Nothing seen.
    #[must_use]
    pub const fn new() -> Self {
        Self { end: 0, seen: 0 }
    }

    /// Whether `sequence` may be accepted.
    ///
    /// # Errors
    /// [`Error::Replayed`] or [`Error::BehindWindow`].
    pub fn check(&self, sequence: u64) -> Result<(), Error> {
        let Some(age) = self.end.checked_sub(1).and_then(|last| last.checked_sub(sequence)) else {
            return Ok(());
        };
        match u32::try_from(age).ok().and_then(|age| self.seen.checked_shr(age)) {
            Some(seen) if seen & 1 == 0 => Ok(()),
            Some(_) => Err(Error::Replayed { sequence }),
            None => Err(Error::BehindWindow { sequence, first: self.end.saturating_sub(Self::LENGTH) }),
        }
    }

    /// Marks `sequence`, which [`ReplayWindow::check`] allows.
    ///
    /// # Errors
    /// As [`ReplayWindow::check`]; the greatest u64 is refused as exhausted.
    pub fn accept(&mut self, sequence: u64) -> Result<(), Error> {
        self.check(sequence)?;
        let end = sequence.checked_add(1).ok_or(Error::NoncesExhausted)?;
        if let Some(ahead) = end.checked_sub(self.end) {
            let moved = u32::try_from(ahead).ok().and_then(|ahead| self.seen.checked_shl(ahead));
            self.seen = moved.unwrap_or(0);
            self.end = end;
        }
        let age = u32::try_from(self.end.saturating_sub(end)).unwrap_or(u32::MAX);
        self.seen |= 1u128.checked_shl(age).unwrap_or(0);
        Ok(())
    }

    /// Refuses every number before `sequence` from now on.
    pub fn advance_to(&mut self, sequence: u64) {
        if sequence > self.end {
            self.end = sequence;
            self.seen = u128::MAX;
        }
    }
}

/// Cipher and nonces of one direction.
struct Direction {
    cipher: Cipher,
    iv: [u8; 12],
}

impl Direction {
    /// As TLS 1.3's: the IV plus the number (RFC 8446 §5.3).
    fn nonce(&self, sequence: u64) -> Result<[u8; 12], Error> {
        if sequence >= MAX_MESSAGES {
            return Err(Error::NoncesExhausted);
        }
        let mut nonce = self.iv;
        for (place, byte) in nonce.iter_mut().rev().zip(sequence.to_be_bytes().iter().rev()) {
            *place ^= byte;
        }
        Ok(nonce)
    }
}

impl Drop for Direction {
    fn drop(&mut self) {
        self.iv.zeroize();
    }
}
