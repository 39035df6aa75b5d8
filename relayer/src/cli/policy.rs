//! `relayer policy`.

use serde_json::Value;

use super::table;

pub(super) fn for_people(answer: &Value) -> String {
    let fields = ["version", "standing", "first_epoch", "told", "acknowledged", "lagging", "policy_hash"];
    let mut text = table::columns(
        &["version", "standing", "first epoch", "told", "acknowledged", "lagging", "hash"],
        &table::rows(&answer["versions"], &fields),
    );
    text.push_str(&format!(
        "{} devices, epoch {}\n",
        table::cell(&answer["devices"]),
        table::cell(&answer["epoch"])
    ));
    for version in answer["versions"].as_array().into_iter().flatten() {
        for device in version["lagging_devices"].as_array().into_iter().flatten() {
            text.push_str(&format!("version {} lacks {}\n", version["version"], table::cell(device)));
        }
    }
    text
}
