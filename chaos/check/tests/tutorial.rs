//! Runs every command of docs/WRITE_A_MACHINE.md as written, in one shell, in a folder of its own:
//! with the programs of this build in place of the release's, free ports in place of those on the
//! page, and an empty home.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PAGE: &str = include_str!("../../../docs/WRITE_A_MACHINE.md");

/// The commands of the blocks, each with the heading above it.
fn blocks() -> Vec<(String, String)> {
    let (mut blocks, mut heading) = (Vec::new(), String::new());
    let mut open: Option<String> = None;
    for line in PAGE.lines() {
        match (&mut open, line) {
            (None, "```sh") => open = Some(String::new()),
            (None, _) => {
                if let Some(title) = line.strip_prefix("## ") {
                    heading = title.to_owned();
                }
            }
            (Some(text), "```") => {
                blocks.push((heading.clone(), std::mem::take(text)));
                open = None;
            }
            (Some(text), line) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    blocks
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The folder of the programs of this build.
fn programs() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_pgraft-check")).parent().unwrap().to_owned()
}

/// The page as one script.
fn script(blocks: &[(String, String)]) -> String {
    let mut script = String::from(
        "set -euo pipefail\ntrap 'for job in $(jobs -p); do kill -9 $job; done' EXIT\n",
    );
    for (heading, commands) in blocks {
        script.push_str(&format!("echo '== {heading}'\nset -x\n{commands}{{ set +x; }} 2>&-\n"));
    }
    let programs = programs();
    script = script.replace("cargo build --release", &build(&programs));
    script = script.replace("$PWD/target/release", &programs.to_string_lossy());
    for port in ["7001", "7002", "7003"] {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        script = script.replace(&format!(":{port}"), &format!(":{free}"));
    }
    script
}

/// What builds the programs. `cargo test` has built them all; building some of the packages alone
/// would build half of the tree once more, with other features.
fn build(programs: &Path) -> String {
    let there = |name: &&str| programs.join(name).is_file();
    let profile = if cfg!(debug_assertions) { "" } else { " --release" };
    match ["pgraft", "pgraft-compile", "pgraft-check"].iter().all(there) {
        true => "echo built before: cargo build".to_owned(),
        false => format!("cargo build --quiet{profile}"),
    }
}

#[test]
fn every_command_of_the_page_works_as_written() {
    let blocks = blocks();
    assert!(blocks.len() >= 8, "only {} blocks were found", blocks.len());
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("page.sh");
    fs::write(&file, script(&blocks)).unwrap();
    let mut shell = Command::new("bash");
    shell.arg(&file).current_dir(checkout()).stdin(Stdio::null());
    // ~ is an empty folder; cargo and rustup stay where they are.
    let real = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    for (variable, usual) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        if std::env::var_os(variable).is_none() {
            shell.env(variable, real.join(usual));
        }
    }
    shell.env("HOME", home.path());
    // The shell's cargo is a person's, not one inside of `cargo test`.
    for (name, _) in std::env::vars() {
        let is_own = name == "CARGO_HOME" || name == "CARGO_TARGET_DIR";
        if name.starts_with("CARGO") && !is_own {
            shell.env_remove(name);
        }
    }
    let output = shell.output().unwrap();
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{told}");
    assert!(output.status.success(), "the page stopped: {}", output.status);
    let stdout = String::from_utf8_lossy(&output.stdout);
    for (heading, says) in [("Test", "native "), ("Check", "report: "), ("A mistake", "found")] {
        assert!(stdout.contains(says), "{heading} printed no {says:?}");
    }
    assert_eq!(stdout.lines().filter(|line| *line == "refused").count(), 2);
}
