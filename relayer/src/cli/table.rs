//! Output for people: columns, and lines of name and value.

use serde_json::Value;

/// Rows under a heading, each column as wide as its widest cell. No trailing blanks.
pub(super) fn columns(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let heading: Vec<String> = heading.iter().map(|cell| (*cell).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A JSON value in a cell: `-` for none, strings without quotes.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

/// Rows of the named fields of each object in an array.
pub(super) fn rows(items: &Value, fields: &[&str]) -> Vec<Vec<String>> {
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| fields.iter().map(|field| cell(&item[*field])).collect()).collect()
}

/// One `name  value` line for each leaf of a JSON value, names joined by dots.
pub(super) fn leaves(value: &Value) -> String {
    let mut leaves = Vec::new();
    collect(String::new(), value, &mut leaves);
    let width = leaves.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    leaves.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

fn collect(name: String, value: &Value, leaves: &mut Vec<(String, String)>) {
    let child = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| collect(child(key), value, leaves)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| collect(child(&at.to_string()), value, leaves));
        }
        Value::String(text) => leaves.push((name, text.clone())),
        other => leaves.push((name, other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn status_for_people_has_a_line_for_each_leaf() {
        let status = json!({ "sessions": 3, "chain": { "safe_block": 7, "policies": ["a"] } });
        assert_eq!(leaves(&status), "chain.policies.0  a\nchain.safe_block  7\nsessions          3\n");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
        let items = json!([{ "name": "a", "epoch": null }, { "name": "long", "epoch": 12 }]);
        let text = columns(&["name", "e"], &rows(&items, &["name", "epoch"]));
        assert_eq!(text, "name  e\na     -\nlong  12\n");
    }
}
