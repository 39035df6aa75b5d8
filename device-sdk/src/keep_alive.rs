/// Heartbeats and the detection of a silent link (protocol §4.1, 8). Times are of the session's clock, ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    interval_ms: u64,
    heard_at: u64,
    beat_at: u64,
    counter: u32,
}

impl KeepAlive {
    /// Begins at `now_ms` with the interval of HELLO_ACK, ms.
    #[must_use]
    pub fn new(interval_ms: u32, now_ms: u64) -> Self {
        let interval_ms = u64::from(interval_ms);
        Self { interval_ms, heard_at: now_ms, beat_at: now_ms.saturating_add(interval_ms), counter: 0 }
    }

    /// A byte arrived.
    pub const fn heard(&mut self, now_ms: u64) {
        self.heard_at = now_ms;
    }

    /// Whether a heartbeat is due.
    #[must_use]
    pub const fn beat_due(&self, now_ms: u64) -> bool {
        now_ms >= self.beat_at
    }

    /// A heartbeat is being sent; returns its counter.
    pub const fn beat(&mut self, now_ms: u64) -> u32 {
        self.beat_at = now_ms.saturating_add(self.interval_ms);
        self.counter = self.counter.wrapping_add(1);
        self.counter
    }

    /// Whether two intervals passed without a byte.
    #[must_use]
    pub const fn lost(&self, now_ms: u64) -> bool {
        now_ms >= self.loss_at()
    }

    /// When the link counts as lost unless a byte arrives, ms.
    #[must_use]
    pub const fn loss_at(&self) -> u64 {
        self.heard_at.saturating_add(self.interval_ms.saturating_mul(2))
    }

    /// When the next heartbeat is due, ms.
    #[must_use]
    pub const fn beat_at(&self) -> u64 {
        self.beat_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_intervals_without_a_byte_are_a_loss() {
        let mut keep_alive = KeepAlive::new(1_000, 500);
        assert!(!keep_alive.lost(2_499));
        assert!(keep_alive.lost(2_500));
        keep_alive.heard(2_400);
        assert!(!keep_alive.lost(4_399));
        assert!(keep_alive.lost(4_400));
    }

    #[test]
    fn a_heartbeat_is_due_once_an_interval() {
        let mut keep_alive = KeepAlive::new(1_000, 0);
        assert!(!keep_alive.beat_due(999));
        assert!(keep_alive.beat_due(1_000));
        assert_eq!(keep_alive.beat(1_000), 1);
        assert!(!keep_alive.beat_due(1_999));
        assert_eq!(keep_alive.beat(2_000), 2);
    }
}
