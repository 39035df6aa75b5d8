//! What the piles have done so far, for the progress line and for deciding when the run is over.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

/// The counters of one pile; it alone writes them.
#[derive(Debug, Default)]
pub struct PileStats {
    /// A session stands.
    pub connected: AtomicBool,
    /// Grants.
    pub granted: AtomicU32,
    /// AUTH_DENYs, and authorizations refused by NACK.
    pub denied: AtomicU32,
    /// Charges ended and acknowledged.
    pub charges: AtomicU32,
    /// Records acknowledged as durable.
    pub telemetry_acked: AtomicU32,
    /// Newest policy whose POLICY_ACK is acknowledged.
    pub policy_acked: AtomicU32,
    /// Grants that are on chain by AUTH_FINAL.
    pub finals: AtomicU32,
    /// Roots co-signed, the same one again included.
    pub co_signed: AtomicU32,
    /// Frames that lack an answer.
    pub unanswered: AtomicU32,
    /// The pile has stopped.
    pub stopped: AtomicBool,
    /// The pile stopped with everything answered.
    pub clean: AtomicBool,
}

/// Sums over a fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Piles.
    pub piles: u32,
    /// With a session.
    pub connected: u32,
    /// Grants.
    pub granted: u32,
    /// Denials and refusals.
    pub denied: u32,
    /// Charges ended.
    pub charges: u32,
    /// Fewest charges of one pile.
    pub charges_min: u32,
    /// Records acknowledged as durable.
    pub telemetry_acked: u32,
    /// Oldest of the piles' newest acknowledged policies.
    pub policy_min: u32,
    /// Newest acknowledged policy.
    pub policy_max: u32,
    /// Grants on chain by AUTH_FINAL.
    pub finals: u32,
    /// Roots co-signed, the same one again included.
    pub co_signed: u32,
    /// Frames that lack an answer.
    pub unanswered: u32,
    /// Piles that have stopped with everything answered.
    pub clean: u32,
}

impl Totals {
    /// Adds up `piles`.
    pub fn of<'a>(piles: impl IntoIterator<Item = &'a PileStats>) -> Self {
        let mut totals = Self { policy_min: u32::MAX, charges_min: u32::MAX, ..Self::default() };
        for pile in piles {
            let policy = pile.policy_acked.load(Relaxed);
            let charges = pile.charges.load(Relaxed);
            totals.piles += 1;
            totals.connected += u32::from(pile.connected.load(Relaxed));
            totals.granted += pile.granted.load(Relaxed);
            totals.denied += pile.denied.load(Relaxed);
            totals.charges += charges;
            totals.charges_min = totals.charges_min.min(charges);
            totals.telemetry_acked += pile.telemetry_acked.load(Relaxed);
            totals.policy_min = totals.policy_min.min(policy);
            totals.policy_max = totals.policy_max.max(policy);
            totals.finals += pile.finals.load(Relaxed);
            totals.co_signed += pile.co_signed.load(Relaxed);
            totals.unanswered += pile.unanswered.load(Relaxed);
            totals.clean += u32::from(pile.clean.load(Relaxed));
        }
        if totals.piles == 0 {
            (totals.policy_min, totals.charges_min) = (0, 0);
        }
        totals
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { piles, connected, granted, denied, telemetry_acked, policy_min, policy_max, .. } = self;
        write!(
            f,
            "connected {connected}/{piles}  granted {granted}  denied {denied}  final {}  telemetry {telemetry_acked}  \
             policy {policy_min}..{policy_max}  co-signed {}  unanswered {}",
            self.finals, self.co_signed, self.unanswered
        )
    }
}
