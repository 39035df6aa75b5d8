//! The tree against its own documents: what a page names is there, and what operators and piles depend on is on a page.
//!
//! Each check looks at a [`Tree`] in memory, so that `every_check_notices_a_break` can break one and see that it is noticed.
#![allow(missing_docs, reason = "the tests' names say what they show")]

use std::collections::BTreeSet;

use markdown::{code_spans, fenced_lines, headings, link_targets, quoted_paths, rows, section};
use source::{camel_case, emitted_metrics, has_word, is_source, toml_keys, variants};
use tree::{Tree, resolve, root};

#[path = "tidy/markdown.rs"]
mod markdown;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tree.rs"]
mod tree;

#[test]
fn every_step_of_an_auth_resp_names_what_is_there() {
    report(life_of_an_auth_resp(&Tree::load()));
}

#[test]
fn every_link_and_path_of_the_documents_leads_somewhere() {
    report(links_and_paths(&Tree::load()));
}

#[test]
fn every_test_that_a_document_names_is_in_the_file_it_links() {
    report(named_tests(&Tree::load()));
}

#[test]
fn every_failure_that_others_met_has_a_rule_and_a_test_or_a_reason() {
    report(known_failures(&Tree::load()));
}

#[test]
fn every_configuration_key_is_documented_with_its_default() {
    report(configuration_keys(&Tree::load()));
}

#[test]
fn every_metric_is_documented_and_every_documented_one_is_emitted() {
    report(metrics(&Tree::load()));
}

#[test]
fn every_command_of_the_operators_page_is_one_of_the_program() {
    report(commands(&Tree::load()));
}

#[test]
fn every_event_field_is_in_the_list_of_what_the_chain_reveals() {
    report(revealed_fields(&Tree::load()));
}

#[test]
fn no_source_file_is_longer_than_700_lines() {
    report(long_files(&Tree::load()));
}

#[test]
fn no_file_or_folder_has_a_name_that_says_nothing() {
    report(empty_names(&Tree::load()));
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    report(machine_paths(&Tree::load()));
}

#[test]
fn the_name_of_every_test_is_a_sentence() {
    report(test_names(&Tree::load()));
}

#[test]
fn the_readme_tells_the_two_cip_22_apart_and_a_local_figure_from_the_chain() {
    report(readme(&Tree::load()));
}

#[test]
fn every_record_and_state_of_the_relayer_is_on_the_architecture_page() {
    report(records_and_states(&Tree::load()));
}

