//! Frames that await an answer, in the caller's buffer, in the order they were made. They are sent again byte for byte.

use cip22_wire::{EncodeError, FrameType, Sid};

use crate::error::Error;

pub(crate) struct Retransmit<'a> {
    bytes: &'a mut [u8],
    used: usize,
    entries: [Entry; ENTRIES_MAX],
    count: usize,
}

/// What an answer is matched against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) frame_type: FrameType,
    /// The charge; zeros where none is named.
    pub(crate) sid: Sid,
    /// seq of a record, [`statement_number`] of a statement, else 0.
    pub(crate) number: u64,
}

impl Label {
    pub(crate) const fn of_charge(frame_type: FrameType, sid: Sid) -> Self {
        Self { frame_type, sid, number: 0 }
    }

    pub(crate) const fn numbered(frame_type: FrameType, number: u64) -> Self {
        Self { frame_type, sid: [0; 16], number }
    }
}

/// One number per (epoch, n).
pub(crate) fn statement_number(epoch: u32, n: u8) -> u64 {
    u64::from(epoch) << 8 | u64::from(n)
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) label: Label,
    len: usize,
    /// When it may be sent; `None` once it was sent on this connection.
    due_ms: Option<u64>,
}

impl Entry {
    pub(crate) const fn sent(&self) -> bool {
        self.due_ms.is_none()
    }

    pub(crate) fn is(&self, frame_type: FrameType) -> bool {
        self.label.frame_type == frame_type
    }
}

impl<'a> Retransmit<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        let empty = Entry { label: Label::numbered(FrameType::Hello, 0), len: 0, due_ms: None };
        Self { bytes, used: 0, entries: [empty; ENTRIES_MAX], count: 0 }
    }

    /// Whether a frame of `len` bytes has room.
    pub(crate) fn fits(&self, len: usize) -> bool {
        self.count < ENTRIES_MAX && self.used.saturating_add(len) <= self.bytes.len()
    }

    /// Appends the frame that `encode` writes.
    pub(crate) fn put(
        &mut self,
        label: Label,
        encode: impl FnOnce(&mut [u8]) -> Result<usize, EncodeError>,
    ) -> Result<(), Error> {
        let space = self.bytes.get_mut(self.used..).unwrap_or_default();
        let entry = self.entries.get_mut(self.count).ok_or(Error::WouldBlock)?;
        let len = match encode(space) {
            Err(EncodeError::BufferTooSmall) => return Err(Error::WouldBlock),
            other => other?,
        };
        *entry = Entry { label, len, due_ms: Some(0) };
        self.used = self.used.saturating_add(len);
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// Copies the next due frame to `out`: authorization and charge before telemetry. `None` also if `out` is too short.
    pub(crate) fn send(&mut self, now_ms: u64, out: &mut [u8]) -> Option<usize> {
        let due = |entry: &Entry| entry.due_ms.is_some_and(|at| at <= now_ms) && !self.overtakes(entry);
        let at = self
            .position(|entry| due(entry) && !is_telemetry(entry.label.frame_type))
            .or_else(|| self.position(due))?;
        let frame = self.frame(at)?;
        let len = frame.len();
        out.get_mut(..len)?.copy_from_slice(frame);
        self.entries.get_mut(at)?.due_ms = None;
        Some(len)
    }

    /// Drops the first entry that matches; returns its label.
    pub(crate) fn remove(&mut self, matches: impl Fn(&Entry) -> bool) -> Option<Label> {
        let at = self.position(matches)?;
        let start = self.offset(at);
        let removed = *self.entries.get(at)?;
        let end = start.saturating_add(removed.len);
        if end <= self.used && self.used <= self.bytes.len() {
            self.bytes.copy_within(end..self.used, start);
        }
        self.used = self.used.saturating_sub(removed.len);
        self.entries.copy_within(at.saturating_add(1)..self.count, at);
        self.count = self.count.saturating_sub(1);
        Some(removed.label)
    }

    /// Drops every entry that matches; returns how many.
    pub(crate) fn remove_all(&mut self, matches: impl Fn(&Entry) -> bool) -> u32 {
        let mut removed: u32 = 0;
        while self.remove(&matches).is_some() {
            removed = removed.saturating_add(1);
        }
        removed
    }

    /// Matching frames are sent again, not before `due_ms`. One that waits already keeps the later of the two times.
    pub(crate) fn again(&mut self, due_ms: u64, matches: impl Fn(&Entry) -> bool) {
        for entry in self.entries.iter_mut().take(self.count).filter(|entry| matches(entry)) {
            entry.due_ms = Some(entry.due_ms.map_or(due_ms, |at| at.max(due_ms)));
        }
    }

    /// Bytes of the first frame that matches.
    pub(crate) fn find(&self, matches: impl Fn(&Entry) -> bool) -> Option<(&Entry, &[u8])> {
        let at = self.position(matches)?;
        Some((self.entries.get(at)?, self.frame(at)?))
    }

    pub(crate) fn contains(&self, matches: impl Fn(&Entry) -> bool) -> bool {
        self.position(matches).is_some()
    }

    pub(crate) fn count(&self, matches: impl Fn(&Entry) -> bool) -> usize {
        self.live().filter(|entry| matches(entry)).count()
    }

    /// Earliest moment at which a frame may be sent, ms.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.live().filter_map(|entry| entry.due_ms).min()
    }

    /// Whether a record would be sent before one that was made earlier and waits for its time.
    fn overtakes(&self, entry: &Entry) -> bool {
        entry.is(FrameType::BattTelem)
            && self.live().take_while(|earlier| earlier.label != entry.label).any(|earlier| {
                earlier.is(FrameType::BattTelem) && !earlier.sent() && earlier.due_ms > entry.due_ms
            })
    }

    fn live(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().take(self.count)
    }

    fn position(&self, matches: impl Fn(&Entry) -> bool) -> Option<usize> {
        self.live().position(matches)
    }

    fn offset(&self, at: usize) -> usize {
        self.live().take(at).fold(0, |sum, entry| sum.saturating_add(entry.len))
    }

    fn frame(&self, at: usize) -> Option<&[u8]> {
        let start = self.offset(at);
        let end = start.saturating_add(self.entries.get(at)?.len);
        self.bytes.get(start..end)
    }
}

