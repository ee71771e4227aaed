//! What a module says of itself, against logs in which it is true, and in which it is not. The
//! machine is the counter of the tests, which breaks its word on request.

use std::sync::Arc;

use bytes::Bytes;
use pgraft_host::{Code, Command, Machines, Place, Specification};
use pgraft_replica::body::Body;

use crate::history::Committed;
use crate::machine_spec::by_key::{Claim, claim};
use crate::machine_spec::{Broken, Origin, ReplayedLog};

fn counter() -> Origin {
    let modules = pgraft_bundle::test_modules();
    let module = modules.iter().find(|module| module.name == "counter").unwrap();
    let sha256 = module.sha256;
    let code = Code {
        name: module.name,
        component: module.component,
        compiled: module.compiled,
        compiled_sha256: module.compiled_sha256,
    };
    let machines = Arc::new(Machines::new(Place::Simulation, &[code]).unwrap());
    let module = Specification::new(&machines, "counter", &sha256).unwrap();
    Origin { module, number: 3, config: Vec::new(), sha256 }
}

/// A log of these entries; nobody knows what came of them.
fn replayed(entries: &[&[&str]]) -> (Origin, ReplayedLog) {
    let origin = counter();
    let command = |name: &&str| Command::Machine {
        machine: "counter".to_owned(),
        principal: String::new(),
        session: 0,
        seq: 0,
        acked_below: 0,
        payload: Bytes::copy_from_slice(name.as_bytes()),
    };
    let committed = |(names, index): (&&[&str], u64)| {
        let commands: Vec<Bytes> = names.iter().map(|name| command(name).encode()).collect();
        let time_ms = 10 * index;
        let body = Body { time_ms, entropy: index, commands }.encode().to_vec();
        Committed { index, term: 1, time_ms, body, outcomes: Vec::new(), events: Vec::new() }
    };
    let log: Vec<Committed> = entries.iter().zip(1..).map(committed).collect();
    let replayed = ReplayedLog::run(std::slice::from_ref(&origin), 0, &log).unwrap();
    (origin, replayed)
}

#[test]
fn an_honest_log_keeps_every_promise() {
    let (origin, log) = replayed(&[&["a", "b"], &["a"], &["b", "!panic", "b"], &["!half"]]);
    assert_eq!((log.broken.clone(), log.seen.invariants), (None, 5));
    let asked = [(2, b"a".to_vec()), (1, b"b".to_vec()), (4, b"b".to_vec())];
    let Claim::Held(compared) = claim(&origin, &log, &asked).unwrap() else { panic!("refuted") };
    assert_eq!((compared.keys, compared.commands, compared.queries), (4, 7, 3));
}

#[test]
fn canary_a_broken_invariant_is_told_with_its_entry() {
    let (_, log) = replayed(&[&["a"], &["b", "!break"], &["a"]]);
    let says = "somebody sent !break".to_owned();
    assert_eq!(log.broken, Some(Broken { machine: "counter".to_owned(), index: 2, says }));
}

#[test]
fn canary_a_key_that_sees_others_is_told_with_its_command() {
    let (origin, log) = replayed(&[&["a"], &["b"], &["!peek"]]);
    let Claim::Refuted(lie) = claim(&origin, &log, &[]).unwrap() else { panic!("it is blind") };
    assert_eq!((lie.index, &lie.payload[..], lie.is_query), (3, &b"!peek"[..], false));
    assert!(lie.to_string().contains("calls itself keyed"), "{lie}");
}

#[test]
fn a_key_that_is_only_asked_for_is_compared_too() {
    let (origin, log) = replayed(&[&["!break"], &["a"]]);
    let claimed = claim(&origin, &log, &[(2, b"nobody".to_vec())]).unwrap();
    let Claim::Held(compared) = claimed else { panic!("{claimed:?}") };
    assert_eq!((compared.keys, compared.queries), (3, 1));
}