/// A check, and a break of the tree that it has to notice.
type Break = (&'static str, fn(&Tree) -> Vec<String>, fn(&mut Tree));

#[test]
fn every_check_notices_a_break() {
    let breaks: &[Break] = &[
        ("a stage's file is gone", life_of_an_auth_resp, |tree| tree.remove("relayer/src/pipeline/grant.rs")),
        ("a stage without a row", life_of_an_auth_resp, |tree| {
            tree.put("relayer/src/pipeline/forward.rs", "");
        }),
        ("a renamed span", life_of_an_auth_resp, |tree| {
            tree.replace("relayer/src/pipeline/grant.rs", "name = \"grant\"", "name = \"given\"");
        }),
        ("a renamed metric in a row", life_of_an_auth_resp, |tree| {
            tree.replace("relayer/src/pipeline/grant.rs", "auth_resp_total", "auth_responses_total");
        }),
        ("a renamed code", life_of_an_auth_resp, |tree| {
            tree.replace("relayer/src/pipeline/grant.rs", "TicketUsed", "TicketSpent");
        }),
        ("a link to nowhere", links_and_paths, |tree| tree.append("README.md", "\n[x](docs/nowhere.md)\n")),
        ("a link to no heading", links_and_paths, |tree| {
            tree.append("README.md", "\n[x](docs/protocol.md#nowhere)\n");
        }),
        ("a path to nowhere", links_and_paths, |tree| {
            tree.append("docs/operations.md", "\n`scripts/nothing up`\n");
        }),
        ("a script that is gone", links_and_paths, |tree| {
            tree.append("README.md", "\n```sh\nscripts/nothing\n```\n");
        }),
        ("a test that is gone", named_tests, |tree| {
            tree.replace(
                "tests/scenarios/auth_resp_reaches_chain.rs",
                "fn an_auth_resp_is",
                "fn the_auth_resp_is",
            );
        }),
        ("a failure without a test", known_failures, |tree| {
            tree.append("docs/known-failures.md", "| 30 | x | y/z#1 | a rule | |\n");
        }),
        ("a failure left out", known_failures, |tree| {
            tree.replace("docs/known-failures.md", "| 7 |", "| 6 |");
        }),
        ("a key without a row", configuration_keys, |tree| {
            tree.append("deploy/relayer.toml", "\nunheard_of = 1\n");
        }),
        ("a changed default", configuration_keys, |tree| {
            tree.replace("deploy/relayer.toml", "max_payload = 16384", "max_payload = 16385");
        }),
        ("a row without a key", configuration_keys, |tree| {
            tree.append("docs/operations.md", "\n| `gateway.unheard_of` | `1` | x |\n");
        }),
        ("a metric without a row", metrics, |tree| {
            tree.append(
                "relayer/src/gateway.rs",
                "\nfn x() { metrics::counter!(\n\"unheard_total\").increment(1); }\n",
            );
        }),
        ("a metric that nobody emits", metrics, |tree| {
            tree.replace("docs/operations.md", "| `sessions_open`", "| `sessions_closed`");
        }),
        ("a command that is gone", commands, |tree| {
            tree.append("docs/operations.md", "\n`relayer explode`\n");
        }),
        ("an event without a row", revealed_fields, |tree| {
            tree.append("contracts/src/interfaces/IBatteryLedger.sol", "\n    event Unheard(bytes32 of);\n");
        }),
        ("a field without a word", revealed_fields, |tree| {
            tree.replace(
                "contracts/src/interfaces/IChargingAuthVerifier.sol",
                "event HeadRecorded(",
                "event HeadRecorded(address who, ",
            );
        }),
        ("a long file", long_files, |tree| tree.put("relayer/src/long.rs", &"\n".repeat(701))),
        ("an empty name", empty_names, |tree| tree.put("relayer/src/utils/mod.rs", "")),
        ("a path of a machine", machine_paths, |tree| {
            tree.append("README.md", &format!("/home{}", "/someone/x"));
        }),
        ("a record without a word", records_and_states, |tree| {
            tree.replace("relayer/src/journal/record.rs", "    LedgerSafe {", "    LedgerSafest {");
        }),
        ("a first paragraph without the other CIP-22", readme, |tree| {
            tree.replace("README.md", "Conflux Improvement Proposal 22", "something else");
        }),
        ("a local figure beside the chain", readme, |tree| tree.append("README.zh.md", "\n链上 12 ms\n")),
        ("a test that says nothing", test_names, |tree| {
            tree.put("wire/tests/x.rs", "#[test]\nfn it_works() {}\n");
        }),
    ];
    let whole = Tree::load();
    for (what, check, break_it) in breaks {
        let before: BTreeSet<String> = check(&whole).into_iter().collect();
        let mut broken = whole.clone();
        break_it(&mut broken);
        assert!(check(&broken).iter().any(|problem| !before.contains(problem)), "not noticed: {what}");
    }
}

/// `docs/life-of-an-auth-resp.md`: columns file, span, metric, error, test; one row a step.
fn life_of_an_auth_resp(tree: &Tree) -> Vec<String> {
    let page = "docs/life-of-an-auth-resp.md";
    let mut problems = Vec::new();
    let mut named = BTreeSet::new();
    let codes = tree.text("wire/src/codes.rs");
    for cells in rows(tree.text(page)).filter(|cells| cells.len() == 7 && cells[0].parse::<u32>().is_ok()) {
        let mut say = |what: String| problems.push(format!("{page}, step {}: {what}", cells[0]));
        let files = code_spans(&cells[2]);
        if files.is_empty() {
            say("names no file".into());
        }
        let mut source = String::new();
        for file in &files {
            match tree.files.get(*file) {
                Some(text) => source.push_str(text),
                None => say(format!("there is no file {file}")),
            }
            named.insert((*file).to_owned());
        }
        for span in code_spans(&cells[3]) {
            let quoted = format!("\"{span}\"");
            let entered = source.split("_span!(").skip(1).any(|rest| rest.trim_start().starts_with(&quoted));
            if !entered && !source.contains(&format!("name = {quoted}")) {
                say(format!("no span {span} in {}", files.join(", ")));
            }
        }
        for metric in code_spans(&cells[4]) {
            if !emitted_metrics(&source).contains(metric) {
                say(format!("no metric {metric} in {}", files.join(", ")));
            }
        }
        for error in code_spans(&cells[5]) {
            let known = if error.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
                codes.contains(&format!("\"{error}\";")) && has_word(&source, &camel_case(error))
            } else {
                has_word(&source, error.rsplit("::").next().unwrap_or(error))
            };
            if !known {
                say(format!("no error {error} in {}", files.join(", ")));
            }
        }
        if !cells[6].contains("](") {
            say("names no test".into());
        }
    }
    let stages = tree.files.keys().filter_map(|path| path.strip_prefix("relayer/src/pipeline/"));
    for stage in stages.filter(|stage| *stage != "mod.rs" && !stage.contains('/')) {
        if !named.contains(&format!("relayer/src/pipeline/{stage}")) {
            problems.push(format!("{page}: no row for the stage {stage}"));
        }
    }
    problems
}

