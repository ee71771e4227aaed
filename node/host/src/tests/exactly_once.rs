//! A command that is given twice is applied once, whatever happens in between.

use super::rig::{Node, code, count, in_session, machines, to};
use crate::{Command, HostCode, limits};

fn open(node: &mut Node, time_ms: u64) -> u64 {
    let applied = node.entry(time_ms, &[Command::OpenSession]);
    let id = applied.outcomes[0].as_ref().unwrap()[..].try_into().unwrap();
    u64::from_le_bytes(id)
}

#[test]
fn a_session_is_named_by_its_place_in_the_log() {
    let mut node = Node::new(&machines());
    let applied = node.entry(0, &[to("counter", "a"), Command::OpenSession, Command::OpenSession]);
    let ids: Vec<&Vec<u8>> = applied.outcomes[1..].iter().map(|id| id.as_ref().unwrap()).collect();
    assert_eq!(ids, [&(1 << 16 | 1_u64).to_le_bytes(), &(1 << 16 | 2_u64).to_le_bytes()]);
}

#[test]
fn a_repeated_command_is_answered_and_not_applied() {
    let mut node = Node::new(&machines());
    let session = open(&mut node, 0);
    let first = node.command(in_session("counter", "a", session, 1, 0));
    assert_eq!(count(&first), 1);
    let again = node.entry(0, &[in_session("counter", "a", session, 1, 0)]);
    assert_eq!(again.outcomes, [first]);
    assert_eq!(again.events, [], "what was published is not published again");
    assert_eq!(count(&node.command(in_session("counter", "a", session, 2, 0))), 2);
}

#[test]
fn a_repetition_within_one_entry_is_the_same_command() {
    let mut node = Node::new(&machines());
    let session = open(&mut node, 0);
    let command = in_session("counter", "a", session, 1, 0);
    let applied = node.entry(0, &[command.clone(), to("counter", "a"), command.clone(), command]);
    let counts: Vec<u64> = applied.outcomes.iter().map(count).collect();
    assert_eq!(counts, [1, 2, 1, 1]);
}

#[test]
fn rejections_and_traps_are_remembered_too() {
    let mut node = Node::new(&machines());
    let session = open(&mut node, 0);
    let batch: Vec<Command> = ["!panic", "!half", "a"]
        .iter()
        .zip(1..)
        .map(|(payload, seq)| in_session("counter", *payload, session, seq, 0))
        .collect();
    let first = node.entry(0, &batch);
    assert_eq!(node.entry(0, &batch).outcomes, first.outcomes);
}

#[test]
fn replies_survive_a_restart() {
    let mut node = Node::new(&machines());
    let session = open(&mut node, 0);
    let first = node.command(in_session("counter", "a", session, 1, 0));
    let mut node = node.restarted();
    assert_eq!(node.command(in_session("counter", "a", session, 1, 0)), first);
    assert_eq!(count(&node.command(in_session("counter", "a", session, 2, 1))), 2);
}

#[test]
fn what_was_acknowledged_is_forgotten_and_still_not_applied() {
    let mut node = Node::new(&machines());
    let session = open(&mut node, 0);
    node.command(in_session("counter", "a", session, 1, 0)).unwrap();
    node.command(in_session("counter", "a", session, 2, 2)).unwrap();
    let late = node.command(in_session("counter", "a", session, 1, 0));
    assert_eq!(code(&late), Some(HostCode::SessionExpired));
    assert_eq!(count(&node.command(to("counter", "a"))), 3);
}

#[test]
fn an_unknown_or_idle_session_is_refused_before_anything_is_applied() {
    let mut node = Node::new(&machines());
    let never = node.command(in_session("counter", "a", 77, 1, 0));
    assert_eq!(code(&never), Some(HostCode::SessionExpired));
    let session = open(&mut node, 1_000);
    let idle = 1_000 + limits::SESSION_IDLE_MS_MAX;
    let in_time = node.entry(idle, &[in_session("counter", "a", session, 1, 0)]);
    assert_eq!(count(&in_time.outcomes[0]), 1);
    // The time passes without anybody touching the session, and across a restart.
    let mut node = node.restarted();
    let late = idle + limits::SESSION_IDLE_MS_MAX + 1;
    let late = node.entry(late, &[in_session("counter", "a", session, 2, 0)]);
    assert_eq!(code(&late.outcomes[0]), Some(HostCode::SessionExpired));
    assert_eq!(count(&node.command(to("counter", "a"))), 2);
}

#[test]
fn the_oldest_session_makes_room() {
    let mut node = Node::new(&machines());
    let oldest = open(&mut node, 0);
    let second = open(&mut node, 1);
    for start in (2..limits::SESSIONS_MAX).step_by(256) {
        let more = (limits::SESSIONS_MAX - start).min(256);
        node.entry(2, &vec![Command::OpenSession; more]);
    }
    assert_eq!(count(&node.command(in_session("counter", "a", oldest, 1, 0))), 1);
    open(&mut node, 3);
    let gone = node.command(in_session("counter", "a", second, 1, 0));
    assert_eq!(code(&gone), Some(HostCode::SessionExpired));
    assert_eq!(count(&node.command(in_session("counter", "a", oldest, 2, 0))), 2);
}
