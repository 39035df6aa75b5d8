//! `relayer devices list | show`.

use clap::Subcommand;
use serde_json::Value;

use super::table;
use crate::admin::request::{DEVICES_PER_PAGE_MAX, Request};

/// What to see of the devices.
#[derive(Debug, Subcommand)]
pub(super) enum DevicesCommand {
    /// A page of the registered devices, in the order of their ids.
    List {
        /// Devices to leave out before the first.
        #[arg(long, default_value_t = 0)]
        offset: usize,
        /// Most devices to print.
        #[arg(long, default_value_t = 50, value_parser = parse_limit)]
        limit: usize,
    },
    /// One device.
    Show {
        /// Its id, or the beginning of it, in hex digits.
        device: String,
    },
}

impl DevicesCommand {
    pub(super) fn request(&self) -> Request {
        match self {
            Self::List { offset, limit } => Request::Devices { offset: *offset, limit: *limit },
            Self::Show { device } => Request::Device { device: device.clone() },
        }
    }

    pub(super) fn for_people(&self, answer: &Value) -> String {
        match self {
            Self::List { .. } => list(answer),
            Self::Show { .. } => show(answer),
        }
    }
}

fn list(answer: &Value) -> String {
    let mut items = answer["devices"].clone();
    for device in items.as_array_mut().into_iter().flatten() {
        // Enough to tell devices apart, and to be given to `show`.
        let short: String = device["device_id"].as_str().unwrap_or_default().chars().take(18).collect();
        device["device_id"] = short.into();
    }
    let fields = [
        "device_id",
        "standing",
        "group",
        "index",
        "active_from",
        "connected",
        "binding",
        "policy_acknowledged",
        "policy_in_force",
        "open_charges",
        "statements_waiting",
    ];
    let heading = [
        "device",
        "standing",
        "group",
        "index",
        "from",
        "connected",
        "policy",
        "in force",
        "charges",
        "waiting",
    ];
    let mut text = table::columns(&heading, &table::rows(&items, &fields));
    let shown = items.as_array().map_or(0, Vec::len) as u64;
    let (offset, total) = (answer["offset"].as_u64().unwrap_or(0), answer["total"].as_u64().unwrap_or(0));
    text.push_str(&format!("{shown} of {total} devices, from {offset}\n"));
    text
}

fn show(answer: &Value) -> String {
    let mut rest = answer.clone();
    let mut text = String::new();
    let parts: [(&str, &[&str]); 4] = [
        ("places", &["group", "index", "key", "active_from", "active_until"]),
        ("charges", &["sid", "epoch", "credit_wh", "credit_minutes", "acknowledged"]),
        (
            "epochs",
            &[
                "epoch",
                "group",
                "index",
                "statements",
                "safe_up_to",
                "in_batch",
                "tries",
                "retry_block",
                "given_up",
            ],
        ),
        ("batteries", &["battery", "last_seq", "checkpoint_seq", "ledger_seq", "checkpoints_waiting"]),
    ];
    for (name, fields) in parts {
        let rows = table::rows(&answer[name], fields);
        if !rows.is_empty() {
            text.push_str(&format!("\n{name}\n{}", table::columns(fields, &rows)));
        }
        if let Some(object) = rest.as_object_mut() {
            object.remove(name);
        }
    }
    format!("{}{text}", table::leaves(&rest))
}

fn parse_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if (1..=DEVICES_PER_PAGE_MAX).contains(&limit) => Ok(limit),
        _ => Err(format!("1 to {DEVICES_PER_PAGE_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_says_how_many_there_are_in_all() {
        let answer = json!({ "total": 812, "offset": 50, "devices": [{ "device_id": "0x".to_owned() + &"ab".repeat(32) }] });
        let text = list(&answer);
        assert!(text.contains("0xabababababababab  -"), "{text}");
        assert!(text.ends_with("1 of 812 devices, from 50\n"), "{text}");
    }
}
