/// When to reconnect: waits that grow by the golden ratio, then none (protocol §4.1, 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconnect {
    first_ms: u32,
    tries_max: u8,
    tries: u8,
    next_us: u64,
}

impl Reconnect {
    /// The first wait is `first_ms`; after `tries_max` waits there are none until [`Self::reset`].
    #[must_use]
    pub const fn new(first_ms: u32, tries_max: u8) -> Self {
        Self { first_ms, tries_max, tries: 0, next_us: first_us(first_ms) }
    }

    /// The wait before the next try, ms; `None` when the tries are used up.
    pub const fn next_delay_ms(&mut self) -> Option<u64> {
        if self.tries >= self.tries_max {
            return None;
        }
        self.tries = self.tries.saturating_add(1);
        let delay_us = self.next_us;
        self.next_us = delay_us.saturating_mul(GROWTH_PER_MILLE) / 1_000;
        Some(delay_us.saturating_add(500) / 1_000)
    }

    /// Tries made since the last reset.
    #[must_use]
    pub const fn tries(&self) -> u8 {
        self.tries
    }

    /// A session stands: the next loss begins anew.
    pub const fn reset(&mut self) {
        self.tries = 0;
        self.next_us = first_us(self.first_ms);
    }
}

const fn first_us(first_ms: u32) -> u64 {
    // `u64::from` is not const.
    (first_ms as u64).saturating_mul(1_000)
}

const GROWTH_PER_MILLE: u64 = 1_618;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_are_100_162_262_424_685_ms_and_then_none() {
        let mut reconnect = Reconnect::new(100, 5);
        let waits = [(); 6].map(|()| reconnect.next_delay_ms());
        assert_eq!(waits, [Some(100), Some(162), Some(262), Some(424), Some(685), None]);
        assert_eq!(reconnect.tries(), 5);
    }

    #[test]
    fn a_reset_begins_with_the_first_wait_again() {
        let mut reconnect = Reconnect::new(100, 5);
        while reconnect.next_delay_ms().is_some() {}
        reconnect.reset();
        assert_eq!(reconnect.next_delay_ms(), Some(100));
        assert_eq!(reconnect.next_delay_ms(), Some(162));
    }
}
