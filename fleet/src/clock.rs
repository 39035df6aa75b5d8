//! The clocks of the simulated piles.

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use cip22_device_sdk::{Clock, Entropy, EntropyError};

/// Unix time, ms.
#[must_use]
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The computer's monotonic clock, ms since the process first asked.
#[derive(Clone, Copy, Debug)]
pub struct Monotonic;

impl Monotonic {
    /// The moment of `ms` on this clock.
    #[must_use]
    pub fn instant(self, ms: u64) -> Instant {
        start() + Duration::from_millis(ms)
    }
}

impl Clock for Monotonic {
    fn now_ms(&self) -> u64 {
        u64::try_from(start().elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// The system's random source.
#[derive(Clone, Copy, Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(bytes).map_err(|_| EntropyError)
    }
}
