//! Tests of the files: what is found there is gone on with, repaired or refused. What is recorded
//! is pgraft-replay's.

use std::fs;
use std::io::Write;

use pgraft_replay::replay;
use pgraft_replica::{ConfState, HardState, Keep, NodeId, Term};
use tempfile::TempDir;

use super::*;

/// A life of a node that is alone, `ticks` long; `end` says whether it ends on purpose.
fn live(recording: &Recording, ticks: u64, end: bool) {
    let id = NodeId::new(1).unwrap();
    let keep = Keep::default();
    let config = Config { id, seed: 7, election_ticks: 40, heartbeat_ticks: 4, keep };
    let restored = Restored {
        hard_state: HardState::default(),
        truncated: (Index::ZERO, Term(0)),
        terms: Vec::new(),
        tail: Vec::new(),
        applied: Index::ZERO,
        conf: ConfState { voters: [id].into(), ..ConfState::default() },
    };
    recording.started(&config, &restored);
    let mut replica = Replica::new(config, restored).unwrap();
    for wall_ms in 0..ticks {
        let input = Input::Tick { wall_ms };
        recording.stepping(&input);
        let effects = replica.step(input.clone());
        recording.stepped(&input, &effects, &replica);
    }
    if end {
        recording.end("the test is over");
    }
}

fn counts(path: &Path) -> (u64, u64, u64) {
    let report = replay(&fs::read(path).unwrap()[..]).unwrap();
    (report.lives, report.ended, report.steps)
}

fn file() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("n1.record");
    (folder, path)
}

#[test]
fn lives_follow_each_other_in_one_file() {
    let (_folder, path) = file();
    live(&Recording::here(&path).unwrap(), 100, true);
    live(&Recording::beside(&path).unwrap(), 50, true);
    assert_eq!(counts(&path), (2, 2, 150));
    // Handed over every 16 steps; the last ones died with the process.
    live(&Recording::here(&path).unwrap(), 40, false);
    assert_eq!(counts(&path), (3, 2, 150 + 32));
}

/// One that waited to be added in vain.
#[test]
fn a_node_that_never_had_a_replica_leaves_an_empty_recording() {
    let (_folder, path) = file();
    Recording::here(&path).unwrap().end("stopped");
    assert_eq!(counts(&path), (0, 0, 0));
    live(&Recording::here(&path).unwrap(), 10, true);
    assert_eq!(counts(&path), (1, 1, 10));
}

#[test]
fn a_cut_record_goes_when_the_file_is_gone_on_with() {
    let (_folder, path) = file();
    live(&Recording::here(&path).unwrap(), 100, true);
    let length = fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(length - 3).unwrap();
    assert!(replay(&fs::read(&path).unwrap()[..]).is_err());
    live(&Recording::here(&path).unwrap(), 10, true);
    // The end of the first life was what was cut.
    assert_eq!(counts(&path), (2, 1, 110));
}

#[test]
fn what_is_damaged_or_something_else_is_left_alone() {
    let (_folder, path) = file();
    live(&Recording::here(&path).unwrap(), 100, true);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    for content in [&bytes[..], b"somebody's notes"] {
        fs::write(&path, content).unwrap();
        let error = Recording::here(&path).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("move it away"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn two_processes_cannot_record_in_one_file() {
    let (_folder, path) = file();
    let first = Recording::beside(&path).unwrap();
    let error = Recording::beside(&path).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("in use by another process"), "{error}");
    first.end("the test is over");
    Recording::beside(&path).unwrap();
}

#[test]
fn a_full_file_ends_the_recording_and_not_the_node() {
    let (_folder, path) = file();
    let recording = Recording::here(&path).unwrap();
    live(&recording, 20, false);
    recording.inner().bytes = FILE_BYTES_MAX;
    live(&recording, 20, false);
    recording.end("the test is over");
    assert_eq!(counts(&path), (2, 1, 21));
}

/// A disk that fails: what is written until then is whole but for its last record.
#[test]
fn a_failing_disk_ends_the_recording_and_not_the_node() {
    let (_folder, path) = file();
    let recording = Recording::here(&path).unwrap();
    live(&recording, 20, false);
    let read_only = File::open(&path).unwrap();
    recording.inner().sink = Some(Sink::Here(read_only));
    live(&recording, 20, false);
    assert!(recording.inner().sink.is_none());
    assert_eq!(counts(&path), (1, 0, 16));
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(&[1, 2, 3]).unwrap();
    assert!(replay(&fs::read(&path).unwrap()[..]).is_err());
}
