//! Which piles are connected, how to reach them, and what is remembered of them between two sessions.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cip22_wire::DeviceId;
use metrics::{counter, gauge};
use tokio::sync::{mpsc, watch};

use super::activity::Activity;
use super::allowance::{Allowance, Verdict};
use crate::gateway::fill_random;

/// Why a session is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A newer session of the same device took over.
    Superseded,
    /// The pile does not take what it is sent. Whatever was not taken is derived again at its next HELLO.
    TooSlow,
}

/// What a session gets when it begins.
#[derive(Debug)]
pub struct Entered {
    /// Number of the session; needed to leave.
    pub number: u64,
    /// Frames that others want the pile to be told.
    pub pushed: mpsc::Receiver<Vec<u8>>,
    /// Set once the session has to end.
    pub end: watch::Receiver<Option<End>>,
}

/// All sessions, by device.
#[derive(Debug)]
pub struct Registry {
    limits: Limits,
    inner: Mutex<Inner>,
}

/// Limits of every session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Pushed frames that may wait for one session.
    pub push_queue_frames_max: usize,
    /// Frames a second that a device may send on average.
    pub frames_per_second_max: u32,
    /// Frames that it may send at once.
    pub frame_burst_max: u32,
}

#[derive(Debug, Default)]
struct Inner {
    open: HashMap<DeviceId, Session>,
    remembered: HashMap<DeviceId, Remembered>,
    last_number: u64,
}

#[derive(Debug)]
struct Session {
    number: u64,
    push: mpsc::Sender<Vec<u8>>,
    end: watch::Sender<Option<End>>,
    /// HELLO was answered: before, nothing is pushed.
    greeted: bool,
}

/// Kept as long as the process runs: some hundred bytes for each certificate that was ever shown.
#[derive(Debug, Default)]
struct Remembered {
    allowance: Option<Allowance>,
    resume_token: Option<[u8; 16]>,
    activity: Activity,
}

impl Registry {
    /// Nobody is connected.
    pub fn new(limits: Limits) -> Self {
        Self { limits, inner: Mutex::default() }
    }

    /// Makes a session the one of its device; an older one is told to go.
    pub fn enter(&self, device_id: DeviceId) -> Entered {
        let (push, pushed) = mpsc::channel(self.limits.push_queue_frames_max);
        let (end, ended) = watch::channel(None);
        let mut inner = self.inner();
        inner.last_number = inner.last_number.saturating_add(1);
        let number = inner.last_number;
        if let Some(older) = inner.open.insert(device_id, Session { number, push, end, greeted: false }) {
            older.end.send_replace(Some(End::Superseded));
        }
        gauge!("sessions_open").set(inner.open.len() as f64);
        Entered { number, pushed, end: ended }
    }

    /// Removes a session, unless a newer one has taken its place.
    pub fn leave(&self, device_id: DeviceId, number: u64) {
        let mut inner = self.inner();
        if inner.open.get(&device_id).is_some_and(|session| session.number == number) {
            inner.open.remove(&device_id);
        }
        gauge!("sessions_open").set(inner.open.len() as f64);
    }

    /// Hands a frame to the device's session, if it has one. If its queue is full, the session ends, so that the pile comes
    /// back and everything is derived again: a pile never misses a frame in the middle of a session. Whether the session took it.
    pub fn push(&self, device_id: &DeviceId, frame: Vec<u8>) -> bool {
        let inner = self.inner();
        let Some(session) = inner.open.get(device_id).filter(|session| session.greeted) else { return false };
        let sent = session.push.try_send(frame);
        if let Err(mpsc::error::TrySendError::Full(_)) = sent {
            let ended = session.end.send_if_modified(|end| {
                let first = end.is_none();
                end.get_or_insert(End::TooSlow);
                first
            });
            if ended {
                counter!("sessions_too_slow_total").increment(1);
            }
        }
        sent.is_ok()
    }

    /// The device's HELLO was answered.
    pub fn greeted(&self, device_id: &DeviceId) {
        if let Some(session) = self.inner().open.get_mut(device_id) {
            session.greeted = true;
        }
    }

    /// Number of connected piles.
    pub fn count(&self) -> usize {
        self.inner().open.len()
    }

    /// Whether the device has a session.
    pub fn is_open(&self, device_id: &DeviceId) -> bool {
        self.inner().open.contains_key(device_id)
    }

