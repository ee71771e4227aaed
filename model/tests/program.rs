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