/// Relative links, headings they point at, and paths in code spans and shell blocks.
fn links_and_paths(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (page, text) in tree.documents() {
        let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
        for target in link_targets(text).into_iter().filter(|target| !target.contains("://")) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { page.clone() } else { resolve(folder, path) };
            if !tree.exists(&file) {
                problems.push(format!("{page} links {target}, which is not there"));
            } else if !heading.is_empty() && !headings(tree.text(&file)).contains(heading) {
                problems.push(format!("{page} links {target}, which has no such heading"));
            }
        }
        for path in quoted_paths(tree, text) {
            if !tree.exists(&path) && !GENERATED.iter().any(|generated| path.starts_with(generated)) {
                problems.push(format!("{page} names {path}, which is not there"));
            }
        }
    }
    problems
}

/// A link whose text is one code span in snake case names a function of its target.
fn named_tests(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (page, text) in tree.documents() {
        let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (at, _) in text.match_indices("](") {
            let Some(name) =
                text[..at].rsplit_once('[').and_then(|(_, name)| name.strip_prefix('`')?.strip_suffix('`'))
            else {
                continue;
            };
            let identifier = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !identifier || name.matches('_').count() < 2 {
                continue;
            }
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            let file = resolve(folder, target);
            let source = tree.text(&file);
            let forms = ["fn", "function", "def"].map(|word| format!("{word} {name}("));
            if !forms.iter().any(|form| source.contains(form)) {
                problems.push(format!("{page} names {name}, which is not in {file}"));
            }
        }
    }
    problems
}

/// `docs/known-failures.md`: columns number, failure, where, rule, tests or the reason for having none; numbers without a gap.
fn known_failures(tree: &Tree) -> Vec<String> {
    let page = "docs/known-failures.md";
    let mut problems = Vec::new();
    let mut numbers = Vec::new();
    for cells in rows(tree.text(page)).filter(|cells| cells[0].parse::<usize>().is_ok()) {
        numbers.push(cells[0].clone());
        if cells.len() != 5 || cells.iter().any(String::is_empty) {
            problems.push(format!("{page}, row {}: a cell is empty or missing", cells[0]));
        }
    }
    let expected: Vec<String> = (1..=numbers.len().max(KNOWN_FAILURES_MIN)).map(|n| n.to_string()).collect();
    if numbers != expected {
        problems.push(format!("{page} has the rows {}", numbers.join(", ")));
    }
    problems
}

