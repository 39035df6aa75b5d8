//! What scenarios do to the process from inside: named places at which it is killed with SIGKILL (nothing is flushed, nothing is told), and
//! a step of its wall clock.

/// Every place, in the order in which a message passes them.
pub const FAILPOINTS: [&str; 14] = [
    "announce::before_epoch",
    "journal::before_commit",
    "journal::after_commit",
    "session::before_reply",
    "batch::before_cut",
    "batch::after_cut",
    "submit::before_persist",
    "submit::after_persist",
    "submit::after_broadcast",
    "confirm::before_mined",
    "confirm::before_safe",
    "acknowledge::before_head",
    "acknowledge::after_head",
    "acknowledge::before_ledger",
];

/// Places in pruning: passed only once epochs are old enough to be forgotten.
pub const PRUNING_FAILPOINTS: [&str; 3] = ["prune::before_pruned", "prune::after_pruned", "prune::front_cut"];

/// Places in the round of a root: passed only where batches go by lane 2.
pub const ROUND_FAILPOINTS: [&str; 6] = [
    "root::before_cut",
    "root::after_cut",
    "root::after_offer",
    "root::after_signature",
    "root::before_close",
    "root::after_close",
];

/// Places around what is sealed: the last three are passed only where a grant is revoked.
pub const SEALING_FAILPOINTS: [&str; 4] =
    ["grant::sealed", "revoke::before_commit", "revoke::after_commit", "revoke::after_push"];

/// Sends this process SIGKILL if the environment variable `CIP22_FAILPOINT` names this place, as `name` or, to do so
/// only when it is passed for the K-th time, as `name=K`. Does nothing unless built with the feature `failpoints`.
#[cfg(feature = "failpoints")]
pub fn failpoint(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let armed = std::env::var("CIP22_FAILPOINT").ok()?;
        let (chosen, pass) = match armed.split_once('=') {
            Some((chosen, pass)) => (chosen.to_owned(), pass.parse().ok()?),
            None => (armed, 1),
        };
        Some((chosen, pass))
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let listed = [&FAILPOINTS[..], &PRUNING_FAILPOINTS, &ROUND_FAILPOINTS, &SEALING_FAILPOINTS];
    let listed = listed.concat().contains(&name);
    assert!(listed, "{name} is not in the list of failpoints");
    let Some((chosen, pass)) = &*ARMED else { return };
    if chosen == name && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *pass {
        let own = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-KILL", &own]).status();
        // Only where there is no `kill` does anything follow.
        tracing::error!(?sent, name, "the failpoint could not send SIGKILL");
        std::process::abort();
    }
}

/// Sends this process SIGKILL if the environment variable `CIP22_FAILPOINT` names this place, as `name` or, to do so
/// only when it is passed for the K-th time, as `name=K`. Does nothing unless built with the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn failpoint(_name: &str) {}

/// By how much a scenario has stepped the wall clock, ms: the number in the file that `CIP22_CLOCK_OFFSET_FILE` names. 0 unless built
/// with the feature `failpoints`.
#[cfg(feature = "failpoints")]
#[allow(clippy::disallowed_methods, reason = "no disk of the relayer: scenarios write this file")]
pub fn clock_offset_ms() -> i64 {
    let file = std::env::var_os("CIP22_CLOCK_OFFSET_FILE");
    let text = file.and_then(|file| std::fs::read_to_string(file).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// By how much a scenario has stepped the wall clock, ms: the number in the file that `CIP22_CLOCK_OFFSET_FILE` names. 0 unless built
/// with the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn clock_offset_ms() -> i64 {
    0
}
