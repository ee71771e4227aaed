//! Questions read a snapshot, see no half of an entry, and change nothing.

use pgraft_replica::Index;

use super::probe::ask;
use super::rig::{Node, code, machines, to};
use crate::HostCode;

#[test]
fn a_query_answers_of_the_committed_state() {
    let mut node = Node::new(&machines());
    let mut querier = node.querier();
    let answer = querier.query("counter", "", b"a").unwrap();
    assert_eq!((answer.index, answer.outcome), (Index::ZERO, Ok(0_u64.to_le_bytes().into())));
    node.entry(0, &[to("counter", "a"), to("counter", "a")]);
    let answer = querier.query("counter", "", b"a").unwrap();
    assert_eq!((answer.index, answer.outcome), (Index(1), Ok(2_u64.to_le_bytes().into())));
}

#[test]
fn a_query_that_writes_is_ended() {
    let mut node = Node::new(&machines());
    let before = node.digests();
    let mut querier = node.querier();
    let answer = querier.query("counter", "", b"!write").unwrap();
    assert_eq!(code(&answer.outcome), Some(HostCode::ReadOnly));
    for kind in [b'e', b'w', b'k'] {
        let answer = querier.query("probe", "", &ask(kind, 1)).unwrap();
        assert_eq!(code(&answer.outcome), Some(HostCode::ReadOnly), "{kind}");
    }
    assert_eq!(node.digests(), before);
    let answer = querier.query("counter", "", b"a").unwrap();
    assert_eq!(answer.outcome, Ok(0_u64.to_le_bytes().into()), "the connection still serves");
}

#[test]
fn queries_are_bounded_like_commands() {
    let node = Node::new(&machines());
    let mut querier = node.querier();
    for (request, expected) in [
        (ask(b't', 0), HostCode::Trap),
        (ask(b'b', i32::MAX as u32), HostCode::OutOfFuel),
        (ask(b'g', 2_000), HostCode::OutOfMemory),
        (ask(b'c', 5), HostCode::BadInterface),
        (ask(b'h', 5 << 20), HostCode::Quota),
    ] {
        let answer = querier.query("probe", "", &request).unwrap();
        assert_eq!(code(&answer.outcome), Some(expected), "{request:?}");
    }
}

#[test]
fn nobody_is_asked_when_there_is_no_such_machine() {
    let node = Node::new(&machines());
    let answer = node.querier().query("nobody", "", b"").unwrap();
    assert_eq!(code(&answer.outcome), Some(HostCode::UnknownMachine));
    let answer = node.querier().query(&"m".repeat(1 << 20), "", b"").unwrap();
    assert_eq!(code(&answer.outcome), Some(HostCode::UnknownMachine));
}

#[test]
fn a_check_looks_at_a_command_without_applying_it() {
    let node = Node::new(&machines());
    let mut querier = node.querier();
    let revoke = pgraft_kv::Command::Compact { revision: 1 }.encode();
    assert_eq!(querier.check("kv", "", &revoke).unwrap().outcome, Ok(Vec::new()));
    let rejected = querier.check("kv", "", b"\xff").unwrap().outcome.unwrap_err();
    assert!(rejected.code >= 100, "{rejected:?}");
}
