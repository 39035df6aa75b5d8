//! How one endpoint is doing. Pure: told what happened and when, it says whether to ask the endpoint and whether to believe it.
//!
//! Only failed calls count against an endpoint: no answer in time, no connection, an HTTP error, bytes that are no answer. A JSON-RPC
//! error (a revert, a nonce too low, an underpriced replacement) is an answer.

use std::collections::BTreeMap;

use super::Heads;

/// First pause before an endpoint that failed is asked again, ms; it doubles with each failure.
const BACKOFF_MIN_MS: u64 = 250;
/// Longest pause, ms.
const BACKOFF_MAX_MS: u64 = 10_000;
/// A failure that no success of the same kind has answered is forgotten after this time, ms.
const FAILURE_MEMORY_MS: u64 = 30_000;
/// Chain id, genesis and catch-up are asked again after this time, ms.
const IDENTITY_INTERVAL_MS: u64 = 5_000;

/// How an endpoint is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointState {
    /// It has not answered yet.
    Connecting,
    /// It is asked and believed.
    Healthy,
    /// Its head does not move, or lags too far behind the others: it is not believed.
    Stale,
    /// Its node says that it is catching up: it is not believed.
    CatchingUp,
    /// It serves another chain: nothing is sent to it.
    WrongChain,
    /// Its calls fail; it is asked again after a pause.
    Failing,
}

impl EndpointState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Connecting, Self::Healthy, Self::Stale, Self::CatchingUp, Self::WrongChain, Self::Failing];

    /// Its name in metrics, status and log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Healthy => "healthy",
            Self::Stale => "stale",
            Self::CatchingUp => "catching_up",
            Self::WrongChain => "wrong_chain",
            Self::Failing => "failing",
        }
    }
}

/// When an endpoint's head is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthLimits {
    /// Most blocks behind the q-th highest head.
    pub lag_blocks_max: u64,
    /// Longest time without a new head, ms.
    pub stale_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    failed_at_ms: u64,
    retry_at_ms: u64,
}

/// One endpoint.
#[derive(Debug)]
pub struct Health {
    limits: HealthLimits,
    /// Whether it serves our chain; `None` until it said.
    right_chain: Option<bool>,
    syncing: bool,
    identified_at_ms: Option<u64>,
    latest: Option<u64>,
    /// When `latest` last moved.
    moved_at_ms: u64,
    /// Unanswered failures, by what was asked.
    failures: BTreeMap<&'static str, Failures>,
    last_error: Option<String>,
    /// Moving average of the time of a call.
    latency_ms: Option<u64>,
}

impl Health {
    /// An endpoint that was never asked.
    pub fn new(limits: HealthLimits) -> Self {
        Self {
            limits,
            right_chain: None,
            syncing: false,
            identified_at_ms: None,
            latest: None,
            moved_at_ms: 0,
            failures: BTreeMap::new(),
            last_error: None,
            latency_ms: None,
        }
    }

    /// Its state, with lag measured against the head `reference`.
    pub fn state(&self, reference: u64, now_ms: u64) -> EndpointState {
        if self.failures.values().any(|failures| failures.is_remembered(now_ms)) {
            return EndpointState::Failing;
        }
        self.standing(reference, now_ms)
    }

    /// Its state, failures left aside.
    fn standing(&self, reference: u64, now_ms: u64) -> EndpointState {
        let Some(latest) = self.latest else {
            return match self.right_chain {
                Some(false) => EndpointState::WrongChain,
                _ => EndpointState::Connecting,
            };
        };
        let lags = reference.saturating_sub(latest) > self.limits.lag_blocks_max;
        let stands = now_ms.saturating_sub(self.moved_at_ms) > self.limits.stale_ms;
        match self.right_chain {
            None => EndpointState::Connecting,
            Some(false) => EndpointState::WrongChain,
            Some(true) if self.syncing => EndpointState::CatchingUp,
            Some(true) if lags || stands => EndpointState::Stale,
            Some(true) => EndpointState::Healthy,
        }
    }

    /// Whether a fact may be asked of it now, and believed.
    pub fn is_believed(&self, reference: u64, now_ms: u64) -> bool {
        self.is_due(now_ms) && self.standing(reference, now_ms) == EndpointState::Healthy
    }

