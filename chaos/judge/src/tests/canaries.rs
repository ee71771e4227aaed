//! One planted defect per thing that a checker is for, and one history that all let pass. What is
//! about lists and about time stands in files of its own.

use super::store::accepted;
use super::story::{MACHINE, Story, good, judged, options};
use crate::history::{Digest, Emitted, Fact, Mark, Reply, Role, Violation, Watch, Watched, What};
use crate::judge::judge;
use crate::lin::Budget;
use crate::verdict::Rank;

/// The checker must fail this story, and say something of it.
pub(super) fn refused(story: Story, checker: &str, says: &str) {
    let judgement = judged(&story.end());
    let verdict = judgement.verdict(checker).expect("there is something to look at");
    assert_eq!(verdict.rank, Rank::Fail, "{judgement}");
    assert!(verdict.says.contains(says), "{judgement}");
    assert_eq!(judgement.overall, Rank::Fail);
}

pub(super) fn passes(story: Story, checker: &str) {
    let judgement = judged(&story.end());
    let verdict = judgement.verdict(checker).expect("there is something to look at");
    assert_eq!(verdict.rank, Rank::Pass, "{judgement}");
}

#[test]
fn a_good_history_passes() {
    let judgement = judged(&good().end());
    assert_eq!(judgement.overall, Rank::Pass, "{judgement}");
    let says = &judgement.verdict("linearizability").unwrap().says;
    assert!(says.contains("in the order of the log"), "{says}");
    let black_box = judged(&good().black_box());
    let verdict = black_box.verdict("linearizability").unwrap();
    assert_eq!(verdict.rank, Rank::Pass, "{black_box}");
    assert!(verdict.says.contains("in some order"), "{black_box}");
}

#[test]
fn canary_linearizability_answer_at_an_index() {
    let mut story = Story::new();
    story.done(1, "put x 1");
    let (slow, read) = (story.ask(1, "put x 2"), story.ask(2, "get x"));
    // The read may come before the put; but not where it claims to have been.
    story.commit(&[slow]);
    story.lie(read, Some("1"), 2);
    story.ok(slow);
    refused(story, "linearizability", "clients could not notice");
}

#[test]
fn canary_linearizability_real_time() {
    let mut story = Story::new();
    story.done(1, "put x 1");
    story.done(1, "put x 2");
    let read = story.ask(2, "get x");
    story.lie(read, Some("1"), 1);
    refused(story, "linearizability", "not linearizable");
}

#[test]
fn canary_stale_reads_must_have_been_true_once() {
    let mut story = Story::new();
    story.done(1, "put x 1");
    story.done(1, "put x 2");
    let read = story.ask(2, "peek x");
    story.lie(read, Some("2"), 1);
    refused(story, "linearizability", "at index 1");
}

#[test]
fn canary_undecided_is_unknown() {
    let mut story = Story::new();
    for client in 0..40 {
        let op = story.ask(client, "incr x");
        story.unknown(op);
    }
    let read = story.ask(100, "get x");
    story.told(read, 0, accepted("41"), Vec::new());
    let mut options = options();
    options.budget = Budget { steps: 5_000, ..Budget::default() };
    let judgement = judge(&story.black_box(), &options).unwrap();
    let verdict = judgement.verdict("linearizability").unwrap();
    assert_eq!(verdict.rank, Rank::Unknown, "{judgement}");
    assert_ne!(judgement.overall, Rank::Pass);
}

#[test]
fn canary_no_specification_is_unknown() {
    let judgement = judge(&good().end(), &crate::Options::default()).unwrap();
    assert_eq!(judgement.overall, Rank::Unknown);
}

#[test]
fn canary_exactly_once_twice_in_effect() {
    let mut story = Story::new();
    let op = story.ask(1, "incr x");
    story.commit_as(&[op], 9);
    story.ok(op);
    story.commit_as(&[op], 9);
    refused(story, "exactly once", "again at index 2");
}

#[test]
fn canary_exactly_once_without_a_session() {
    let mut story = Story::new();
    let op = story.ask(1, "put x 1");
    story.commit(&[op]);
    story.commit(&[op]);
    story.ok(op);
    refused(story, "exactly once", "sent less often");
}

