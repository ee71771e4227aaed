//! What comes of a helper that answers, refuses, crashes, hangs, floods or is not there. The
//! helpers are shell scripts; the real one is tested in node/compile.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{CompileError, within};

const LONG: Duration = Duration::from_secs(60);

/// Runs a helper that is this script.
fn run(script: &str, component: &[u8], limit: Duration) -> Result<Vec<u8>, CompileError> {
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("helper");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    // Another test's child may have the file open for writing for a moment, after its fork.
    loop {
        match within(&program, component, limit) {
            Err(CompileError::Failed(why)) if why.contains("Text file busy") => {}
            ended => return ended,
        }
    }
}

fn refused(ended: Result<Vec<u8>, CompileError>) -> String {
    match ended {
        Err(CompileError::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

fn failed(ended: Result<Vec<u8>, CompileError>) -> String {
    match ended {
        Err(CompileError::Failed(why)) => why,
        other => panic!("not failed: {other:?}"),
    }
}

#[test]
fn code_comes_back() {
    assert_eq!(run(r"printf '\000'; cat", b"component", LONG).unwrap(), b"component");
}

#[test]
fn neither_side_waits_for_the_other_with_full_pipes() {
    let component = vec![7; 4 << 20];
    let script = r"printf '\000'; head -c 3000000 /dev/zero; cat";
    assert_eq!(run(script, &component, LONG).unwrap().len(), 3_000_000 + component.len());
}

#[test]
fn one_that_answers_without_reading_is_heard() {
    let script = r"printf '\001imports wasi'; exit 1";
    assert_eq!(refused(run(script, &vec![0; 4 << 20], LONG)), "imports wasi");
}

#[test]
fn the_machines_fault_is_not_the_modules() {
    let why = failed(run(r"printf '\002no thread'; exit 2", b"", LONG));
    assert!(why.contains("no thread"), "{why}");
    for script in ["exit 0", "exit 1", r"printf '\000'", r"printf '\000code'; exit 3", "kill -9 $$"]
    {
        failed(run(script, b"component", LONG));
    }
    let why = failed(within("/nonexistent/pgraft-compile".as_ref(), b"", LONG));
    assert!(why.contains("/nonexistent/pgraft-compile"), "{why}");
}

#[test]
fn limits_that_ended_it_are_named() {
    assert!(refused(run("kill -XCPU $$", b"", LONG)).contains("120 seconds of CPU"));
    assert!(refused(run("kill -ABRT $$", b"", LONG)).contains("2048 MiB"));
}

#[test]
fn one_that_hangs_is_ended() {
    let limit = Duration::from_millis(300);
    for script in ["exec sleep 1000", "exec >&-; exec sleep 1000", "exec yes"] {
        let began = Instant::now();
        let ended = run(script, b"component", limit);
        assert!(ended.is_err(), "{script}: {ended:?}");
        assert!(began.elapsed() < LONG, "{script}");
    }
}
