//! What operators are told of a device's sessions. Nothing is decided by it, and it is gone with the process.

use std::collections::BTreeMap;

use cip22_wire::message::{Body, Nack};
use cip22_wire::{FrameType, NackCode, frame};
use serde::Serialize;

/// A device's sessions since the process began. Times are Unix ms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// Sessions begun.
    pub sessions: u64,
    /// Binding of the newest one.
    pub binding: Option<&'static str>,
    /// Its peer address.
    pub peer: Option<String>,
    /// When it began.
    pub since_ms: Option<u64>,
    /// Why the newest one that ended did.
    pub ended_because: Option<&'static str>,
    /// Whole frames received.
    pub frames_received: u64,
    /// The newest of them.
    pub last_frame_ms: Option<u64>,
    /// The newest BATT_TELEM.
    pub last_telemetry_ms: Option<u64>,
    /// Newest policy version that it was told.
    pub policy_told: Option<u32>,
    /// NACKs sent to it, by code.
    pub nacks_sent: BTreeMap<&'static str, u64>,
    /// NACKs received from it, by code.
    pub nacks_received: BTreeMap<&'static str, u64>,
}

impl Activity {
    /// A session began.
    pub fn opened(&mut self, binding: &'static str, peer: String, now_ms: u64) {
        self.sessions = self.sessions.saturating_add(1);
        (self.binding, self.peer, self.since_ms) = (Some(binding), Some(peer), Some(now_ms));
    }

    /// A whole frame came.
    pub fn received(&mut self, frame_type: u8, now_ms: u64) {
        self.frames_received = self.frames_received.saturating_add(1);
        self.last_frame_ms = Some(now_ms);
        if frame_type == FrameType::BattTelem.code() {
            self.last_telemetry_ms = Some(now_ms);
        }
    }

    /// Frames are queued for it; the NACKs among them count.
    pub fn answered(&mut self, frames: &[Vec<u8>]) {
        for code in frames.iter().filter_map(|bytes| nack_code(bytes)) {
            *self.nacks_sent.entry(code).or_default() += 1;
        }
    }
}

/// The name of a NACK's code.
fn nack_code(bytes: &[u8]) -> Option<&'static str> {
    let parsed = frame::parse(bytes, u16::MAX).ok().flatten()?;
    if parsed.frame_type != FrameType::Nack.code() {
        return None;
    }
    let nack = Nack::decode(parsed.payload).ok()?;
    Some(NackCode::from_u16(nack.code).map_or("UNKNOWN", NackCode::name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::refuse;

    #[test]
    fn nacks_are_counted_by_code_and_other_frames_are_not() {
        let mut activity = Activity::default();
        let beat = crate::pipeline::frame_bytes(&cip22_wire::message::Heartbeat { counter: 1, time_ms: 2 });
        let refused = || refuse(FrameType::Hello.code(), NackCode::Unexpected);
        activity.answered(&[refused(), beat, refused()]);
        activity.answered(&[refuse(FrameType::AuthResp.code(), NackCode::BadSignature)]);
        let counted: Vec<_> = activity.nacks_sent.into_iter().collect();
        assert_eq!(counted, [(NackCode::BadSignature.name(), 1), (NackCode::Unexpected.name(), 2)]);
    }

    #[test]
    fn the_newest_session_and_the_newest_telemetry_are_told() {
        let mut activity = Activity::default();
        activity.opened("raw", "a".to_owned(), 10);
        activity.received(FrameType::BattTelem.code(), 11);
        activity.opened("h2", "b".to_owned(), 20);
        activity.received(FrameType::Heartbeat.code(), 21);
        assert_eq!((activity.sessions, activity.binding, activity.since_ms), (2, Some("h2"), Some(20)));
        assert_eq!((activity.last_telemetry_ms, activity.last_frame_ms), (Some(11), Some(21)));
    }
}