#[test]
fn canary_exactly_once_failed_and_yet_in_effect() {
    let mut story = Story::new();
    let op = story.ask(1, "put x 1");
    story.commit(&[op]);
    story.fail(op);
    refused(story, "exactly once", "told that it failed");
}

#[test]
fn a_repeated_command_is_fine() {
    let mut story = Story::new();
    let op = story.ask(1, "put x 1");
    story.commit_as(&[op], 9);
    story.commit_as(&[op], 9);
    story.ok(op);
    story.done(2, "get x");
    // The machine of this story carried it out twice with the same answer; the log says it was
    // answered from the session, so it stands at its first place.
    passes(story, "exactly once");
}

#[test]
fn canary_durability_not_in_the_log() {
    let mut story = Story::new();
    story.done(1, "put x 1");
    let op = story.ask(1, "put x 2");
    story.told(op, 1, accepted("done"), Vec::new());
    refused(story, "durability", "lacks it");
}

#[test]
fn canary_durability_another_outcome() {
    let mut story = Story::new();
    story.done(1, "put x 1");
    let op = story.ask(1, "cas x 1 2");
    let index = story.commit(&[op]);
    story.told(op, index, accepted("kept"), Vec::new());
    refused(story, "durability", "another outcome");
}

fn digest(node: u64, digest: &str) -> What {
    let (machine, digest) = (MACHINE.to_owned(), digest.to_owned());
    What::Digest(Digest { node, index: 1, machine, digest })
}

#[test]
fn canary_divergence_of_digests() {
    let mut story = good();
    story.tell(digest(1, "aa"));
    story.tell(digest(2, "aa"));
    story.tell(digest(3, "ab"));
    refused(story, "divergence", "nodes 1 and 3");
    let mut story = good();
    story.tell(digest(1, "aa"));
    story.tell(digest(2, "aa"));
    passes(story, "divergence");
}

#[test]
fn canary_divergence_of_entries() {
    let mut story = Story::new();
    story.done(1, "put x 1");
    let op = story.ask(2, "put x 2");
    story.index = 0;
    story.commit(&[op]);
    refused(story, "divergence", "index 1");
}

#[test]
fn canary_violations() {
    let mut story = good();
    let (of, says) = ("election safety".to_owned(), "two leaders".to_owned());
    story.tell(What::Violation(Violation { of, says }));
    refused(story, "violations", "election safety");
}

#[test]
fn canary_sometimes() {
    let mut history = good();
    history.tell(What::Mark(Mark { name: "elections".to_owned() }));
    let mut options = options();
    options.sometimes = vec!["elections".to_owned()];
    let history = history.end();
    assert_eq!(judge(&history, &options).unwrap().overall, Rank::Pass);
    options.sometimes.push("snapshots installed".to_owned());
    let judgement = judge(&history, &options).unwrap();
    assert!(judgement.verdict("sometimes").unwrap().says.contains("snapshots"), "{judgement}");
    assert_eq!(judgement.overall, Rank::Fail);
}

#[test]
fn canary_a_required_checker_without_work_is_unknown() {
    let mut options = options();
    options.required = vec!["bank".to_owned()];
    assert_eq!(judge(&good().end(), &options).unwrap().overall, Rank::Unknown);
}

#[test]
fn canary_a_checker_of_the_caller_counts() {
    let mut options = options();
    let check = |_: &crate::case::Case<'_>| Some(crate::Verdict::fail("planted", Vec::new()));
    options.more.push(("replay".to_owned(), Box::new(check)));
    let judgement = judge(&good().end(), &options).unwrap();
    assert_eq!(judgement.worst().unwrap().0, "replay");
}

#[test]
fn canary_progress() {
    let mut story = good();
    for client in 100..110 {
        let op = story.ask(client, "incr x");
        story.unknown(op);
    }
    let judgement = judged(&story.end());
    assert_eq!(judgement.verdict("progress").unwrap().rank, Rank::Unknown, "{judgement}");
    let mut story = Story::new();
    let op = story.ask(1, "incr x");
    story.fail(op);
    refused(story, "progress", "none of 1");
}

/// A story that is healed, and then something is asked each second for 20 s, in vain in the
/// seconds for which `lost` says so.
fn healed(lost: impl Fn(u64) -> bool) -> Story {
    let mut story = good();
    story.phase("liveness");
    for second in 0..20 {
        let op = story.ask(100 + second, "get x");
        story.wait_us(1_000_000);
        if lost(second) { story.unknown(op) } else { story.ok(op) }
    }
    story
}

