//! Sealed bodies (§4.5): their layout, what their seal covers, and what may stand inside SEALED. The cipher is the caller's.
//!
//! ```
//! use cip22_wire::{FrameType, message::AuthRevoke, sealed::{self, SealedBody}};
//!
//! let mut body = [0; 64];
//! let revoke = AuthRevoke { sid: [7; 16], cause: 1, grace_wh: 500 };
//! let len = sealed::lay_out(&mut body, |text| sealed::put_inner(&revoke, text))?;
//! if let Some(parts) = sealed::split_mut(&mut body[..len]) {
//!     // An AEAD seals `parts.text` in place here.
//!     *parts.seq = 3_u32.to_be_bytes();
//!     *parts.tag = [9; 16];
//! }
//! let sealed = SealedBody::parse(&body[..len]);
//! assert_eq!(sealed.map(|sealed| (sealed.seq, sealed.tag)), Some((3, &[9; 16])));
//! # Ok::<(), cip22_wire::EncodeError>(())
//! ```

use crate::{
    Hash,
    error::EncodeError,
    limits::SEAL_OVERHEAD_BYTES,
    message::{Body, FrameType},
};

/// Bit of `features` in HELLO and HELLO_ACK: bodies are sealed under suite 1.
pub const FEATURE_SEALED_BODIES: u32 = 1;

/// A sealed body: `seq u32 ‖ ciphertext ‖ tag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedBody<'a> {
    /// Number among what this end seals for the sid; the nonce follows from it.
    pub seq: u32,
    /// As long as what it hides.
    pub ciphertext: &'a [u8],
    /// Of the AEAD.
    pub tag: &'a [u8; AEAD_TAG_BYTES],
}

impl<'a> SealedBody<'a> {
    /// Reads the layout; `None` if the body is shorter than number and tag.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (seq, rest) = body.split_first_chunk::<SEQ_BYTES>()?;
        let (ciphertext, tag) = rest.split_last_chunk::<AEAD_TAG_BYTES>()?;
        Some(Self { seq: u32::from_be_bytes(*seq), ciphertext, tag })
    }

    /// Writes the body to the start of `out`; returns its length, bytes.
    ///
    /// # Errors
    /// `out` is too short.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let len = lay_out(out, |text| {
            text.get_mut(..self.ciphertext.len())
                .ok_or(EncodeError::BufferTooSmall)?
                .copy_from_slice(self.ciphertext);
            Ok(self.ciphertext.len())
        })?;
        let parts = out.get_mut(..len).and_then(split_mut).ok_or(EncodeError::BufferTooSmall)?;
        (*parts.seq, *parts.tag) = (self.seq.to_be_bytes(), *self.tag);
        Ok(len)
    }
}

/// The parts of a sealed body where they stand, to be sealed or opened in place.
#[derive(Debug)]
pub struct SealedParts<'a> {
    /// The number, big-endian.
    pub seq: &'a mut [u8; SEQ_BYTES],
    /// Ciphertext, or what it hides.
    pub text: &'a mut [u8],
    /// Of the AEAD.
    pub tag: &'a mut [u8; AEAD_TAG_BYTES],
}

/// The parts of a whole `body`; `None` if it is shorter than number and tag.
#[must_use]
pub fn split_mut(body: &mut [u8]) -> Option<SealedParts<'_>> {
    let (seq, rest) = body.split_first_chunk_mut::<SEQ_BYTES>()?;
    let (text, tag) = rest.split_last_chunk_mut::<AEAD_TAG_BYTES>()?;
    Some(SealedParts { seq, text, tag })
}

/// Writes what is to be sealed to its place in a body at the start of `out`, number and tag left as they are; `put` appends to its
/// argument and returns how much. Returns the length of the whole body, bytes.
///
/// # Errors
/// `out` is too short, or what `put` says.
pub fn lay_out(
    out: &mut [u8],
    put: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<usize, EncodeError> {
    let room = out.len().checked_sub(SEAL_OVERHEAD_BYTES).ok_or(EncodeError::BufferTooSmall)?;
    let (_, rest) = out.split_at_mut_checked(SEQ_BYTES).ok_or(EncodeError::BufferTooSmall)?;
    let len = put(rest.get_mut(..room).ok_or(EncodeError::BufferTooSmall)?)?;
    if len > room {
        return Err(EncodeError::BufferTooSmall);
    }
    Ok(len.saturating_add(SEAL_OVERHEAD_BYTES))
}

/// What the seal covers beside the text: ticketHash ‖ type ‖ suite. `frame_type` is that of the frame that carries the body, so SEALED's own
/// for what stands inside SEALED.
#[must_use]
pub fn associated_data(ticket_hash: &Hash, frame_type: FrameType, suite: u8) -> [u8; ASSOCIATED_DATA_BYTES] {
    let mut data = [0; ASSOCIATED_DATA_BYTES];
    for (to, from) in data.iter_mut().zip(ticket_hash.iter().chain(&[frame_type.code(), suite])) {
        *to = *from;
    }
    data
}

/// Which way SEALED goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the gateway.
    ToPile,
    /// From the pile.
    ToGateway,
}

/// Whether a frame of this type may stand inside SEALED. What goes one way only is refused the other way.
#[must_use]
pub const fn may_stand_inside(frame_type: FrameType, direction: Direction) -> bool {
    match direction {
        Direction::ToPile => {
            matches!(frame_type, FrameType::AuthRevoke | FrameType::OtaOffer | FrameType::OtaChunk)
        }
        Direction::ToGateway => matches!(frame_type, FrameType::OtaReq | FrameType::OtaStatus),
    }
}

/// Whether a frame of this type, coming without SEALED, is refused at an end of suite 1. OTA_OFFER is not: the vendor signed it.
#[must_use]
pub const fn must_stand_inside(frame_type: FrameType) -> bool {
    matches!(
        frame_type,
        FrameType::AuthRevoke | FrameType::OtaReq | FrameType::OtaChunk | FrameType::OtaStatus
    )
}

/// Writes what SEALED hides, `type ‖ payload`, to the start of `out`; returns its length, bytes.
///
/// # Errors
/// `out` is too short, or a byte string has a length that its field may not have.
pub fn put_inner<'a, M: Body<'a>>(message: &M, out: &mut [u8]) -> Result<usize, EncodeError> {
    let (frame_type, payload) = out.split_first_mut().ok_or(EncodeError::BufferTooSmall)?;
    *frame_type = M::TYPE.code();
    Ok(message.encode_payload(payload)?.saturating_add(1))
}

/// Type and payload of the frame inside; `None` if there is not even a type.
#[must_use]
pub fn split_inner(text: &[u8]) -> Option<(u8, &[u8])> {
    let (frame_type, payload) = text.split_first()?;
    Some((*frame_type, payload))
}

/// The number before the ciphertext.
pub const SEQ_BYTES: usize = 4;
/// The AEAD's tag behind it.
pub const AEAD_TAG_BYTES: usize = 16;
/// A ticket's hash, a type, a suite.
pub const ASSOCIATED_DATA_BYTES: usize = 34;

const _: () = assert!(SEQ_BYTES + AEAD_TAG_BYTES == SEAL_OVERHEAD_BYTES);
