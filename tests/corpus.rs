//! Every kept input of every fuzz target, without a fuzzer: what was found once stays found.
#![allow(missing_docs, reason = "the tests' names say what they show")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use system_tests::fuzz::{TARGETS, run};

#[test]
fn every_kept_input_is_survived() {
    for (target, _) in TARGETS {
        let inputs = files(&folder("corpus").join(target));
        assert!(!inputs.is_empty(), "no input is kept for {target}");
        for input in inputs {
            let data = fs::read(&input).unwrap();
            assert!(data.len() <= INPUT_BYTES_MAX, "{} is too long to be kept", input.display());
            let survived = std::panic::catch_unwind(|| run(target, &data));
            assert!(survived.is_ok(), "{}", input.display());
        }
    }
}

#[test]
fn targets_their_files_and_their_corpora_are_the_same_set() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let sources: BTreeSet<String> = files(&folder("fuzz_targets")).into_iter().map(stem).collect();
    assert_eq!(sources, names);
    let corpora: BTreeSet<String> = entries(&folder("corpus")).into_iter().map(stem).collect();
    assert_eq!(corpora, names);
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for name in &names {
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
        let source = fs::read_to_string(folder("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(source.contains(&format!("run(\"{name}\", data)")), "{name}");
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(name)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.is_file()).collect()
}

const INPUT_BYTES_MAX: usize = 16 * 1024;
