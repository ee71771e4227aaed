//! Upgrades of a running machine, judged: what happens, that a history which says something else
//! about it is noticed, and that nodes of another build run what the cluster runs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pgraft_chaos::judging::{history, judged};
use pgraft_chaos::modules::Modules;
use pgraft_chaos::plan::{Fault, Plan, Step, Target, Wanted};
use pgraft_chaos::scenario::Scenario;
use pgraft_chaos::seed::Seed;
use pgraft_chaos::sim::{self, Outcome};
use pgraft_chaos::swarm;
use pgraft_host::{Change, Command, MACHINES};
use pgraft_judge::history::{Event, Reply, What};
use pgraft_judge::judge::Judgement;
use pgraft_judge::verdict::Rank;
use pgraft_replica::body::Body;

const SEED: Seed = Seed::new(11);

fn step(at_ms: u64, for_ms: u64, fault: Fault) -> Step {
    Step { at_ms, for_ms, fault }
}

fn upgrade(at_ms: u64, to: Wanted) -> Step {
    step(at_ms, 0, Fault::Upgrade { to, force: false })
}

fn run(name: &str, steps: Vec<Step>) -> (Scenario, Outcome) {
    let scenario = Scenario::find(name).unwrap();
    let plan = Plan { steps, operations: 150, clients: 3, safety_ms: 16_000 };
    plan.check().unwrap();
    let case = sim::Case {
        scenario: &scenario,
        seed: SEED,
        plan: &plan,
        load: swarm::load(&scenario, SEED),
        commit: String::new(),
        history: None,
        logs: false,
        record: None,
        subject: None,
    };
    let outcome = sim::run(&case).unwrap();
    (scenario, outcome)
}

fn judge(events: &[Event], modules: &Modules) -> Judgement {
    judged(&history(events.to_vec()), None, modules).unwrap()
}

/// What the replay of the log says.
fn replayed(judgement: &Judgement) -> (Rank, String) {
    let verdict = judgement.verdict("replayed log").unwrap();
    (verdict.rank, verdict.says.clone())
}

/// The changes that an entry holds, each with its position.
fn changes(event: &Event) -> Vec<(usize, Change)> {
    let What::Committed(entry) = &event.what else { return Vec::new() };
    let Ok(body) = Body::decode(entry.body.clone().into()) else { return Vec::new() };
    let change = |(position, bytes): (usize, &bytes::Bytes)| match Command::decode(bytes) {
        Ok(Command::Machine { machine, payload, .. }) if machine == MACHINES => {
            Some((position, Change::decode(&payload).ok()?))
        }
        _ => None,
    };
    body.commands.iter().enumerate().filter_map(change).collect()
}

/// The history with another outcome of a command.
fn with_outcome(events: &[Event], at: usize, position: usize, reply: Reply) -> Vec<Event> {
    let mut events = events.to_vec();
    let What::Committed(entry) = &mut events[at].what else { panic!("an entry") };
    entry.outcomes[position] = reply;
    events
}

#[test]
fn upgrades_are_judged_and_canaries_are_noticed() {
    let steps = vec![
        upgrade(1_000, Wanted::Again),
        upgrade(4_000, Wanted::Torn),
        upgrade(8_000, Wanted::Next),
        upgrade(12_000, Wanted::Again),
        upgrade(14_000, Wanted::Back),
    ];
    let (_, outcome) = run("quiet", steps);
    let marks = ["module_upgraded", "module_rolled_back", "module_migrated_in_steps"];
    for mark in marks.into_iter().chain(["migration_failed_back"]) {
        assert!(outcome.marks.contains_key(mark), "{mark}: {:?}", outcome.marks);
    }
    let modules = Modules::built_in();
    let judgement = judge(&outcome.events, &modules);
    assert_eq!(judgement.overall, Rank::Pass, "{judgement}");
    let events = &outcome.events;
    let accepted = |at: usize, position: usize| {
        let What::Committed(entry) = &events[at].what else { return false };
        matches!(entry.outcomes.get(position), Some(Reply::Accepted(_)))
    };
    let upgrades = events.iter().enumerate().flat_map(|(at, event)| {
        let upgrade = |(_, change): &(usize, Change)| matches!(change, Change::Upgrade { .. });
        let upgrades = changes(event).into_iter().filter(upgrade);
        upgrades.map(move |(position, _)| (at, position))
    });
    let upgrades: Vec<(usize, usize)> =
        upgrades.filter(|(at, position)| accepted(*at, *position)).collect();
    assert!(upgrades.len() >= 4, "{upgrades:?}");
    let conflict = || Reply::Rejected { code: 16, message: "it is not so".to_owned() };
    for (at, position) in &upgrades {
        let other = with_outcome(events, *at, *position, conflict());
        let (rank, says) = replayed(&judge(&other, &modules));
        assert_eq!(rank, Rank::Fail, "an upgrade that was carried out, told as refused: {says}");
    }
    let (switched, _) = upgrades[0];
    let command = events.iter().enumerate().skip(switched + 1).find(|(at, event)| {
        changes(event).is_empty()
            && accepted(*at, 0)
            && matches!(&event.what, What::Committed(entry) if !entry.events.is_empty())
    });
    let (at, _) = command.expect("something is written after the switch");
    let other = with_outcome(events, at, 0, Reply::Accepted(vec![1, 1, 99]));
    let (rank, says) = replayed(&judge(&other, &modules));
    assert_eq!(rank, Rank::Fail, "a wrong answer after the switch: {says}");
}

#[test]
fn nodes_of_another_build_run_what_the_cluster_runs() {
    let other = |at_ms, place| step(at_ms, 200, Fault::OtherBuild { target: Target::Node(place) });
    // The fourth place joins with the other build, and has the whole log to apply.
    let steps = vec![
        other(1_000, 1),
        other(3_000, 2),
        other(5_000, 3),
        step(7_000, 0, Fault::AddNode),
        upgrade(10_000, Wanted::Next),
        other(13_000, 2),
    ];
    let (_, outcome) = run("quiet", steps);
    for mark in ["other_build_started", "node_joined", "module_migrated_in_steps"] {
        assert!(outcome.marks.contains_key(mark), "{mark}: {:?}", outcome.marks);
    }
    let judgement = judge(&outcome.events, &Modules::built_in());
    assert_eq!(judgement.overall, Rank::Pass, "{judgement}");
}
