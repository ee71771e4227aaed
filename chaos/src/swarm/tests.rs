//! Tests of the swarm: its plans are within the scenario, differ as they should, and stay as they
//! were.

use std::collections::BTreeSet;

use super::*;

fn seeds() -> impl Iterator<Item = Seed> {
    (0..150).map(Seed::new)
}

fn kinds_of(plan: &Plan) -> BTreeSet<String> {
    let kind = |step: &Step| {
        let words = format!("{:?}", step.fault);
        words.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
    };
    plan.steps.iter().map(kind).collect()
}

#[test]
fn every_plan_of_every_scenario_is_sane_healed_and_within_its_budget() {
    for scenario in Scenario::all() {
        for seed in seeds() {
            let plan = plan(&scenario, seed);
            assert!(plan.check().is_ok(), "{} {seed}: {plan}", scenario.name);
            assert_eq!(scenario.budget().check(&plan), Ok(()), "{} {seed}", scenario.name);
            let inside = |range: Range, value: u64| (range.low..=range.high).contains(&value);
            assert!(inside(scenario.clients.count, plan.clients));
            assert!(inside(scenario.clients.operations, plan.operations));
            assert!(inside(scenario.phases.safety_ms, plan.safety_ms));
            let load = load(&scenario, seed);
            assert_eq!(load.workloads.len(), scenario.workloads.len());
            assert!(inside(scenario.clients.timeout_ms, load.timeout_ms));
            let lasts_ms = plan.operations * load.pause_ms_max / 2;
            assert!(lasts_ms <= plan.safety_ms && lasts_ms + plan.operations > plan.safety_ms);
            let names: Vec<(Name, u64)> = load.workloads;
            assert!(names.iter().all(|(_, weight)| *weight > 0));
        }
    }
}

#[test]
fn a_seed_always_draws_the_same_plan_and_another_seed_another() {
    let everything = Scenario::find("everything").unwrap();
    let plans: Vec<String> = seeds().map(|seed| plan(&everything, seed).to_json()).collect();
    let again: Vec<String> = seeds().map(|seed| plan(&everything, seed).to_json()).collect();
    assert_eq!(plans, again);
    assert_eq!(plans.iter().collect::<BTreeSet<_>>().len(), plans.len());
}

#[test]
fn runs_are_different_kinds_of_trouble() {
    let everything = Scenario::find("everything").unwrap();
    let plans: Vec<Plan> = seeds().map(|seed| plan(&everything, seed)).collect();
    let kinds: Vec<BTreeSet<String>> = plans.iter().map(kinds_of).collect();
    let all: BTreeSet<&String> = kinds.iter().flatten().collect();
    // Every variant of Fault.
    assert_eq!(all.len(), 24, "{all:?}");
    for kind in &all {
        let with = kinds.iter().filter(|kinds| kinds.contains(*kind)).count();
        assert!((8..148).contains(&with), "{kind} in {with} of 150 runs");
    }
    let most = plans.iter().map(|plan| plan.steps.len()).max().unwrap();
    let least = plans.iter().map(|plan| plan.steps.len()).min().unwrap();
    assert!(least < 30 && most > 60, "{least} to {most} faults");
}

#[test]
fn what_always_comes_comes_and_a_run_is_never_idle() {
    for scenario in Scenario::all().iter().filter(|scenario| !scenario.faults.is_empty()) {
        for seed in seeds() {
            let plan = plan(scenario, seed);
            assert!(!enabled(scenario, seed).is_empty());
            let sure = |kind: Kind| {
                scenario.faults.get(&kind).is_some_and(|allowed| allowed.chance_permille == 1000)
            };
            if sure(Kind::Crash) {
                assert!(kinds_of(&plan).contains("Crash"), "{} {seed}: {plan}", scenario.name);
            }
            if sure(Kind::Pause) {
                assert!(kinds_of(&plan).contains("Pause"), "{} {seed}: {plan}", scenario.name);
            }
        }
    }
}

#[test]
fn rare_faults_find_room() {
    for (name, kind, at_least) in [
        ("old-disk", "OldDisk", 140),
        ("wipe-and-rejoin", "Wipe", 150),
        ("membership", "AddNode", 150),
        ("membership", "RemoveNode", 75),
        ("lying-disk", "LyingSync", 120),
        ("rot", "BitFlip", 120),
        ("rot", "Misdirect", 40),
    ] {
        let scenario = Scenario::find(name).unwrap();
        let found = seeds().filter(|seed| kinds_of(&plan(&scenario, *seed)).contains(kind)).count();
        assert!(found >= at_least, "{name}: {kind} in {found} of 150 runs");
    }
}

#[test]
fn one_kind_more_moves_no_other() {
    let mut scenario = Scenario::find("crashes").unwrap();
    let before: Vec<Plan> = seeds().map(|seed| plan(&scenario, seed)).collect();
    let pauses = Scenario::find("pauses").unwrap();
    scenario.faults.insert(Kind::Pause, pauses.faults[&Kind::Pause].clone());
    for (seed, before) in seeds().zip(before) {
        let mut after = plan(&scenario, seed);
        after.steps.retain(|step| !matches!(step.fault, Fault::Pause { .. }));
        assert_eq!(after, before, "{seed}");
    }
}

const SMALL: &str = r#"
name = "small"
about = "For the recorded plan only."
nodes = 5
phases = { safety_ms = [9000, 20000], liveness_ms = 1000 }
clients = { count = [1, 9], operations = [10, 500], timeout_ms = [100, 2000] }
workloads = { register = 1, bank = 2 }

[faults.partition]
chance_permille = 1000
per_minute = [5, 20]
for_ms = [100, 5000]

[faults.clock_skew]
chance_permille = 1000
per_minute = [5, 20]
for_ms = [100, 5000]
permille = [1, 500]

[faults.power_loss_at]
chance_permille = 1000
per_minute = [5, 20]
for_ms = [20, 900]
after = [0, 60]

[faults.noise]
chance_permille = 1000
per_minute = [5, 20]
for_ms = [100, 5000]
permille = [1, 300]

[sometimes]
run = ["leader_elected"]
"#;

#[test]
fn canary_a_plan_is_recorded() {
    // A change of this text means that seeds which somebody wrote down draw other plans.
    let small = Scenario::parse("small", SMALL).unwrap();
    let seed = Seed::new(42);
    assert_eq!(format!("{}\n{:?}", plan(&small, seed), load(&small, seed)), RECORDED);
}

const RECORDED: &str = "\
3 clients, 186 operations each, 17.695 s of safety phase, 10 faults
   0    0.181 s  for   0.252 s  power loss of node 4 at step 46
   1    0.749 s  for   0.507 s  partition 1 3 | 2 4 5
   2    2.377 s  for   4.621 s  noise 0.1 % lost, 0.7 % twice
   3    4.625 s  for   0.125 s  partition 1 | 2 3 4 5
   4    5.713 s  for   0.646 s  power loss of the leader at frame 12
   5    6.598 s  for   0.251 s  clocks of node 4 run +0.5 %
   6    8.593 s  for   1.460 s  noise 3.1 % lost, 11.3 % corrupt
   7    9.429 s  for   0.529 s  clocks of the leader run +1.1 %
   8   10.212 s  for   0.231 s  clocks of node 4 run -10.8 %
   9   15.256 s  for   2.439 s  clocks of the leader run -24.1 %
Load { workloads: [(Register, 54), (Bank, 12)], \
pause_ms_max: 190, timeout_ms: 279, latency_ms_max: 3, disk_ms_max: 8 }";