#[test]
fn canary_liveness() {
    passes(healed(|_| false), "liveness");
    passes(healed(|second| second < 5), "liveness");
    refused(healed(|_| true), "liveness", "no answer within");
    refused(healed(|second| second < 11), "liveness", "no answer within");
    refused(healed(|second| second == 15), "liveness", "not answered");
    let mut story = healed(|_| false);
    story.ask(7, "get x");
    for second in 0..20 {
        let op = story.ask(200 + second, "get x");
        story.wait_us(1_000_000);
        story.ok(op);
    }
    refused(story, "liveness", "1 operations: not answered");
}

#[test]
fn canary_sessions_go_back() {
    let mut story = Story::new();
    story.done(1, "put x 1");
    story.done(1, "put x 2");
    story.done(2, "peek x");
    let read = story.ask(2, "peek x");
    story.lie(read, Some("1"), 1);
    refused(story, "sessions", "after index 2");
}

#[test]
fn a_node_that_was_down_may_go_back() {
    let mut story = Story::new();
    story.done(1, "put x 1");
    story.done(1, "put x 2");
    story.done(2, "peek x");
    story.tell(What::Role(Role { node: 1, term: 1, role: "down".to_owned() }));
    let read = story.ask(2, "peek x");
    story.lie(read, Some("1"), 1);
    passes(story, "sessions");
}

#[test]
fn canary_a_linearizable_read_behind_an_older_one() {
    let mut story = Story::new();
    story.done(1, "put x 1");
    story.done(1, "put y 2");
    let read = story.ask(2, "get x");
    // The value is right, but the index shows that nobody asked the leader.
    story.lie(read, Some("1"), 1);
    refused(story, "sessions", "had been told index 2");
}

/// A watcher, and which of the three events it is told.
fn watched(told: &[(u64, &str)]) -> Story {
    let mut story = Story::new();
    for words in ["put a 1", "put b 2", "put a 3"] {
        story.done(1, words);
    }
    let (machine, prefix) = (MACHINE.to_owned(), Vec::new());
    story.tell(What::Watch(Watch { client: 9, node: 2, machine, prefix, after: Some(0) }));
    for (index, words) in told {
        let key = words.split(' ').nth(1).unwrap().as_bytes().to_vec();
        let payload = words.as_bytes().to_vec();
        let event = Emitted { machine: MACHINE.to_owned(), key, payload };
        story.tell(What::Watched(Watched { client: 9, node: 2, index: *index, event }));
    }
    story
}

#[test]
fn canary_event_order() {
    let all = [(1, "put a 1"), (2, "put b 2"), (3, "put a 3")];
    passes(watched(&all), "event order");
    passes(watched(&all[..2]), "event order");
    refused(watched(&[all[0], all[2]]), "event order", "gap");
    refused(watched(&all[1..]), "event order", "gap");
    refused(watched(&[all[0], all[0]]), "event order", "again");
    refused(watched(&[all[0], all[2], all[1]]), "event order", "gap");
    refused(watched(&[(1, "put a 9")]), "event order", "nobody emitted");
    refused(watched(&[(2, "put a 1")]), "event order", "nobody emitted");
}

#[test]
fn canary_revisions_without_events() {
    let mut story = watched(&[(1, "put a 1")]);
    for event in &mut story.events {
        if let What::Committed(entry) = &mut event.what
            && entry.index > 1
        {
            entry.events.clear();
        }
    }
    refused(story, "event order", "and published 0 events");
}

/// A watcher that begins anew is looked at from there on; events of an entry whose outcomes are
/// lost are not missed.
#[test]
fn a_watcher_may_begin_anew() {
    let mut story = watched(&[(1, "put a 1"), (2, "put b 2")]);
    let (machine, prefix) = (MACHINE.to_owned(), Vec::new());
    story.tell(What::Watch(Watch { client: 9, node: 2, machine, prefix, after: Some(1) }));
    for line in watched(&[(2, "put b 2"), (3, "put a 3")]).events {
        if matches!(line.what, What::Watched(_)) {
            story.tell(line.what);
        }
    }
    passes(story, "event order");

    let mut story = watched(&[(1, "put a 1"), (2, "put b 2"), (3, "put a 3")]);
    for event in &mut story.events {
        if let What::Committed(entry) = &mut event.what
            && entry.index == 2
        {
            entry.outcomes.clear();
            entry.events.clear();
        }
    }
    passes(story, "event order");
}

