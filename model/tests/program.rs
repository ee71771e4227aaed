//! The program as a person uses it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pgraft-model");

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn list_names_the_models_and_their_bounds() {
    let listed = text(&run(&["list"]).stdout);
    for name in ["store", "store-errors", "store-canary-normal"] {
        assert!(listed.lines().any(|line| line.starts_with(&format!("{name} "))), "{listed}");
    }
}

#[test]
fn check_prints_bounds_states_and_what_happened() {
    let output = run(&["check", "store-errors", "--depth", "2"]);
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("depth 2") && told.contains("complete to this depth"), "{told}");
    assert!(told.contains("states/s") && told.contains("PASSED"), "{told}");
}

#[test]
fn canary_prints_its_path_and_passes() {
    let output = run(&["check", "store-canary-spec"]);
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("    1 Append") && told.contains("refuted, as it must be"), "{told}");
}

#[test]
fn run_in_which_something_never_happened_fails() {
    let output = run(&["check", "store", "--depth", "1"]);
    assert!(!output.status.success());
    let told = text(&output.stdout);
    assert!(told.contains("FAILED: store: never happened"), "{told}");
}

#[test]
fn unknown_name_is_told_which_there_are() {
    for arguments in [["check", "stroe"], ["explore", "stroe"]] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2));
        let told = text(&output.stderr);
        assert!(told.contains("\"stroe\"") && told.contains("store-canary-early"), "{told}");
    }
}

/// The example machine in a file, as a user has it.
fn counter(folder: &tempfile::TempDir) -> String {
    let modules = pgraft_bundle::test_modules();
    let counter = modules.iter().find(|module| module.name == "counter").unwrap();
    let path = folder.path().join("counter.wasm");
    std::fs::write(&path, counter.component).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn machine_out_of_a_file_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (module, commands) = (counter(&folder), folder.path().join("commands"));
    std::fs::write(&commands, "a,!half\n\n!panic,0x61\n").unwrap();
    let commands = commands.to_str().unwrap();
    let output = run(&["machine", &module, "--client", "b", "--commands", commands, "--alone"]);
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told}{}", text(&output.stderr));
    assert!(told.contains("machine-counter") && told.contains("every client is done"), "{told}");
    assert!(told.contains("servers 3") && told.contains("complete: "), "{told}");
    let output = run(&["machine", &module, "--client", "a,b", "--client", "a"]);
    assert!(output.status.success(), "on four hosts: {}", text(&output.stdout));
}

#[test]
fn canary_invariant_of_a_machine_that_does_not_hold_fails() {
    let folder = tempfile::tempdir().unwrap();
    let module = counter(&folder);
    let query = ["--invariant-query", "a", "--expect", "0x0000000000000000", "--alone"];
    let output = run(&[&["machine", &module, "--client", "b,a"][..], &query].concat());
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    assert!(told.contains("violated: the invariant holds (2 actions)"), "{told}");
    let output = run(&["machine", "no.wasm", "--client", "a"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no.wasm"), "{}", text(&output.stderr));
    assert_eq!(run(&["machine", &module]).status.code(), Some(2), "nobody does anything");
}

/// Ends the server when the test ends, however it does.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn explorer_serves_the_model() {
    let mut command = Command::new(PROGRAM);
    command.args(["explore", "store-canary-spec"]).stdout(Stdio::piped());
    let mut server = Server(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    // The address is printed a moment before anybody listens there.
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(_) => assert!(server.0.try_wait().unwrap().is_none(), "the server ended"),
        }
    };
    stream.write_all(b"GET /.status HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert!(answer.contains("the store agrees with its specification"), "{answer}");
}
