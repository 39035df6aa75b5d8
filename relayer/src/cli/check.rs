//! `relayer check`: whether this installation can serve, before it does. Each finding says what to do about it.

mod certificates;
mod chain;
mod funds;
mod installation;

use serde::Serialize;

use super::table;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::disk::Disk;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It works, and should be looked at.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    name: String,
    level: Level,
    detail: String,
    /// What to do, unless all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Finding {
    fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), level: Level::Ok, detail: detail.into(), mend: None }
    }

    fn warn(name: impl Into<String>, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name: name.into(), level: Level::Warn, detail: detail.into(), mend: Some(mend.into()) }
    }

    fn fail(name: impl Into<String>, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name: name.into(), level: Level::Fail, detail: detail.into(), mend: Some(mend.into()) }
    }
}

/// Everything. Offline, the chain is not asked.
pub(super) async fn all(disk: &dyn Disk, config: &Config, offline: bool) -> Vec<Finding> {
    let clock = SystemClock::new();
    let mut findings = installation::all(disk, config, clock.unix_ms());
    if offline {
        findings.push(Finding::ok("chain", "not looked at (--offline)"));
    } else {
        findings.extend(chain::all(disk, config, std::sync::Arc::new(clock)).await);
    }
    findings
}

/// Whether anything does not work.
pub(super) fn has_failures(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.level == Level::Fail)
}

/// `{ "ok": …, "findings": [ … ] }`.
pub(super) fn to_json(findings: &[Finding]) -> serde_json::Value {
    serde_json::json!({ "ok": !has_failures(findings), "findings": findings })
}

/// A line each, and another with what to do.
pub(super) fn for_people(findings: &[Finding]) -> String {
    let mut rows = Vec::new();
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        rows.push(vec![level.to_owned(), finding.name.clone(), finding.detail.clone()]);
        if let Some(mend) = &finding.mend {
            rows.push(vec![String::new(), String::new(), format!("→ {mend}")]);
        }
    }
    table::columns(&["", "what", "found"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_that_is_not_well_says_what_to_do_and_only_a_failure_fails() {
        let warned = [Finding::ok("a", "fine"), Finding::warn("b", "old", "renew it")];
        assert!(!has_failures(&warned) && for_people(&warned).contains("→ renew it"));
        let failed = [Finding::fail("c", "gone", "bring it back")];
        assert!(has_failures(&failed) && for_people(&failed).contains("FAIL"));
        assert_eq!(to_json(&failed)["findings"][0]["mend"], "bring it back");
    }
}