#[test]
fn lost_outcomes_prove_nothing() {
    let mut story = good();
    for event in &mut story.events {
        if let What::Committed(entry) = &mut event.what {
            entry.outcomes.clear();
            entry.events.clear();
        }
    }
    let judgement = judged(&story.end());
    assert_eq!(judgement.overall, Rank::Pass, "{judgement}");
}

#[test]
fn canary_revisions_are_unique_and_grow() {
    for revision in [0, 1] {
        let mut story = Story::new();
        story.done(1, "put x 1");
        let op = story.ask(1, "put x 2");
        let index = story.commit(&[op]);
        story.told(op, index, accepted("done"), vec![Fact::Revision { revision }]);
        refused(story, "revisions", "behind #1 with revision 1");
    }
}

/// Somebody puts 1, then puts 2 and is told `how`; then the value is read.
fn read_after(how: impl Fn(&mut Story, u64), value: Option<&str>) -> Story {
    let mut story = Story::new();
    story.done(1, "put x 1");
    let op = story.ask(1, "put x 2");
    how(&mut story, op);
    let read = story.ask(2, "get x");
    let index = story.index;
    story.lie(read, value, index);
    story
}

#[test]
fn canary_revisions_see_wrong_reads_without_a_specification() {
    let done = |story: &mut Story, op: u64| {
        story.commit(&[op]);
        story.ok(op);
    };
    passes(read_after(done, Some("2")), "revisions");
    refused(read_after(done, Some("1")), "revisions", "which was not there; due: 2");
    refused(read_after(done, None), "revisions", "the key was absent");
    refused(read_after(done, Some("3")), "revisions", "which nobody put");
    refused(read_after(Story::fail, Some("2")), "revisions", "whose put failed");
    passes(read_after(Story::fail, Some("1")), "revisions");
    passes(read_after(Story::unknown, Some("1")), "revisions");
}

#[test]
fn canary_a_read_with_the_revision_of_another_put() {
    let mut story = Story::new();
    story.done(1, "put x 1");
    let read = story.ask(1, "get x");
    let (key, value) = ("x".to_owned(), Some("1".to_owned()));
    story.told(read, 1, accepted("1"), vec![Fact::Got { key, value, revision: 7 }]);
    refused(story, "revisions", "with revision 7, put by #1 with revision 1");
}

#[test]
fn canary_bank() {
    let read = |balances: Vec<i64>| {
        let mut story = Story::new();
        let op = story.ask(1, "get accounts");
        story.ok_with(op, &[Fact::Balances { balances, total: 100 }]);
        story
    };
    passes(read(vec![30, 70]), "bank");
    refused(read(vec![30, 60]), "bank", "90 instead of 100");
}

/// What the host refused on behalf of the machine, the machine never saw.
#[test]
fn a_session_that_expired_is_no_answer_of_the_machine() {
    let mut story = Story::new();
    let op = story.ask(1, "put x 1");
    let (code, message) = (11, "the session expired".to_owned());
    story.told(op, 1, Reply::Rejected { code, message }, Vec::new());
    story.done(1, "get x");
    let judgement = judged(&story.black_box());
    assert_eq!(judgement.verdict("linearizability").unwrap().rank, Rank::Pass, "{judgement}");
}

#[test]
fn the_block_reads_from_the_bottom() {
    let judgement = judged(&good().end()).to_string();
    assert!(judgement.starts_with("scenario story  seed 0  commit none\n"), "{judgement}");
    assert!(
        judgement.contains("  history 12 operations: 9 ok, 1 failed, 2 unknown\n"),
        "{judgement}"
    );
    assert!(judgement.ends_with("PASSED (0.0 s simulated)"), "{judgement}");
    let mut story = Story::new();
    story.done(1, "put x 1");
    let read = story.ask(1, "get x");
    story.lie(read, Some("2"), 1);
    let judgement = judged(&story.end()).to_string();
    assert!(judgement.contains("#2 client 1"), "{judgement}");
    assert!(judgement.contains("FAILED ("), "{judgement}");
    println!("{judgement}");
}
