//! `pgraft-check check` as a person runs it: what passes, what is found, and what is refused. The
//! machine is the counter of the tests, which misbehaves on request.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

const HONEST: &str = "machine = \"counter\"\n\
    [[operation]]\ncall = \"command\"\nweight = 30\ntext = \"name{k}\"\ndraw = { k = [1, 5] }\n\
    [[operation]]\ncall = \"query\"\nweight = 10\ntext = \"name{k}\"\ndraw = { k = [1, 5] }\n";

/// A module and its operations in a folder.
struct Desk {
    folder: TempDir,
}

impl Desk {
    /// The counter; `more`: a command that it is also asked.
    fn new(more: &str) -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let modules = pgraft_bundle::test_modules();
        let counter = modules.iter().find(|module| module.name == "counter").unwrap();
        fs::write(folder.path().join("counter.wasm"), counter.component).unwrap();
        let more = match more {
            "" => String::new(),
            text => format!("[[operation]]\ncall = \"command\"\nweight = 10\ntext = \"{text}\"\n"),
        };
        fs::write(folder.path().join("operations.toml"), format!("{HONEST}{more}")).unwrap();
        Desk { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn check(&self, words: &[&str]) -> Output {
        self.check_file("counter.wasm", words)
    }

    fn check_file(&self, name: &str, words: &[&str]) -> Output {
        let (file, out) = (self.path(name), self.path("out"));
        let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
        run(&[
            &["check", file, "--seed", "3", "--seeds", "1", "--shrink", "12", "--out", out],
            words,
        ]
        .concat())
    }
}

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pgraft-check")).args(words).output().unwrap()
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn an_honest_machine_passes_and_has_a_report() {
    let desk = Desk::new("");
    let parts = ["--only", "facts", "--only", "orders", "--only", "crashes"];
    let output = desk.check(&parts);
    let text = told(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in ["facts ", "orders ", "crashes ", "invariant ", "keys ", "outcomes "] {
        let line = text.lines().find(|line| line.starts_with(part));
        assert!(line.is_some_and(|line| line.contains("PASSED")), "{part}: {text}");
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().last(), Some("PASSED"));
    let report = fs::read_to_string(desk.path("out/report.html")).unwrap();
    assert!(report.contains("PASSED: counter 0.2.0") && report.contains("crashes-3.html"));
    assert!(desk.path("out/crashes-3.html").is_file());
}

/// A check that must fail: the line of the part, and everything that was told.
fn found(more: &str, only: &str, part: &str) -> (String, String) {
    let output = Desk::new(more).check(&["--only", only]);
    let text = told(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let line = text.lines().find(|line| line.starts_with(part)).unwrap_or_default().to_owned();
    assert!(line.contains("FAILED"), "{part}: {text}");
    (line, text)
}

#[test]
fn canary_a_broken_invariant_is_found_by_the_model_in_the_fewest_entries() {
    let (line, text) = found("!break", "orders", "orders ");
    assert!(line.contains("violated after 1 entries: the invariant holds"), "{line}");
    assert!(text.contains("somebody sent !break") && text.contains("client 1: "), "{text}");
    assert!(text.contains("again: pgraft-check check ") && text.contains("--seed 3"), "{text}");
}

#[test]
fn canary_a_broken_invariant_is_found_in_a_cluster_and_made_small() {
    let (line, text) = found("!break", "crashes", "crashes ");
    assert!(line.contains("seed 3: invariant: counter: after entry"), "{line}");
    assert!(text.contains("This is enough, found in "), "{text}");
    assert!(text.contains("--only crashes --seed 3 --seeds 1"), "{text}");
}

#[test]
fn canary_a_keyed_machine_that_sees_other_keys_is_found() {
    let (_, text) = found("!peek", "quiet", "keys ");
    assert!(text.contains("calls itself keyed, but at index"), "{text}");
    assert!(text.contains("\"!peek\" of key \"!peek\""), "{text}");
}

#[test]
fn canary_a_module_that_traps_is_told_of() {
    let (line, _) = found("!panic", "quiet", "outcomes ");
    assert!(line.contains("the module trapped (code 1)") && line.contains("!panic"), "{line}");
}

fn refused(output: &Output, names: &[&str]) {
    let text = told(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for name in names {
        assert!(text.contains(name), "{name}: {text}");
    }
}

#[test]
fn what_cannot_be_checked_is_refused_with_its_reason() {
    let desk = Desk::new("");
    refused(&desk.check_file("none.wasm", &[]), &["none.wasm: there is no such file"]);
    refused(&desk.check(&["--seeds", "0"]), &["--seeds"]);
    refused(&desk.check(&["--only", "storms"]), &["--only storms", "crashes", "orders"]);
    let write = |name: &str, bytes: &[u8]| fs::write(desk.path(name), bytes).unwrap();
    write("text.wasm", b"no machine");
    refused(&desk.check_file("text.wasm", &[]), &["text.wasm: not WASM"]);
    write("empty.wasm", b"");
    refused(&desk.check_file("empty.wasm", &[]), &["empty.wasm: not WASM: the file is empty"]);
    write("bare.wasm", &wat::parse_str("(module)").unwrap());
    refused(&desk.check_file("bare.wasm", &[]), &["bare.wasm: ", "guest"]);
    let foreign = "(component (import \"wasi:clocks/wall-clock@0.2.0\" (instance)))";
    write("foreign.wasm", &wat::parse_str(foreign).unwrap());
    let words = ["foreign.wasm: ", "it imports wasi:clocks/wall-clock@0.2.0"];
    refused(&desk.check_file("foreign.wasm", &[]), &words);
    write("kv.toml", HONEST.replace("\"counter\"", "\"kv\"").as_bytes());
    let kv = desk.path("kv.toml");
    let words = ["--operations", kv.to_str().unwrap(), "--only", "quiet"];
    refused(&desk.check(&words), &["kv is built in"]);
    write("operations.toml", HONEST.replace("draw", "drawn").as_bytes());
    refused(&desk.check(&[]), &["operations.toml: ", "drawn"]);
    fs::remove_file(desk.path("operations.toml")).unwrap();
    refused(&desk.check(&[]), &["counter.wasm: what shall it be asked?", "--operations"]);
}
