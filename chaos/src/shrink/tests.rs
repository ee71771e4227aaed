//! Tests of shrinking: with planted reasons to fail, what is left is the reason and nothing else.

use super::*;
use crate::plan::{Fault, Target};
use crate::scenario::Scenario;
use crate::seed::Seed;
use crate::swarm;

const UNLIMITED: Limits = Limits { runs_max: 10_000, budget: None };

fn shrunk(plan: &Plan, limits: &Limits, mut fails: impl FnMut(&Plan) -> bool) -> Shrunk {
    let shrunk = shrink(plan, limits, &mut fails).expect("the plan itself fails");
    assert!(fails(&shrunk.plan), "what is left fails: {}", shrunk.plan);
    shrunk
}

fn large(seed: u64) -> Plan {
    let scenario = Scenario::find("everything").unwrap();
    swarm::plan(&scenario, Seed::new(seed))
}

fn is_pause(step: &Step) -> bool {
    matches!(step.fault, Fault::Pause { .. })
}

fn is_crash(step: &Step) -> bool {
    matches!(step.fault, Fault::Crash { .. } | Fault::CrashAll { .. })
}

/// A large plan that has both; seeds draw them in most cases.
fn with_pause_and_crash() -> Plan {
    let seeds = (0..1000).map(large);
    let both = |plan: &Plan| {
        plan.steps.iter().any(is_pause) && plan.steps.iter().any(is_crash) && plan.steps.len() > 20
    };
    seeds.into_iter().find(both).expect("in a thousand seeds there is one")
}

#[test]
fn a_planted_reason_is_all_that_is_left() {
    let plan = with_pause_and_crash();
    // Fails when a node is paused for 70 ms or more while 3 clients do 11 operations each.
    let fails = |plan: &Plan| {
        let long = |step: &Step| is_pause(step) && step.for_ms >= 70;
        plan.steps.iter().any(long) && plan.clients >= 3 && plan.operations >= 11
    };
    let Shrunk { plan: small, runs, done } = shrunk(&plan, &UNLIMITED, fails);
    assert_eq!((small.steps.len(), small.clients, small.operations), (1, 3, 11), "{small}");
    assert_eq!((small.steps[0].at_ms, small.steps[0].for_ms, small.safety_ms), (0, 70, 70));
    assert!(done && runs < 200, "{runs} runs");
}

#[test]
fn faults_that_only_fail_together_stay_together() {
    let plan = with_pause_and_crash();
    // A pause after a crash, and the phase longer than a second.
    let fails = |plan: &Plan| {
        let crash = plan.steps.iter().position(is_crash);
        let pause = plan.steps.iter().rposition(is_pause);
        crash.zip(pause).is_some_and(|(crash, pause)| crash < pause) && plan.safety_ms > 1000
    };
    if !fails(&plan) {
        return;
    }
    let small = shrunk(&plan, &UNLIMITED, fails).plan;
    assert_eq!(small.steps.len(), 2, "{small}");
    assert!(is_crash(&small.steps[0]) && is_pause(&small.steps[1]), "{small}");
    assert_eq!((small.clients, small.operations, small.safety_ms), (1, 1, 1001));
}

#[test]
fn a_failure_without_any_fault_loses_them_all() {
    let small = shrunk(&large(1), &UNLIMITED, |plan| plan.operations > 0).plan;
    assert_eq!(small, Plan { steps: Vec::new(), operations: 1, clients: 1, safety_ms: 1 });
}

#[test]
fn a_plan_that_does_not_fail_is_not_shrunk() {
    assert_eq!(shrink(&large(1), &UNLIMITED, &mut |_| false), None);
}

#[test]
fn runs_are_bounded_and_the_search_repeats_itself() {
    let plan = with_pause_and_crash();
    for runs_max in [1, 2, 5, 17] {
        let limits = Limits { runs_max, budget: None };
        let mut count = 0;
        let mut fails = |plan: &Plan| {
            count += 1;
            plan.steps.iter().filter(|step| is_pause(step)).count() > 0
        };
        let shrunk = shrink(&plan, &limits, &mut fails).unwrap();
        assert!(!shrunk.done && shrunk.runs == runs_max);
        assert_eq!(count, runs_max);
    }
    let order = || {
        let mut seen = Vec::new();
        let fails = &mut |plan: &Plan| {
            seen.push(plan.to_json());
            plan.steps.iter().any(is_pause)
        };
        shrink(&plan, &UNLIMITED, fails).unwrap();
        seen
    };
    let (first, second) = (order(), order());
    assert_eq!(first, second);
    let distinct: BTreeSet<&String> = first.iter().collect();
    assert_eq!(distinct.len(), first.len(), "no plan is tried twice");
}

#[test]
fn canary_a_plan_outside_the_budget_is_not_tried() {
    let step = |at_ms, fault| Step { at_ms, for_ms: 0, fault };
    let remove = Fault::RemoveNode { target: Target::Leader };
    let steps = vec![step(0, Fault::AddNode), step(9000, remove.clone())];
    let plan = Plan { steps, operations: 9, clients: 9, safety_ms: 20_000 };
    let fails = |plan: &Plan| plan.steps.iter().any(|step| step.fault == remove);
    let budget = Scenario::find("membership").unwrap().budget();
    assert_eq!(shrunk(&plan, &UNLIMITED, fails).plan.steps.len(), 1, "it would be tried");
    let limits = Limits { budget: Some(budget.clone()), ..UNLIMITED };
    let small = shrunk(&plan, &limits, fails).plan;
    assert_eq!(small.steps.len(), 2, "{small}");
    assert_eq!(budget.check(&small), Ok(()));
    assert_eq!(small.steps[1].at_ms, budget.rejoin_ms, "as early as the budget allows");
}
