//! `pgraft-check new`, `build` and `test` as a person runs them, in the languages that need no
//! cargo; the tutorial's test does the same in Rust. Needs what `scripts/setup` installs.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn run(folder: &Path, words: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_pgraft-check"));
    program.args(words).current_dir(folder).output().unwrap()
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// A new project is made, built and tested as it is.
fn works(language: &str) {
    let folder = tempfile::tempdir().unwrap();
    let done = |words: &[&str]| {
        let output = run(folder.path(), words);
        let text = told(&output);
        assert!(output.status.success(), "{words:?}: {text}");
        text
    };
    done(&["new", "my-machine", "--lang", language]);
    assert!(folder.path().join("my-machine/README.md").is_file());
    let built = done(&["build", "my-machine", "--out", "here.wasm"]);
    assert!(built.contains("here.wasm: ") && folder.path().join("here.wasm").is_file(), "{built}");
    let tested = done(&["test", "my-machine", "--seed", "3", "--entries", "60"]);
    for part in ["facts", "determinism", "snapshot", "crash", "outcomes"] {
        let line = tested.lines().find(|line| line.starts_with(part));
        assert!(line.is_some_and(|line| line.contains(" PASSED ")), "{part}: {tested}");
    }
    assert!(tested.contains("my-machine 1.0.0"), "{tested}");
    assert_eq!(tested.lines().last(), Some("PASSED"));
}

#[test]
fn a_project_in_c_works_as_it_is_made() {
    works("c");
}

#[test]
fn a_project_in_zig_works_as_it_is_made() {
    works("zig");
}

#[test]
fn a_project_in_javascript_works_as_it_is_made() {
    works("js");
}

#[test]
fn what_cannot_be_made_built_or_tested_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |words: &[&str], says: &[&str]| {
        let output = run(folder.path(), words);
        let text = told(&output);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {text}");
        for says in says {
            assert!(text.contains(says), "{says}: {text}");
        }
    };
    refused(&["new", "My_Lock"], &["\"My_Lock\"", "small letters"]);
    refused(&["new", "kv"], &["\"kv\"", "the cluster uses it itself"]);
    refused(&["new", "lock", "--lang", "cobol"], &["cobol", "rust", "zig"]);
    refused(&["new", "lock", "--sdk", "nowhere"], &["--sdk nowhere", "Cargo.toml"]);
    assert!(!folder.path().join("lock").exists(), "a refusal leaves nothing behind");
    fs::create_dir(folder.path().join("lock")).unwrap();
    refused(&["new", "lock"], &["lock is there already"]);
    refused(&["build", "lock"], &["no machine in", "Cargo.toml", "machine.c"]);
    refused(&["build", "nothing"], &["nothing: there is no such file or folder"]);
    refused(&["test", "nothing"], &["nothing: there is no such file or folder"]);
    refused(&["check", "nothing"], &["nothing: there is no such file or folder"]);
    refused(&["test", "lock", "--entries", "0"], &["--entries 0"]);
    fs::write(folder.path().join("lock/machine.c"), "not C").unwrap();
    refused(&["test", "lock"], &["machine.c"]);
}
