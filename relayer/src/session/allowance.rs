//! How much a pile may send: a token bucket over frames, and a second one over the refusals that the first makes.

/// A bucket of tokens that fills with time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    tokens: f64,
    burst: f64,
    per_second: f64,
    refilled_at_ms: u64,
}

impl Bucket {
    /// A full bucket of `burst` tokens, of which `per_second` come back.
    pub fn full(per_second: u32, burst: u32, now_ms: u64) -> Self {
        let burst = f64::from(burst);
        Self { tokens: burst, burst, per_second: f64::from(per_second), refilled_at_ms: now_ms }
    }

    /// Takes a token, or says after how many ms there will be one.
    pub fn take(&mut self, now_ms: u64) -> Result<(), u32> {
        let elapsed_ms = now_ms.saturating_sub(self.refilled_at_ms);
        self.refilled_at_ms = self.refilled_at_ms.max(now_ms);
        self.tokens = (self.tokens + elapsed_ms as f64 * self.per_second / 1_000.0).min(self.burst);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(((1.0 - self.tokens) * 1_000.0 / self.per_second).ceil() as u32)
    }
}

/// What becomes of a pile's next frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is handled.
    Take,
    /// It is answered by NACK RATE_LIMITED with this `retry_ms`.
    Refuse(u32),
    /// It stays unread for so long, ms: even refusals would be too many.
    Wait(u32),
}

/// The allowance of a device, which outlives its sessions, so that a reconnect does not renew it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allowance {
    frames: Bucket,
    refusals: Bucket,
}

impl Allowance {
    /// Frames on average and at once; as many again are refused before the rest is left unread.
    pub fn new(frames_per_second: u32, burst: u32, now_ms: u64) -> Self {
        let bucket = Bucket::full(frames_per_second, burst, now_ms);
        Self { frames: bucket, refusals: bucket }
    }

    /// Judges one frame.
    pub fn judge(&mut self, now_ms: u64) -> Verdict {
        let Err(retry_ms) = self.frames.take(now_ms) else { return Verdict::Take };
        match self.refusals.take(now_ms) {
            Ok(()) => Verdict::Refuse(retry_ms),
            Err(wait_ms) => Verdict::Wait(wait_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_refuses_a_flood_and_names_the_wait() {
        let mut bucket = Bucket::full(10, 2, 0);
        assert_eq!(bucket.take(0), Ok(()));
        assert_eq!(bucket.take(0), Ok(()));
        assert_eq!(bucket.take(0), Err(100));
        assert_eq!(bucket.take(100), Ok(()));
        assert_eq!(bucket.take(100), Err(100));
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_tokens() {
        let mut bucket = Bucket::full(10, 1, 1_000);
        assert_eq!(bucket.take(1_000), Ok(()));
        assert_eq!(bucket.take(0), Err(100));
        assert_eq!(bucket.take(1_000), Err(100));
    }

    #[test]
    fn a_flood_is_refused_at_first_and_then_left_unread() {
        let mut allowance = Allowance::new(10, 2, 0);
        assert_eq!([(); 2].map(|()| allowance.judge(0)), [Verdict::Take; 2]);
        assert_eq!([(); 2].map(|()| allowance.judge(0)), [Verdict::Refuse(100); 2]);
        assert_eq!(allowance.judge(0), Verdict::Wait(100));
        assert_eq!(allowance.judge(100), Verdict::Take);
    }

    #[test]
    fn whoever_keeps_to_the_rate_is_never_refused() {
        let mut allowance = Allowance::new(10, 1, 0);
        for tenth in 0..1_000 {
            assert_eq!(allowance.judge(tenth * 100), Verdict::Take, "{tenth}");
        }
    }
}