fn configuration_keys(tree: &Tree) -> Vec<String> {
    let keys = toml_keys(tree.text("deploy/relayer.toml"));
    let sections: BTreeSet<&str> = keys.keys().filter_map(|key| key.split('.').next()).collect();
    let is_key = |span: &str| {
        let lower_case = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.');
        span.split_once('.')
            .is_some_and(|(section, key)| sections.contains(section) && key.bytes().all(lower_case))
    };
    let page = tree.text(OPERATIONS);
    let mut problems = Vec::new();
    for span in code_spans(page).into_iter().filter(|span| is_key(span) && !keys.contains_key(*span)) {
        problems.push(format!("{OPERATIONS} names {span}, which is no key"));
    }
    let mut documented = BTreeSet::new();
    for cells in rows(section(page, "## Configuration")).filter(|cells| cells.len() >= 3) {
        let Some(key) = code_spans(&cells[0]).first().copied().filter(|key| is_key(key)) else { continue };
        documented.insert(key.to_owned());
        let default = code_spans(&cells[1]).first().map(|text| (*text).to_owned());
        if let Some(value) = keys.get(key).filter(|value| default.as_ref() != Some(value)) {
            problems.push(format!("{OPERATIONS} gives {key} the default {default:?}, it is {value}"));
        }
    }
    problems.extend(
        keys.keys()
            .filter(|key| !documented.contains(*key))
            .map(|key| format!("{OPERATIONS} does not document {key}")),
    );
    problems
}

fn metrics(tree: &Tree) -> Vec<String> {
    let relayer =
        tree.files.iter().filter(|(path, _)| path.starts_with("relayer/src/") && path.ends_with(".rs"));
    let sources: Vec<&str> =
        relayer.map(|(_, text)| text.split("#[cfg(test)]\nmod ").next().unwrap_or_default()).collect();
    let emitted: BTreeSet<&str> = sources.iter().flat_map(|text| emitted_metrics(text)).collect();
    let mut problems = Vec::new();
    let mut documented = BTreeSet::new();
    for cells in rows(section(tree.text(OPERATIONS), "## Metrics")).filter(|cells| cells.len() >= 3) {
        let Some(name) = code_spans(&cells[0]).first().copied() else { continue };
        documented.insert(name.to_owned());
        if !emitted.contains(name) {
            problems.push(format!("{OPERATIONS} documents the metric {name}, which nothing emits"));
        }
        for label in code_spans(&cells[1]) {
            if !sources.iter().any(|text| text.contains(&format!("\"{label}\" =>"))) {
                problems.push(format!("{OPERATIONS} gives {name} the label {label}, which nothing has"));
            }
        }
    }
    let silent = emitted.into_iter().filter(|name| !documented.contains(*name));
    problems.extend(silent.map(|name| format!("{OPERATIONS} does not document the metric {name}")));
    problems
}

fn commands(tree: &Tree) -> Vec<String> {
    let cli: String = tree
        .files
        .iter()
        .filter(|(path, _)| path.starts_with("relayer/src/cli"))
        .map(|(_, text)| text.as_str())
        .collect();
    let mut problems = Vec::new();
    for (page, text) in tree.documents() {
        let spans = code_spans(text).into_iter().map(str::to_owned);
        let lines = fenced_lines(text).into_iter().map(|line| line.trim().to_owned());
        for command in spans.chain(lines) {
            let mut words = command.split_whitespace();
            if words.next() != Some("relayer") {
                continue;
            }
            let Some(word) = words.find(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())) else {
                continue;
            };
            if !has_word(&cli, &camel_case(word)) {
                problems.push(format!("{page} names `relayer {word}`, which is no command"));
            }
        }
    }
    problems
}

/// Every event of the interfaces, and every parameter of it, has its word in the threat model.
fn revealed_fields(tree: &Tree) -> Vec<String> {
    let page = "docs/threat-model.md";
    let list = section(tree.text(page), "## What the chain reveals");
    let mut problems = Vec::new();
    for (path, text) in tree.files.iter().filter(|(path, _)| path.starts_with("contracts/src/interfaces/")) {
        for declaration in text.split("\n    event ").skip(1) {
            let (name, rest) = declaration.split_once('(').unwrap_or((declaration, ""));
            let parameters = rest.split(')').next().unwrap_or_default();
            let row =
                rows(list).find(|cells| cells.first().is_some_and(|cell| code_spans(cell).contains(&name)));
            let Some(row) = row else {
                problems.push(format!("{page} does not list the event {name} of {path}"));
                continue;
            };
            let row = row.join(" ");
            let words = code_spans(&row);
            for field in parameters.split(',').filter_map(|parameter| parameter.split_whitespace().last()) {
                if !words.contains(&field) {
                    problems.push(format!("{page} does not say what {name}.{field} reveals"));
                }
            }
        }
    }
    problems
}