fn is_telemetry(frame_type: FrameType) -> bool {
    matches!(frame_type, FrameType::BattTelem | FrameType::TelemCheckpoint | FrameType::TelemHead)
}

const ENTRIES_MAX: usize = 32;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn fill(byte: u8, len: usize) -> impl FnOnce(&mut [u8]) -> Result<usize, EncodeError> {
        move |out| {
            out.get_mut(..len).ok_or(EncodeError::BufferTooSmall)?.fill(byte);
            Ok(len)
        }
    }

    #[test]
    fn a_removed_frame_leaves_the_others_byte_for_byte() {
        let mut bytes = [0; 32];
        let mut out = [0; 32];
        let mut buffer = Retransmit::new(&mut bytes);
        for (number, len) in [(1, 5), (2, 7), (3, 9)] {
            buffer.put(Label::numbered(FrameType::BattTelem, number.into()), fill(number, len)).unwrap();
        }
        assert_eq!(buffer.remove(|entry| entry.label.number == 2).unwrap().number, 2);
        assert_eq!(buffer.send(0, &mut out), Some(5));
        assert_eq!(out[..5], [1; 5]);
        assert_eq!(buffer.send(0, &mut out), Some(9));
        assert_eq!(out[..9], [3; 9]);
        assert_eq!(buffer.send(0, &mut out), None);
    }

    #[test]
    fn a_full_buffer_refuses_and_keeps_what_it_holds() {
        let mut bytes = [0; 8];
        let mut buffer = Retransmit::new(&mut bytes);
        buffer.put(Label::numbered(FrameType::BattTelem, 1), fill(1, 6)).unwrap();
        assert_eq!(buffer.put(Label::numbered(FrameType::BattTelem, 2), fill(2, 6)), Err(Error::WouldBlock));
        assert_eq!(buffer.find(|_| true).unwrap().1, [1; 6]);
    }

    #[test]
    fn authorization_is_sent_before_telemetry_made_earlier() {
        let mut bytes = [0; 32];
        let mut out = [0; 32];
        let mut buffer = Retransmit::new(&mut bytes);
        buffer.put(Label::numbered(FrameType::BattTelem, 1), fill(1, 4)).unwrap();
        buffer.put(Label::of_charge(FrameType::AuthResp, [0; 16]), fill(2, 4)).unwrap();
        buffer.send(0, &mut out).unwrap();
        assert_eq!(out[0], 2);
    }

    #[test]
    fn a_frame_to_be_retried_waits_for_its_time() {
        let mut bytes = [0; 8];
        let mut out = [0; 8];
        let mut buffer = Retransmit::new(&mut bytes);
        buffer.put(Label::numbered(FrameType::BattTelem, 1), fill(1, 4)).unwrap();
        buffer.send(0, &mut out).unwrap();
        buffer.again(500, |_| true);
        assert_eq!(buffer.next_due_ms(), Some(500));
        assert_eq!(buffer.send(499, &mut out), None);
        assert_eq!(buffer.send(500, &mut out), Some(4));
    }
}
