//! What stands in a page: tables, code spans, links, headings, paths.

use std::collections::BTreeSet;

use crate::tree::Tree;

/// The cells of each table row, without the outer bars.
pub(crate) fn rows(text: &str) -> impl Iterator<Item = Vec<String>> + '_ {
    text.lines().filter_map(|line| {
        let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        Some(inner.split('|').map(|cell| cell.trim().to_owned()).collect())
    })
}

/// From a heading to the next one of its level or above.
pub(crate) fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let Some(start) = text.find(&format!("{heading}\n")) else { return "" };
    let body = &text[start + heading.len()..];
    let level = heading.bytes().take_while(|byte| *byte == b'#').count();
    let ends = (1..=level).filter_map(|depth| body.find(&format!("\n{} ", "#".repeat(depth))));
    &body[..ends.min().unwrap_or(body.len())]
}

/// What stands between single backticks, outside of fences.
pub(crate) fn code_spans(text: &str) -> Vec<&str> {
    let mut spans = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            spans.extend(line.split('`').skip(1).step_by(2));
        }
    }
    spans
}

pub(crate) fn fenced_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            lines.push(line);
        }
    }
    lines
}

pub(crate) fn link_targets(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.trim())
        .collect()
}

/// The anchors that a page's headings have.
pub(crate) fn headings(text: &str) -> BTreeSet<String> {
    let slug = |heading: &str| -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| slug(line.trim_start_matches('#').trim()))
        .collect()
}

/// Paths from the top of the tree, in code spans and in shell blocks; `{a,b}` spelled out, `<…>` as `*`.
pub(crate) fn quoted_paths(tree: &Tree, text: &str) -> BTreeSet<String> {
    let spans = code_spans(text).into_iter().filter_map(|span| span.split_whitespace().next());
    let shell = fenced_lines(text)
        .into_iter()
        .flat_map(str::split_whitespace)
        .filter(|word| word.starts_with("scripts/"));
    let tops: BTreeSet<&str> =
        tree.files.keys().filter_map(|path| path.split_once('/')).map(|(top, _)| top).collect();
    spans
        .chain(shell)
        .map(|word| word.trim_end_matches(['.', ',', ';', ':', ')']))
        .filter(|word| word.split_once('/').is_some_and(|(top, _)| tops.contains(top)))
        .flat_map(|word| spelled_out(&wildcards(word)))
        .collect()
}

pub(crate) fn wildcards(word: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in word.chars() {
        match c {
            '<' => {
                inside = true;
                out.push('*');
            }
            '>' => inside = false,
            _ if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

pub(crate) fn spelled_out(word: &str) -> Vec<String> {
    let Some((before, rest)) = word.split_once('{') else { return vec![word.to_owned()] };
    let Some((choices, after)) = rest.split_once('}') else { return vec![word.to_owned()] };
    choices.split(',').flat_map(|choice| spelled_out(&format!("{before}{choice}{after}"))).collect()
}
