//! Named places at which a scenario can kill the process as SIGKILL would.

/// Aborts the process if the environment variable `CIP22_FAILPOINT` names this place. Does nothing unless built with the
/// feature `failpoints`.
#[cfg(feature = "failpoints")]
pub fn failpoint(name: &str) {
    if std::env::var_os("CIP22_FAILPOINT").is_some_and(|chosen| chosen == name) {
        std::process::abort();
    }
}

/// Aborts the process if the environment variable `CIP22_FAILPOINT` names this place. Does nothing unless built with the
/// feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn failpoint(_name: &str) {}