    /// Takes note of what operators are told of the device.
    pub fn note(&self, device_id: &DeviceId, change: impl FnOnce(&mut Activity)) {
        change(&mut self.inner().remembered.entry(*device_id).or_default().activity);
    }

    /// What was noted of the device; `None` if it never had a session.
    pub fn activity(&self, device_id: &DeviceId) -> Option<Activity> {
        self.inner().remembered.get(device_id).map(|remembered| remembered.activity.clone())
    }

    /// Judges a frame that the device sent, whichever way it came.
    pub fn judge_frame(&self, device_id: &DeviceId, now_ms: u64) -> Verdict {
        let Limits { frames_per_second_max, frame_burst_max, .. } = self.limits;
        let mut inner = self.inner();
        let remembered = inner.remembered.entry(*device_id).or_default();
        let new = || Allowance::new(frames_per_second_max, frame_burst_max, now_ms);
        remembered.allowance.get_or_insert_with(new).judge(now_ms)
    }

    /// Makes the device's resume token; an older one is void.
    pub fn issue_resume_token(&self, device_id: DeviceId) -> [u8; 16] {
        let mut token = [0; 16];
        fill_random(&mut token);
        self.inner().remembered.entry(device_id).or_default().resume_token = Some(token);
        token
    }

    /// Uses up a resume token; true if it was this device's newest.
    pub fn redeem_resume_token(&self, device_id: &DeviceId, token: &[u8; 16]) -> bool {
        let mut inner = self.inner();
        let Some(remembered) = inner.remembered.get_mut(device_id) else { return false };
        remembered.resume_token.take_if(|newest| newest == token).is_some()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere does not make the map wrong; the process is about to end anyway.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = [7; 32];

    #[test]
    fn a_newer_session_ends_the_older_even_if_its_queue_is_full() {
        let registry = registry(1);
        let older = registry.enter(DEVICE);
        registry.greeted(&DEVICE);
        registry.push(&DEVICE, vec![1]);
        let newer = registry.enter(DEVICE);
        assert_eq!(*older.end.borrow(), Some(End::Superseded));
        assert_eq!(*newer.end.borrow(), None);
        registry.leave(DEVICE, older.number);
        assert_eq!(registry.count(), 1);
        registry.leave(DEVICE, newer.number);
        assert_eq!(registry.count(), 0);
    }

    #[test]
    fn a_push_that_does_not_fit_ends_the_session_and_the_earlier_ones_stay() {
        let registry = registry(2);
        let mut session = registry.enter(DEVICE);
        assert!(!registry.push(&DEVICE, vec![9]), "nothing comes before HELLO_ACK");
        registry.greeted(&DEVICE);
        for byte in 0..3 {
            assert_eq!(*session.end.borrow(), None, "{byte}");
            registry.push(&DEVICE, vec![byte]);
        }
        assert_eq!(*session.end.borrow(), Some(End::TooSlow));
        assert_eq!(session.pushed.try_recv(), Ok(vec![0]));
        assert_eq!(session.pushed.try_recv(), Ok(vec![1]));
    }

    #[test]
    fn a_reconnect_does_not_renew_the_allowance() {
        let registry = registry(1);
        let first = registry.enter(DEVICE);
        assert_eq!(registry.judge_frame(&DEVICE, 0), Verdict::Take);
        registry.leave(DEVICE, first.number);
        registry.enter(DEVICE);
        assert_eq!(registry.judge_frame(&DEVICE, 0), Verdict::Refuse(1_000));
        assert_eq!(registry.judge_frame(&[8; 32], 0), Verdict::Take);
    }

    #[test]
    fn a_resume_token_is_good_once_for_its_device_and_only_while_it_is_the_newest() {
        let registry = registry(1);
        let first = registry.issue_resume_token(DEVICE);
        assert!(!registry.redeem_resume_token(&[8; 32], &first));
        assert!(registry.redeem_resume_token(&DEVICE, &first));
        assert!(!registry.redeem_resume_token(&DEVICE, &first));
        let second = registry.issue_resume_token(DEVICE);
        let third = registry.issue_resume_token(DEVICE);
        assert!(!registry.redeem_resume_token(&DEVICE, &second));
        assert!(registry.redeem_resume_token(&DEVICE, &third));
    }

    fn registry(push_queue_frames_max: usize) -> Registry {
        Registry::new(Limits { push_queue_frames_max, frames_per_second_max: 1, frame_burst_max: 1 })
    }
}
