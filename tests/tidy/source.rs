//! What stands in a source file, as far as the checks need to know.

use std::collections::{BTreeMap, BTreeSet};

/// `section.key` to its value, as written. Values of one line only, as all of ours are.
pub(crate) fn toml_keys(text: &str) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    let mut section = "";
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((key, value)) = line.split_once('=') {
            keys.insert(format!("{section}.{}", key.trim()), value.trim().to_owned());
        }
    }
    keys
}

/// Names given to the metrics macros; each has to be a literal, so that it can be found.
pub(crate) fn emitted_metrics(source: &str) -> BTreeSet<&str> {
    let calls =
        ["counter!(", "gauge!(", "histogram!("].into_iter().flat_map(|call| source.split(call).skip(1));
    calls.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next()).collect()
}

pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(part)
            && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// The variants of a formatted enum.
pub(crate) fn variants<'s>(source: &'s str, name: &str) -> Vec<&'s str> {
    let Some((_, body)) = source.split_once(&format!("pub enum {name} {{\n")) else { return Vec::new() };
    let lines = body.lines().take_while(|line| *line != "}");
    let at_top = lines.filter_map(|line| line.strip_prefix("    "));
    at_top
        .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
        .filter_map(|line| line.split([' ', '(', ',']).next())
        .collect()
}

/// `BAD_SIGNATURE` as `BadSignature`.
pub(crate) fn camel_case(name: &str) -> String {
    let word = |word: &str| match word.split_at_checked(1) {
        Some((first, rest)) => first.to_uppercase() + &rest.to_lowercase(),
        None => String::new(),
    };
    name.split(['_', '-']).map(word).collect()
}

pub(crate) fn is_source(path: &str, text: &str) -> bool {
    [".rs", ".sol", ".mjs", ".py"].iter().any(|extension| path.ends_with(extension)) || text.starts_with("#!")
}
