//! The codec of changes.

use super::Change;
use crate::command::CommandError;
use crate::limits::LimitName;

fn changes() -> Vec<Change> {
    let machine = || "lock".to_owned();
    let limits = || vec![(LimitName::CommandFuel, 5), (LimitName::EventsKept, 0)];
    vec![
        Change::Stage { sha256: [1; 32], total: 9, offset: 4, bytes: vec![7; 5] },
        Change::Install { machine: machine(), sha256: [2; 32], config: vec![1], limits: limits() },
        Change::Upgrade {
            machine: machine(),
            sha256: [3; 32],
            expect: [2; 32],
            any_version: true,
            keep_copy: false,
            limits: limits(),
        },
        Change::Migrate { machine: machine(), step: 3 },
        Change::Rollback { machine: machine(), expect: [3; 32], restore: true },
        Change::Limit { machine: machine(), limits: limits() },
        Change::DropCopy { machine: machine() },
        Change::Remove { machine: machine(), expect: [2; 32] },
    ]
}

#[test]
fn changes_survive_the_round_trip() {
    for change in changes() {
        assert_eq!(Change::decode(&change.encode()).unwrap(), change);
    }
}

#[test]
fn every_cut_is_refused_and_every_flip_survived() {
    for change in changes() {
        let bytes = change.encode();
        for cut in 0..bytes.len() {
            assert!(Change::decode(&bytes[..cut]).is_err(), "cut at {cut} was accepted");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0xff;
            let _survives = Change::decode(&flipped);
        }
    }
}

#[test]
fn another_version_is_refused_by_name() {
    assert_eq!(Change::decode(&[2, 1]), Err(CommandError::Version(2)));
    assert_eq!(Change::decode(&[1, 99]), Err(CommandError::Kind(99)));
}
