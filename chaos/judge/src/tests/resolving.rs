//! What became of calls that nobody heard of again, by the log.

use super::story::{Story, judged};
use crate::case::{Case, Taken};
use crate::unknowns::Fate;
use crate::verdict::Rank;

/// A put that nobody heard of; in the log or not; and then a read.
fn lost(committed: bool) -> (Story, u64) {
    let mut story = Story::new();
    story.done(1, "put x 1");
    let op = story.ask(1, "put x 2");
    story.unknown(op);
    if committed {
        story.commit(&[op]);
    }
    story.done(2, "get x");
    (story, op)
}

#[test]
fn absent_at_the_end_means_never() {
    let (story, op) = lost(false);
    let history = story.end();
    let case = Case::of(&history).unwrap();
    assert_eq!(case.fates.get(op), Fate::Absent);
    assert_eq!(case.took_effect(case.operations.get(op).unwrap()), Taken::No);
    assert_eq!(judged(&history).overall, Rank::Pass);
}

#[test]
fn before_the_end_nobody_knows() {
    let (story, op) = lost(false);
    let history = crate::History { events: story.events, cut_short: false };
    assert_eq!(Case::of(&history).unwrap().fates.get(op), Fate::Open);
    let (story, op) = lost(true);
    let history = story.black_box();
    assert_eq!(Case::of(&history).unwrap().fates.get(op), Fate::Open);
}

#[test]
fn present_means_a_place_and_an_end() {
    let (mut story, op) = lost(true);
    story.done(1, "put y 1");
    let history = story.end();
    let case = Case::of(&history).unwrap();
    let Fate::Placed(number) = case.fates.get(op) else { panic!("it is in the log") };
    assert_eq!(case.log.commands[number].index, 2);
    // The put of y was answered from index 3: by then it had happened.
    let put = case.operations.iter().last().unwrap();
    assert_eq!(case.fates.happened_by(2), put.returned());
    assert_eq!(case.fates.happened_by(3), None);
    assert_eq!(judged(&history).overall, Rank::Pass);
}

#[test]
fn of_equal_commands_each_has_its_own() {
    let mut story = Story::new();
    let ops = [1, 2, 3].map(|client| story.ask(client, "incr x"));
    story.unknown(ops[0]);
    story.unknown(ops[1]);
    story.commit(&[ops[2], ops[0]]);
    story.ok(ops[2]);
    story.done(4, "get x");
    let history = story.end();
    let case = Case::of(&history).unwrap();
    let placed = ops.map(|op| matches!(case.fates.get(op), Fate::Placed(_)));
    assert_eq!(placed, [true, false, true]);
    assert_eq!(case.fates.owner.len(), 2);
    assert_eq!(judged(&history).verdict("linearizability").unwrap().rank, Rank::Pass);
}

/// Without the log this takes two to the power of forty steps; with it, forty.
#[test]
fn forty_unknown_calls_cost_nothing() {
    let mut story = Story::new();
    for client in 0..40 {
        let op = story.ask(client, "incr x");
        story.unknown(op);
        if client % 3 == 0 {
            story.commit(&[op]);
        }
    }
    story.done(100, "get x");
    let judgement = judged(&story.end());
    assert_eq!(judgement.verdict("linearizability").unwrap().rank, Rank::Pass, "{judgement}");
}

/// Canary: a call that was made after the log had it did not cause it.
#[test]
fn canary_a_cause_after_its_effect() {
    let mut story = Story::new();
    let early = story.ask(1, "incr x");
    story.commit(&[early]);
    story.commit(&[early]);
    story.ok(early);
    let late = story.ask(2, "incr x");
    story.unknown(late);
    let history = story.end();
    assert_eq!(Case::of(&history).unwrap().fates.get(late), Fate::Absent);
    let judgement = judged(&history);
    assert_eq!(judgement.verdict("exactly once").unwrap().rank, Rank::Fail, "{judgement}");
}
