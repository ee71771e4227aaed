//! The replay says what a real host says, and notices when a host says something else.

use super::author::{Author, Repeats, origins};
use super::seed;
use crate::history::{Committed, Reply};
use crate::machine_spec::{Difference, ReplayedLog};
use crate::verdict::Rank;

const ENTRIES: u64 = 600;

fn run(log: &[Committed]) -> Result<ReplayedLog, Difference> {
    ReplayedLog::run(&origins(), 0, log)
}

#[test]
fn a_replayed_log_says_what_the_host_said() {
    let seed = seed();
    for round in 0..3 {
        let mut author = Author::write(seed + round, Repeats::Answered, ENTRIES);
        let replayed = run(&author.log).unwrap();
        println!("{replayed:?}");
        let seen = replayed.seen;
        assert_eq!(seen.entries, ENTRIES);
        for often in [seen.answered, seen.sessions, seen.wakes, seen.digests, seen.changes] {
            assert!(often > 10, "the log shows too little: {seen:?}");
        }
        let last = replayed.last();
        let state = replayed.state("kv", last).expect("kv is never in doubt");
        let wake = author.applier.next_wake().map(|(_, time_ms)| time_ms);
        assert_eq!(state.wake_ms(), wake);
        let theirs = author.applier.into_state().digest(2);
        assert_eq!(state.rows_digest(), theirs);
        author.log.clear();
    }
}

#[test]
fn a_query_is_answered_as_of_an_entry() {
    let author = Author::write(seed(), Repeats::Answered, 100);
    let replayed = run(&author.log).unwrap();
    let status = pgraft_kv::Query::Status.encode();
    let mut revisions: Vec<i64> = Vec::new();
    for index in 0..=100 {
        let Some(Reply::Accepted(bytes)) = replayed.query("kv", index, &status).unwrap() else {
            panic!("kv answers at {index}");
        };
        match pgraft_kv::Reply::decode(&bytes).unwrap() {
            pgraft_kv::Reply::Status(status) => revisions.push(status.revision),
            other => panic!("{other:?}"),
        }
    }
    assert!(revisions.is_sorted() && revisions[0] < revisions[100], "{revisions:?}");
    assert_eq!(replayed.query("kv", 101, &status).unwrap(), None);
    assert_eq!(replayed.query("nobody", 1, &status).unwrap(), None);
}

/// The log with something changed about one of its entries.
fn changed(
    log: &[Committed],
    wanted: impl Fn(&Committed) -> bool,
    change: impl FnOnce(&mut Committed),
) -> Difference {
    let mut log = log.to_vec();
    let at = log.iter().skip(30).position(wanted).expect("the log has such an entry") + 30;
    change(&mut log[at]);
    let difference = run(&log).expect_err("the replay is blind");
    println!("{difference}");
    assert_eq!(difference.verdict().rank, Rank::Fail);
    difference
}

#[test]
fn canary_whatever_is_changed_is_noticed() {
    let log = Author::write(seed(), Repeats::Answered, 200).log;
    let accepted = |reply: &Reply| matches!(reply, Reply::Accepted(bytes) if !bytes.is_empty());
    let commands = |entry: &Committed| !entry.body.is_empty();
    let answer = changed(
        &log,
        |entry| commands(entry) && entry.outcomes.iter().any(accepted),
        |entry| {
            let at = entry.outcomes.iter().position(accepted).unwrap();
            if let Reply::Accepted(bytes) = &mut entry.outcomes[at] {
                *bytes.last_mut().unwrap() ^= 1;
            }
        },
    );
    assert!(matches!(answer, Difference::Outcome { .. }));
    let fewer = changed(
        &log,
        |entry| entry.outcomes.len() > 1,
        |entry| {
            entry.outcomes.pop();
        },
    );
    assert!(matches!(fewer, Difference::Count { .. }));
    let published = |entry: &Committed| commands(entry) && !entry.events.is_empty();
    let lost = changed(&log, published, |entry| {
        entry.events.pop();
    });
    assert!(matches!(lost, Difference::Events { .. }));
    let twice = changed(&log, published, |entry| entry.events.push(entry.events[0].clone()));
    assert!(matches!(twice, Difference::Events { .. }));
    let late = changed(&log, commands, |entry| entry.time_ms += 1);
    assert!(matches!(late, Difference::Time { .. }));
    let gap = changed(&log, commands, |entry| entry.index += 1);
    assert!(matches!(gap, Difference::Gap { .. }));
    let torn = changed(&log, commands, |entry| {
        entry.body.pop();
    });
    assert!(matches!(torn, Difference::Body { .. }));
}

#[test]
fn canary_a_host_that_applies_a_repeated_command_again_is_noticed() {
    let log = Author::write(seed(), Repeats::Applied, ENTRIES).log;
    let difference = run(&log).expect_err("the replay is blind");
    println!("{difference}");
    assert!(matches!(difference, Difference::Outcome { .. } | Difference::Events { .. }));
}

#[test]
fn outcomes_that_nobody_knows_are_no_difference() {
    let mut log = Author::write(seed(), Repeats::Answered, 200).log;
    for entry in log.iter_mut().skip(5).step_by(7).filter(|entry| !entry.body.is_empty()) {
        entry.outcomes.clear();
        entry.events.clear();
    }
    run(&log).unwrap();
}
