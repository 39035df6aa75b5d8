//! Whole frames out of a stream of bytes.

use cip22_wire::{FrameError, frame};

/// Collects bytes until they make frames.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl FrameBuffer {
    /// Bytes came.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame: its type, its payload, and all its bytes.
    ///
    /// # Errors
    /// The stream is unsynchronised.
    #[allow(clippy::type_complexity, reason = "type, payload and frame; named by its callers")]
    pub fn next_frame(&mut self) -> Result<Option<(u8, &[u8], &[u8])>, FrameError> {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let Some(parsed) = frame::parse(rest, u16::MAX)? else { return Ok(None) };
        self.start += parsed.consumed;
        Ok(Some((parsed.frame_type, parsed.payload, rest.get(..parsed.consumed).unwrap_or_default())))
    }

    /// Forgets everything: another connection begins.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }
}
