//! Named places at which a scenario kills the process with SIGKILL: nothing is flushed, nothing is told.

/// Sends this process SIGKILL if the environment variable `CIP22_FAILPOINT` names this place. Does nothing unless built
/// with the feature `failpoints`.
#[cfg(feature = "failpoints")]
pub fn failpoint(name: &str) {
    if std::env::var_os("CIP22_FAILPOINT").is_some_and(|chosen| chosen == name) {
        let own = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-KILL", &own]).status();
        // Only where there is no `kill` does anything follow.
        tracing::error!(?sent, name, "the failpoint could not send SIGKILL");
        std::process::abort();
    }
}

/// Sends this process SIGKILL if the environment variable `CIP22_FAILPOINT` names this place. Does nothing unless built
/// with the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn failpoint(_name: &str) {}