/// The variants of the journal's records and of a statement's states.
fn records_and_states(tree: &Tree) -> Vec<String> {
    let page = "docs/architecture.md";
    let relayer = section(tree.text(page), "## The relayer");
    let mut problems = Vec::new();
    let enums =
        [("relayer/src/journal/record.rs", "Record"), ("relayer/src/state/message_state.rs", "MessageState")];
    for (file, name) in enums {
        let variants = variants(tree.text(file), name);
        if variants.is_empty() {
            problems.push(format!("{file} has no enum {name}"));
        }
        for variant in variants.into_iter().filter(|variant| !has_word(relayer, variant)) {
            problems.push(format!("{page} does not name {name}::{variant}"));
        }
    }
    problems
}

fn long_files(tree: &Tree) -> Vec<String> {
    let sources = tree.files.iter().filter(|(path, text)| is_source(path, text));
    sources
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path} has {lines} lines, at most {LINES_MAX} are allowed"))
        .collect()
}

fn empty_names(tree: &Tree) -> Vec<String> {
    let says_nothing = |path: &&String| {
        path.split('/').any(|part| EMPTY_NAMES.contains(&part.split('.').next().unwrap_or_default()))
    };
    tree.files.keys().filter(says_nothing).map(|path| format!("{path}: name what it holds")).collect()
}

fn machine_paths(tree: &Tree) -> Vec<String> {
    let mut needles: Vec<String> = HOMES.iter().map(|parts| parts.concat()).collect();
    // Wherever this clone stands.
    needles.push(format!("{}/", root().display()));
    let mut problems = Vec::new();
    for (path, text) in &tree.files {
        for needle in needles.iter().filter(|needle| text.contains(needle.as_str())) {
            problems.push(format!("{path} names {needle}, a folder of one machine"));
        }
    }
    problems
}

fn test_names(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in tree.files.iter().filter(|(path, _)| path.ends_with(".rs")) {
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            is_test |= matches!(line, "#[test]" | "#[tokio::test]");
            let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test && !line.starts_with("#["))
            else {
                continue;
            };
            is_test = false;
            let name = rest.split('(').next().unwrap_or_default();
            if name.matches('_').count() < 2 {
                problems.push(format!("{path}: the test {name} is no sentence"));
            }
        }
    }
    problems
}

/// The first paragraph tells what CIP-22 is and is not; no line has both a time of the gateway's and the chain.
fn readme(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for page in ["README.md", "README.zh.md"] {
        let is_prose = |part: &&str| !part.starts_with(['#', '[']) && !part.is_empty();
        let first = tree.text(page).split("\n\n").find(is_prose).unwrap_or_default();
        for name in ["Charging Interface Protocol", "Conflux Improvement Proposal 22", "alloy"] {
            if !first.contains(name) {
                problems.push(format!("{page}: the first paragraph does not name {name}"));
            }
        }
        let of_the_chain =
            |line: &str| ["on chain", "on Conflux", "链上"].iter().any(|words| line.contains(words));
        let local = |line: &str| {
            line.split_whitespace().any(|word| {
                word.starts_with("ms") || word.starts_with("毫秒") || word.starts_with("millisecond")
            })
        };
        for line in tree.text(page).lines().filter(|line| of_the_chain(line) && local(line)) {
            problems.push(format!("{page} has a local figure beside the chain: {line}"));
        }
    }
    problems
}

fn report(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// Rows that the page began with.
const KNOWN_FAILURES_MIN: usize = 29;
const OPERATIONS: &str = "docs/operations.md";
const LINES_MAX: usize = 700;
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];
/// In halves, because this file is searched too.
const HOMES: &[[&str; 2]] =
    &[["/ho", "me/"], ["/ro", "ot/"], ["/Us", "ers/"], ["\\Us", "ers\\"], [".cargo/regis", "try/"]];
/// Made by programs, and ignored by git.
const GENERATED: &[&str] = &["contracts/deployments/"];
