//! `relayer why <sid>`.

use serde_json::Value;

use super::table;

pub(super) fn for_people(answer: &Value) -> String {
    let line = |name: &str, value: String| format!("{name:10}{value}\n");
    let mut text = line("sid", table::cell(&answer["sid"]));
    text.push_str(&line("stage", table::cell(&answer["stage"])));
    text.push_str(&line("", table::cell(&answer["summary"])));
    text.push_str(&line("fault", table::cell(&answer["fault"])));
    text.push_str(&line("next", table::cell(&answer["next"])));
    for (name, field) in [("expires", "expires_block"), ("device", "device_id"), ("epoch", "epoch")] {
        if !answer[field].is_null() {
            text.push_str(&line(name, table::cell(&answer[field])));
        }
    }
    let chain = &answer["chain"];
    let heads = ["latest", "safe", "finalized"].map(|head| format!("{head} {}", table::cell(&chain[head])));
    text.push_str(&line("chain", heads.join(", ")));
    let rows = table::rows(&answer["history"], &["lsn", "event", "block", "batch", "transaction", "detail"]);
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table::columns(&["lsn", "event", "block", "batch", "transaction", "detail"], &rows));
    }
    text
}

/// Whether the relayer knows the message.
pub(super) fn is_known(answer: &Value) -> bool {
    answer["stage"] != "unknown"
}
