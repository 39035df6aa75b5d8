//! Time, as the rest of the relayer sees it.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

/// A source of time. Deadlines within a run use the monotonic clock, records that outlive it the Unix clock.
#[async_trait]
pub trait Clock: Debug + Send + Sync {
    /// Milliseconds since the Unix epoch; within a run it never goes back, whatever is done to the machine's clock.
    fn unix_ms(&self) -> u64;
    /// Milliseconds since an arbitrary moment; never goes back.
    fn monotonic_ms(&self) -> u64;
    /// Returns after the given time.
    async fn sleep(&self, duration: Duration);
}

/// A shared clock.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
    told: Mutex<Told>,
}

/// The newest Unix time that was told, and when.
#[derive(Debug, Default)]
struct Told {
    unix_ms: u64,
    at_ms: u64,
}

impl Told {
    /// The time to tell while the machine's clock says `wall_ms`. A clock that was set back is waited for at half speed: piles stamp
    /// their records by this time, and a record may not be older than the one before it.
    fn next(&mut self, wall_ms: u64, monotonic_ms: u64) -> u64 {
        if wall_ms >= self.unix_ms {
            *self = Self { unix_ms: wall_ms, at_ms: monotonic_ms };
        } else {
            let step_ms = monotonic_ms.saturating_sub(self.at_ms) / 2;
            self.unix_ms = self.unix_ms.saturating_add(step_ms);
            self.at_ms = self.at_ms.saturating_add(step_ms.saturating_mul(2));
        }
        self.unix_ms
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the adapter that the rule sends everyone to")]
impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self { start: std::time::Instant::now(), told: Mutex::default() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
#[allow(clippy::disallowed_methods, reason = "this is the adapter that the rule sends everyone to")]
impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let wall_ms = since.map_or(0, |duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        let wall_ms = wall_ms.saturating_add_signed(crate::failpoint::clock_offset_ms());
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.next(wall_ms, self.monotonic_ms())
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_time_follows_a_clock_that_is_set_forward_and_waits_for_one_that_is_set_back() {
        let mut told = Told::default();
        assert_eq!(told.next(1_000, 0), 1_000);
        assert_eq!(told.next(90_000, 10), 90_000);
        // Set back by 80 s: half speed, and no remainder is lost.
        assert_eq!(told.next(10_010, 20), 90_005);
        assert_eq!(told.next(10_011, 21), 90_005);
        assert_eq!(told.next(10_012, 22), 90_006);
        assert_eq!(told.next(170_000, 160_000), 170_000, "caught up");
    }

    #[test]
    fn told_time_reaches_the_clock_again_after_twice_the_step() {
        let mut told = Told::default();
        told.next(100_000, 0);
        let mut last = 0;
        for monotonic_ms in (0..=20_000).step_by(7) {
            // Ten seconds behind.
            let now = told.next(90_000 + monotonic_ms, monotonic_ms);
            assert!(now >= last);
            last = now;
        }
        assert_eq!(told.next(110_001, 20_001), 110_001);
    }
}
