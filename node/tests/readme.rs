//! Runs the program's commands of the README as written, one after the other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The lines of the README's code blocks that call the program.
fn commands() -> Vec<Vec<String>> {
    let readme = include_str!("../../README.md");
    let mut fenced = false;
    let mut found = Vec::new();
    for line in readme.lines() {
        fenced ^= line.starts_with("```");
        if fenced && line.starts_with("pgraft ") {
            found.push(words(line));
        }
    }
    found
}

/// Splits a line as a shell does, as far as the README goes: words and double quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('"').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

fn program(words: &[String], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgraft"));
    command.args(&words[1..]).current_dir(dir).stdin(Stdio::null());
    command
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _already_dead = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn the_commands_of_the_readme_work_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut commands = commands().into_iter();
    let serve = commands.next().unwrap();
    assert_eq!(serve[1], "node", "the first command starts a node");
    // The README's port may be taken on this machine; everything else is as written.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let free = |word: &String| word.replace(":7001", &format!(":{port}"));
    let serve: Vec<String> = serve.iter().map(free).collect();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let _node = Killed(program(&serve, folder.path()).stderr(log).spawn().unwrap());
    let until = Instant::now() + Duration::from_secs(30);
    let status: Vec<String> = words("pgraft --socket data1/pgraft.sock kv put ready yes");
    while !program(&status, folder.path()).output().unwrap().status.success() {
        assert!(Instant::now() < until, "the node did not start");
    }
    let mut ran = 0;
    for words in commands {
        let output = program(&words, folder.path()).output().unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        println!("$ {}\n{out}{err}", words.join(" "));
        assert!(output.status.success(), "{words:?} failed: {err}");
        assert!(!out.is_empty(), "{words:?} printed nothing");
        ran += 1;
    }
    assert!(ran >= 8, "only {ran} commands were found in the README");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
