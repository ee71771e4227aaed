//! The ways of `pgraft-check test` against a log that is right, and against logs with a planted
//! mistake, which each way must notice.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::process::Command;

use pgraft_chaos::seed::Seed;
use pgraft_check::candidate::Candidate;
use pgraft_check::hosts;
use pgraft_check::log::Log;
use pgraft_check::native::{self, Program};
use pgraft_check::operations::Operations;
use pgraft_judge::Rank;
use tempfile::TempDir;

const OPERATIONS: &str = "machine = \"counter\"\n\
    [[operation]]\ncall = \"command\"\nweight = 9\ntext = \"name{k}\"\ndraw = { k = [1, 5] }\n\
    [[operation]]\ncall = \"command\"\ntext = \"!panic\"\n\
    [[operation]]\ncall = \"command\"\ntext = \"!half\"\n\
    [[operation]]\ncall = \"query\"\nweight = 3\ntext = \"name{k}\"\ndraw = { k = [1, 5] }\n";

/// The seed of this run: PGRAFT_CHECK_SEED, or a fixed one.
fn seed() -> Seed {
    let given = std::env::var("PGRAFT_CHECK_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or(Seed::new(11));
    println!("PGRAFT_CHECK_SEED={seed}");
    seed
}

fn written() -> (TempDir, Candidate, Log) {
    let folder = tempfile::tempdir().unwrap();
    let modules = pgraft_bundle::test_modules();
    let counter = modules.iter().find(|module| module.name == "counter").unwrap();
    let (module, templates) =
        (folder.path().join("counter.wasm"), folder.path().join("operations.toml"));
    fs::write(&module, counter.component).unwrap();
    fs::write(&templates, OPERATIONS).unwrap();
    let operations = Operations::of(&module, None).unwrap();
    let candidate = Candidate::read(&module, operations.machine()).unwrap();
    let log = Log::write(&candidate, &operations, seed(), 60).unwrap();
    (folder, candidate, log)
}

#[test]
fn hosts_agree_about_a_log_with_traps_and_rejections() {
    let (_folder, candidate, log) = written();
    assert!(log.commands() > 60 && log.queries() > 10);
    for part in hosts::check(&candidate, &log, "again").unwrap() {
        assert_eq!(part.rank, Rank::Pass, "{part:?}");
    }
    let outcomes = log.outcomes();
    assert!(outcomes.rank == Rank::Fail && outcomes.says.contains("trapped"), "{outcomes:?}");
}

#[test]
fn canary_a_changed_outcome_event_or_row_is_noticed_in_every_way() {
    let (_folder, candidate, right) = written();
    let mut outcome = right.clone();
    *outcome.entries[30].outcomes.last_mut().unwrap() = Ok(b"else".to_vec());
    let mut events = right.clone();
    let published = events.entries.iter_mut().rev().find(|entry| !entry.events.is_empty());
    published.unwrap().events.pop();
    let mut rows = right.clone();
    let last = rows.entries.len() - 1;
    rows.entries[last].state = rows.initial.clone();
    for wrong in [outcome, events, rows] {
        for part in hosts::check(&candidate, &wrong, "again").unwrap() {
            assert_eq!(part.rank, Rank::Fail, "{part:?}");
            assert_eq!(part.repeat.as_deref(), Some("again"));
        }
    }
}

/// A program that gives these answers, whatever it is asked.
fn answering(folder: &TempDir, answers: &[String]) -> Program {
    let file = folder.path().join("answers");
    fs::write(&file, answers.join("\n") + "\n").unwrap();
    let mut shell = Command::new("bash");
    let script = "while read -r _; do read -r answer <&3; echo \"$answer\"; done 3< \"$0\"";
    shell.arg("-c").arg(script).arg(file);
    Program::start(shell).unwrap()
}

#[test]
fn canary_a_native_program_that_says_something_else_is_noticed() {
    let (folder, candidate, log) = written();
    let mut answers = vec![native::due(&[Ok(Vec::new())], &[], &log.initial).to_string()];
    let mut places = Vec::new();
    for entry in &log.entries {
        places.push(answers.len());
        answers.push(native::due(&entry.outcomes, &entry.events, &entry.state).to_string());
        for (_, answer) in &entry.answers {
            answers.push(native::due(std::slice::from_ref(answer), &[], &entry.state).to_string());
        }
    }
    let part = native::check(&mut answering(&folder, &answers), &candidate, &log, "again").unwrap();
    assert_eq!(part.rank, Rank::Pass, "{part:?}");
    let at = places[40];
    for field in ["\"ok\":\"", "\"rows\":\"", "\"wake_at_ms\":"] {
        let mut wrong = answers.clone();
        wrong[at] = wrong[at].replacen(field, &format!("{field}1"), 1);
        let mut program = answering(&folder, &wrong);
        let part = native::check(&mut program, &candidate, &log, "again").unwrap();
        assert!(part.rank == Rank::Fail && part.says.starts_with("entry 41 ("), "{part:?}");
    }
    let ended = native::check(&mut answering(&folder, &[]), &candidate, &log, "again");
    assert!(ended.is_err(), "an empty line is no answer");
}

#[test]
fn a_seed_writes_the_same_log_again() {
    let (_one, _, first) = written();
    let (_other, _, second) = written();
    assert_eq!(first.last().digest(), second.last().digest());
    let mut outcomes = first.entries.iter().zip(&second.entries);
    assert!(outcomes.all(|(one, other)| one.outcomes == other.outcomes));
}
