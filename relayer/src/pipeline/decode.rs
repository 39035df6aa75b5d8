//! Bytes to frames: a buffer of what has arrived, and the frame at its front.

use cip22_wire::frame::{self, Parsed};
use cip22_wire::{FrameError, FrameType};

/// What a pile has sent and nobody has handled yet. It never holds more than one largest frame and one read.
#[derive(Debug)]
pub struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    max_payload: u16,
}

impl Inbox {
    /// An empty inbox.
    pub fn new(max_payload: u16) -> Self {
        Self { bytes: Vec::new(), start: 0, max_payload }
    }

    /// Adds what was read.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether [`take`](Self::take) would give a frame or an error.
    pub fn has_frame(&self) -> bool {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        !matches!(frame::parse(rest, self.max_payload), Ok(None))
    }

    /// Whether a frame was begun.
    pub fn is_in_frame(&self) -> bool {
        self.start < self.bytes.len()
    }

    /// Takes the frame at the front: its type and payload; `None` until it is whole.
    pub fn take(&mut self) -> Result<Option<(u8, Vec<u8>)>, FrameError> {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let Some(Parsed { frame_type, payload, consumed }) = frame::parse(rest, self.max_payload)? else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.start += consumed;
        Ok(Some((frame_type, payload)))
    }
}

/// The name of a frame type for logs and metrics; all unknown ones share a name, so that labels stay few.
pub fn type_name(frame_type: u8) -> &'static str {
    FrameType::from_u8(frame_type).map_or("UNKNOWN", FrameType::name)
}

#[cfg(test)]
mod tests {
    use cip22_wire::message::{Body, Heartbeat};

    use super::*;

    #[test]
    fn frames_come_out_whole_however_they_are_cut() {
        let mut stream = Vec::new();
        for counter in 0..5 {
            let mut bytes = [0; 64];
            let length = Heartbeat { counter, time_ms: 1 }.encode(&mut bytes).unwrap();
            stream.extend_from_slice(&bytes[..length]);
        }
        for cut in 1..stream.len() {
            let mut inbox = Inbox::new(512);
            let mut counters = Vec::new();
            for piece in stream.chunks(cut) {
                inbox.extend(piece);
                while let Some((frame_type, payload)) = inbox.take().unwrap() {
                    assert_eq!(type_name(frame_type), "HEARTBEAT");
                    counters.push(Heartbeat::decode(&payload).unwrap().counter);
                }
            }
            assert_eq!(counters, vec![0, 1, 2, 3, 4], "cut at {cut}");
        }
    }

    #[test]
    fn a_payload_above_the_limit_is_refused_before_it_arrives() {
        let mut inbox = Inbox::new(512);
        inbox.extend(&[0xC1, 0x02, 0x20, 0x00, 0xFF, 0xFF, 0x12]);
        assert!(inbox.take().is_err());
    }
}