    /// Whether the pause after its last failure is over.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.retry_in_ms(now_ms) == 0
    }

    /// Time until it is asked again, ms.
    pub fn retry_in_ms(&self, now_ms: u64) -> u64 {
        let pauses = self.failures.values().map(|failures| failures.retry_at_ms.saturating_sub(now_ms));
        pauses.max().unwrap_or(0)
    }

    /// Whether it is known to serve another chain.
    pub fn is_wrong_chain(&self) -> bool {
        self.right_chain == Some(false)
    }

    /// Whether chain id, genesis and catch-up should be asked again.
    pub fn is_identity_due(&self, now_ms: u64) -> bool {
        self.identified_at_ms.is_none_or(|at| now_ms.saturating_sub(at) >= IDENTITY_INTERVAL_MS)
    }

    /// It said which chain it serves and whether it catches up.
    pub fn identified(&mut self, right_chain: bool, syncing: bool, now_ms: u64) {
        self.right_chain = Some(right_chain);
        self.syncing = syncing;
        self.identified_at_ms = Some(now_ms);
    }

    /// It refused a transaction: a node that catches up does, so that is asked again at the next look.
    pub fn refused_a_send(&mut self) {
        self.identified_at_ms = None;
    }

    /// It told its heads.
    pub fn told_heads(&mut self, heads: &Heads, now_ms: u64) {
        if self.latest != Some(heads.latest) {
            self.latest = Some(heads.latest);
            self.moved_at_ms = now_ms;
        }
    }

    /// A call was answered, be it by a JSON-RPC error.
    pub fn answered(&mut self, fact: &'static str, elapsed_ms: u64) {
        self.failures.remove(fact);
        self.latency_ms = Some(self.latency_ms.map_or(elapsed_ms, |before| (before * 7 + elapsed_ms) / 8));
    }

    /// A call failed.
    pub fn failed(&mut self, fact: &'static str, error: String, now_ms: u64) {
        self.last_error = Some(error);
        let before = self.failures.get(fact).filter(|failures| failures.is_remembered(now_ms));
        if before.is_some_and(|failures| now_ms < failures.retry_at_ms) {
            // It was under way when another failed: no news.
            return;
        }
        let count = before.map_or(0, |failures| failures.count);
        let pause_ms = (BACKOFF_MIN_MS << count.min(10)).min(BACKOFF_MAX_MS);
        let failures = Failures { count: count + 1, failed_at_ms: now_ms, retry_at_ms: now_ms + pause_ms };
        self.failures.insert(fact, failures);
    }

    /// Failures in a row of whatever fails most.
    pub fn failures(&self, now_ms: u64) -> u32 {
        let remembered = self.failures.values().filter(|failures| failures.is_remembered(now_ms));
        remembered.map(|failures| failures.count).max().unwrap_or(0)
    }

    /// What failed last, for people.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Moving average of the time of a call, ms.
    pub fn latency_ms(&self) -> Option<u64> {
        self.latency_ms
    }
}

impl Failures {
    fn is_remembered(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.failed_at_ms) < FAILURE_MEMORY_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HealthLimits = HealthLimits { lag_blocks_max: 20, stale_ms: 60_000 };

    fn healthy_at(latest: u64) -> Health {
        let mut health = Health::new(LIMITS);
        health.identified(true, false, 0);
        health.told_heads(&Heads { latest, safe: 0, finalized: 0 }, 0);
        health
    }

    #[test]
    fn an_endpoint_is_believed_once_it_said_what_it_serves() {
        let mut health = Health::new(LIMITS);
        assert_eq!(health.state(0, 0), EndpointState::Connecting);
        assert!(!health.is_believed(0, 0) && health.is_identity_due(0));
        health.identified(true, false, 0);
        assert_eq!(health.state(0, 0), EndpointState::Connecting);
        health.told_heads(&Heads { latest: 9, safe: 0, finalized: 0 }, 0);
        assert_eq!(health.state(0, 0), EndpointState::Healthy);
        assert!(health.is_believed(0, 0) && !health.is_identity_due(0));
    }

    #[test]
    fn a_syncing_node_is_not_believed_and_is_again_when_done() {
        let mut health = healthy_at(100);
        health.identified(true, true, 5);
        assert_eq!(health.state(100, 5), EndpointState::CatchingUp);
        assert!(!health.is_believed(100, 5));
        health.identified(true, false, 6);
        assert!(health.is_believed(100, 6));
    }

    #[test]
    fn a_refused_send_asks_at_once_whether_the_node_catches_up() {
        let mut health = healthy_at(100);
        assert!(!health.is_identity_due(1));
        health.refused_a_send();
        assert!(health.is_identity_due(1));
        assert_eq!(health.state(100, 1), EndpointState::Healthy, "a refusal alone is no fault");
    }

    #[test]
    fn a_head_that_lags_or_stands_is_stale() {
        let mut health = healthy_at(100);
        assert_eq!(health.state(120, 1), EndpointState::Healthy);
        assert_eq!(health.state(121, 1), EndpointState::Stale);
        assert_eq!(health.state(100, 60_001), EndpointState::Stale);
        health.told_heads(&Heads { latest: 101, safe: 0, finalized: 0 }, 60_001);
        assert_eq!(health.state(100, 60_001), EndpointState::Healthy);
    }

    #[test]
    fn another_chain_is_wrong_for_as_long_as_it_says_so() {
        let mut health = healthy_at(100);
        health.identified(false, false, 1);
        assert_eq!(health.state(100, 1), EndpointState::WrongChain);
        assert!(health.is_wrong_chain() && !health.is_believed(100, 1));
        assert!(health.is_identity_due(5_001), "asked again: it may be mended");
    }

    #[test]
    fn failures_pause_longer_and_longer_and_one_success_ends_them() {
        let mut health = healthy_at(100);
        let mut now_ms = 0;
        for expected_ms in [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            health.failed("heads", "no connection".to_owned(), now_ms);
            assert_eq!(health.retry_in_ms(now_ms), expected_ms);
            assert_eq!(health.state(100, now_ms), EndpointState::Failing);
            assert!(!health.is_believed(100, now_ms));
            health.failed("heads", "begun before".to_owned(), now_ms);
            now_ms += expected_ms;
            assert!(health.is_due(now_ms));
        }
        assert_eq!(health.failures(now_ms), 8);
        health.answered("heads", 5);
        assert_eq!(health.state(100, now_ms), EndpointState::Healthy);
        health.failed("heads", "no connection".to_owned(), now_ms);
        assert_eq!(health.retry_in_ms(now_ms), 250, "counted anew");
    }

    #[test]
    fn what_works_does_not_hide_what_fails() {
        let mut health = healthy_at(100);
        health.failed("head_events", "not JSON".to_owned(), 0);
        health.answered("heads", 5);
        assert_eq!(health.state(100, 300), EndpointState::Failing);
        assert!(health.is_believed(100, 300), "asked again after the pause, and believed if it answers");
        assert_eq!(
            health.state(100, 30_000),
            EndpointState::Healthy,
            "forgotten when it is not asked any more"
        );
    }
}
