//! The same seed twice gives the same history and the same log lines, to the byte, for every
//! scenario; and a source of chance that no seed reaches is noticed.
//!
//! `PGRAFT_SEED` repeats a run, or brings a fresh seed.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use pgraft_chaos::plan::Plan;
use pgraft_chaos::scenario::{Range, Scenario};
use pgraft_chaos::seed::{Chance, Seed};
use pgraft_chaos::sim::{Case, Subject, run};
use pgraft_chaos::swarm;
use pgraft_chaos::workload::{End, Operation, Register, Told, Workload};
use pgraft_host::Place;
use pgraft_node::modules::Modules;

/// Simulated milliseconds of faults: short, for the debug profile.
const SAFETY_MS: u64 = 6_000;

fn seed() -> Seed {
    let given = std::env::var("PGRAFT_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(Seed::new(0xd0_5eed))
}

fn short(mut scenario: Scenario) -> Scenario {
    scenario.phases.safety_ms = Range { low: SAFETY_MS, high: SAFETY_MS };
    scenario.clients.operations = Range { low: 80, high: 160 };
    scenario
}

/// History and log of a run.
fn lines(scenario: &Scenario, seed: Seed, plan: &Plan, subject: Option<&Subject>) -> Vec<String> {
    let case = Case {
        scenario,
        seed,
        plan,
        load: swarm::load(scenario, seed),
        commit: String::new(),
        history: None,
        logs: true,
        subject,
        record: None,
    };
    let outcome = run(&case).expect("the simulator runs");
    let event = |event| serde_json::to_string(event).expect("events are JSON");
    let history: Vec<String> = outcome.events.iter().map(event).collect();
    outcome.log.lines().map(str::to_owned).chain(history).collect()
}

/// Where two runs part, in words.
fn difference(one: &[String], other: &[String]) -> Option<String> {
    let place = one.iter().zip(other).position(|(one, other)| one != other);
    match place {
        Some(place) => Some(format!("line {place}:\n  {}\n  {}", one[place], other[place])),
        None if one.len() != other.len() => {
            Some(format!("{} lines and {} lines", one.len(), other.len()))
        }
        None => None,
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let seed = seed();
    println!("PGRAFT_SEED={seed}");
    for scenario in Scenario::all().into_iter().map(short) {
        let plan = swarm::plan(&scenario, seed);
        let (one, other) =
            (lines(&scenario, seed, &plan, None), lines(&scenario, seed, &plan, None));
        assert!(one.len() > 100, "{}: {} lines are no run", scenario.name, one.len());
        if let Some(difference) = difference(&one, &other) {
            panic!("{} with PGRAFT_SEED={seed} is two runs: {difference}", scenario.name);
        }
    }
}

/// Asks what others ask, but sometimes in another order: by chance of the standard library, as a
/// hash map would.
struct Wayward(Register, RandomState);

impl Workload for Wayward {
    fn next(&mut self, client: u64, chance: &mut Chance) -> Option<Operation> {
        if self.1.hash_one(client).is_multiple_of(2) {
            let _left_out = self.0.next(client, chance);
        }
        self.0.next(client, chance)
    }

    fn ended(&mut self, client: u64, op: u64, operation: &Operation, end: &End) -> Told {
        self.0.ended(client, op, operation, end)
    }
}

#[test]
fn planted_chance_is_noticed() {
    let seed = seed();
    println!("PGRAFT_SEED={seed}");
    let scenario = short(Scenario::find("quiet").unwrap());
    let plan = Plan { steps: Vec::new(), operations: 20, clients: 8, safety_ms: 1_000 };
    let modules = Arc::new(Modules::built_in(Place::Simulation).unwrap());
    let workload = || Box::new(Wayward(Register::new(), RandomState::new())) as Box<dyn Workload>;
    let subject = Subject { modules, workload: Box::new(workload) };
    let first = lines(&scenario, seed, &plan, Some(&subject));
    // Eight clients: one repetition in 256 is the same by luck.
    let noticed = (0..4).any(|_| {
        let again = lines(&scenario, seed, &plan, Some(&subject));
        difference(&first, &again).is_some()
    });
    assert!(noticed, "chance that no seed reaches went unnoticed");
}
