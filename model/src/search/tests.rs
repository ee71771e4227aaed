//! The search, over a model small enough to know all of it.

use stateright::{Model, Property};

use super::*;
use crate::report::Expected;

/// A number that grows, and two ways to stay where one is.
#[derive(Clone, Debug)]
struct Counting {
    /// The first number that is too large.
    limit: u32,
    /// What should happen sometimes.
    reached: u32,
    max: u32,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Wait,
    One,
    Three,
}

impl Model for Counting {
    type State = u32;
    type Action = Step;

    fn init_states(&self) -> Vec<u32> {
        vec![0]
    }

    fn actions(&self, _: &u32, actions: &mut Vec<Step>) {
        actions.extend([Step::Wait, Step::One, Step::Three]);
    }

    fn next_state(&self, last: &u32, action: Step) -> Option<u32> {
        let next = match action {
            Step::Wait => return None,
            Step::One => last + 1,
            Step::Three => last + 3,
        };
        (next <= self.max).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("below the limit", |model, state| *state < model.limit),
            Property::sometimes("far enough", |model, state| *state >= model.reached),
        ]
    }
}

const MODEL: Counting = Counting { limit: 1_000, reached: 10, max: 200 };

#[test]
fn all_states_are_counted_and_the_run_is_complete() {
    let report = run("counting", MODEL, &Bounds::everything(1));
    assert_eq!((report.end, report.unique, report.depth), (End::Complete, 201, 68));
    report.verdict(Expected::Holds).unwrap();
    let example = &report.reached[0];
    assert_eq!(example.actions.len(), 4, "three, three, three and one more: {example}");
}

/// The state at the bound itself is looked at, and none beyond it.
#[test]
fn canary_violation_at_the_bound_is_seen() {
    let model = Counting { limit: 12, ..MODEL };
    let report = run("counting", model.clone(), &Bounds::to_depth(1, 4));
    assert_eq!(report.end, End::Refuted);
    assert_eq!(report.refuted[0].actions, ["Three"; 4]);
    assert_eq!(report.refuted[0].state, "12");
    report.verdict(Expected::Refuted("below the limit")).unwrap();
    let why = report.verdict(Expected::Holds).unwrap_err();
    assert!(why.contains("violated: below the limit (4 actions)"), "{why}");
    let report = run("counting", model, &Bounds::to_depth(1, 3));
    assert_eq!((report.end, report.depth), (End::CompleteToDepth, 3));
    let why = report.verdict(Expected::Refuted("below the limit")).unwrap_err();
    assert!(why.contains("the checker is blind"), "{why}");
}

/// A violation that many paths reach is shown by the shortest, though stateright finds others later
/// in the same block.
#[test]
fn shortest_example_is_kept() {
    let report = run("counting", Counting { limit: 30, ..MODEL }, &Bounds::everything(1));
    assert_eq!(report.refuted[0].actions.len(), 10, "{}", report.refuted[0]);
    assert!(report.generated < 200, "the search goes on: {report}");
}

#[test]
fn canary_what_never_happens_fails_the_run() {
    let report = run("counting", Counting { reached: 201, ..MODEL }, &Bounds::everything(1));
    assert_eq!(report.end, End::Complete);
    let why = report.verdict(Expected::Holds).unwrap_err();
    assert!(why.contains("never happened: far enough"), "{why}");
}

#[test]
fn run_that_time_ended_says_so() {
    let report = run("counting", MODEL, &Bounds { seconds: 0, ..Bounds::everything(1) });
    assert_eq!(report.end, End::Time);
    assert!(!report.finished());
    assert!(report.to_string().contains("TIME WAS OVER"), "{report}");
}

#[test]
fn walks_repeat_from_their_seed_and_pass_over_what_leads_nowhere() {
    let walk = |seed| run("counting", MODEL, &Bounds::walks(1, 50, 2_000, seed));
    let (first, again, other) = (walk(3), walk(3), walk(4));
    assert_eq!(first.end, End::States);
    assert_eq!(first.generated, again.generated);
    assert_eq!(first.reached[0].actions, again.reached[0].actions);
    assert_ne!(first.reached[0].actions, other.reached[0].actions);
    // The path leads where it says, waits and all.
    let sum: u32 = first.reached[0]
        .actions
        .iter()
        .map(|action| match &action[..] {
            "One" => 1,
            "Three" => 3,
            _ => 0,
        })
        .sum();
    assert_eq!(first.reached[0].state, sum.to_string());
}

#[test]
fn walks_find_violations_far_away() {
    let model = Counting { limit: 150, ..MODEL };
    let report = run("counting", model, &Bounds::walks(1, 300, 1_000_000, 1));
    assert_eq!(report.end, End::Refuted, "{report}");
}
