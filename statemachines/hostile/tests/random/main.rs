//! Random valid modules on two hosts that differ in allocator, copy-on-write and optimisation: what
//! they answer, write and burn is equal. `PGRAFT_SEED=N` repeats one, `PGRAFT_MODULES=N` sets how
//! many.
#![allow(clippy::unwrap_used, reason = "a test panics")]

mod merge;

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::Unstructured;
use pgraft_engine::{Options, Place};
use pgraft_host::limits::Limits;
use pgraft_host::{
    Code, HostCode, Machines, Outcome, Request, Specification, State, Transition, Turn,
};
use pgraft_replica::Index;
use sha2::{Digest, Sha256};
use wasm_smith::{Config, Module};

const OPTIONS: [Options; 2] = [
    Options { pooled: true, copy_on_write: true, optimised: true },
    Options { pooled: false, copy_on_write: false, optimised: false },
];
const FIRST_SEED: u64 = 0x5eed_0047;
const MODULES: u64 = 100;
/// Fuel of a command: enough for a random one that ends at all.
const FUEL: u64 = 2_000_000;

/// Splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The random core module of a seed.
fn random(seed: u64) -> Vec<u8> {
    let mut chance = Chance(seed);
    let bytes: Vec<u8> = (0..1_024).flat_map(|_| chance.next().to_le_bytes()).collect();
    let config = Config {
        module_shape: Some(wat::parse_str(merge::SHAPE).unwrap()),
        allow_start_export: false,
        // Half of them trap hardly ever, and get further.
        disallow_traps: seed.is_multiple_of(2),
        exceptions_enabled: false,
        gc_enabled: false,
        custom_descriptors_enabled: false,
        max_funcs: 12,
        max_instructions: 400,
        max_memories: 1,
        max_memory32_bytes: 20 << 16,
        max_table_elements: 1_000,
        max_tables: 3,
        max_tags: 0,
        memory64_enabled: false,
        // They bring `externref`, which needs an engine with a garbage collector.
        reference_types_enabled: false,
        relaxed_simd_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        ..Config::default()
    };
    Module::new(config, &mut Unstructured::new(&bytes)).unwrap().to_bytes()
}

/// The machine on a host, or why it cannot run.
fn load(component: &[u8], options: Options) -> Result<(Specification, State), String> {
    let engine = pgraft_engine::engine_with(Place::Simulation, options).unwrap();
    let compiled = pgraft_engine::precompile_with(component, options).unwrap();
    let sha256: [u8; 32] = Sha256::digest(component).into();
    let compiled_sha256 = Sha256::digest(&compiled).into();
    let code = Code { name: "random", component, compiled: &compiled, compiled_sha256 };
    let machines = Machines::with_engine(engine, &[code]).map_err(|fault| fault.to_string())?;
    let machines = Arc::new(machines);
    let specification = Specification::new(&machines, "random", &sha256).unwrap();
    let specification = specification.limited(limits(FUEL));
    let state = specification.initial(b"", 0).map_err(|fault| fault.to_string())?;
    Ok((specification, state))
}

fn limits(fuel: u64) -> Limits {
    Limits { command_fuel: fuel, entry_fuel: 4 * fuel, ..Limits::DEFAULT }
}

/// All that can be seen of a machine.
#[derive(Debug, PartialEq)]
struct Seen {
    transitions: Vec<Transition>,
    /// The least fuel with which each command does not run out of it, where it ends at all.
    fuel: Vec<Option<u64>>,
    query: Outcome,
}

fn watch(component: &[u8], options: Options) -> Result<Seen, String> {
    let (specification, mut state) = load(component, options)?;
    let commands: [&[u8]; 3] =
        [b"\0\0\0\0\0\0\0\0", b"go on, do it", b"\xff\xff\xff\xff\xff\xff\xff\x7f"];
    let requests = commands.map(Request::new);
    let turn = |index| Turn { index: Index(index), term: 1, time_ms: 5, entropy: 7 };
    let (mut transitions, mut fuel) = (Vec::new(), Vec::new());
    let fault = |fault: pgraft_host::Fault| format!("this machine failed: {fault}");
    let together = specification.apply_all(&state, &turn(1), &requests).map_err(fault)?;
    state = together.state.clone();
    transitions.push(together);
    for (index, request) in (2..).zip(requests) {
        let alone = |fuel| {
            let specification = specification.clone().limited(limits(fuel));
            specification.apply(&state, &turn(index), request).map_err(fault)
        };
        let done = alone(FUEL)?;
        fuel.push(if starved(&done) { None } else { Some(least(&alone)?) });
        state = done.state.clone();
        transitions.push(done);
    }
    let query = specification.query(&state, &turn(9), commands[1]).map_err(fault)?;
    Ok(Seen { transitions, fuel, query })
}

fn starved(done: &Transition) -> bool {
    let code = done.outcomes[0].as_ref().err().and_then(pgraft_host::Rejection::host_code);
    code == Some(HostCode::OutOfFuel)
}

/// The least fuel that is enough, by halving.
fn least(alone: &impl Fn(u64) -> Result<Transition, String>) -> Result<u64, String> {
    let (mut starves, mut enough) = (0, FUEL);
    while enough - starves > 1 {
        let middle = starves + (enough - starves) / 2;
        if starved(&alone(middle)?) { starves = middle } else { enough = middle }
    }
    Ok(enough)
}

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("PGRAFT_SEED") {
        Some(seed) => vec![seed],
        None => (FIRST_SEED..).take(number("PGRAFT_MODULES").unwrap_or(MODULES) as usize).collect(),
    }
}

#[test]
fn random_modules_do_the_same_on_two_hosts() {
    let mut counted: BTreeMap<String, u32> = BTreeMap::new();
    let mut wrote = 0;
    for seed in seeds() {
        let component = merge::machine(&random(seed), false, false);
        let seen = OPTIONS.map(|options| watch(&component, options));
        let repeat = format!("PGRAFT_SEED={seed}");
        assert_eq!(seen[0], seen[1], "{repeat}");
        let seen = match &seen[0] {
            Ok(seen) => seen,
            // Its segments lie outside of the memory or of a table, on both.
            Err(why) => {
                assert!(why.contains("no instance of it can be made"), "{repeat}: {why}");
                *counted.entry("not loaded".to_owned()).or_default() += 1;
                continue;
            }
        };
        for outcome in seen.transitions.iter().flat_map(|transition| &transition.outcomes) {
            let what = outcome.as_ref().map_or_else(ToString::to_string, |_| "answered".to_owned());
            *counted.entry(what).or_default() += 1;
        }
        wrote += u32::from(seen.transitions.iter().any(|done| done.state.size() > 0));
    }
    println!("{counted:?}; {wrote} modules wrote rows");
    if seeds().len() > 50 {
        assert!(counted.len() >= 4, "the modules are all alike: {counted:?}");
        assert!(counted["answered"] > 20 && wrote > 5, "they do not get far: {counted:?}, {wrote}");
    }
}

/// A host that answers a bit otherwise, or needs a little more fuel, is told apart.
#[test]
fn a_difference_is_noticed() {
    let mut noticed = [0, 0];
    for seed in FIRST_SEED..FIRST_SEED + 20 {
        let random = random(seed);
        let good = watch(&merge::machine(&random, false, false), OPTIONS[0]);
        for (at, (tell, tarry)) in [(true, false), (false, true)].into_iter().enumerate() {
            let bad = watch(&merge::machine(&random, tell, tarry), OPTIONS[1]);
            let answered = matches!(&good, Ok(seen) if seen.transitions[0].outcomes[0].is_ok());
            assert!(!answered || good != bad, "PGRAFT_SEED={seed}");
            noticed[at] += u32::from(good != bad);
        }
    }
    println!("noticed {noticed:?} of 20");
    assert!(noticed.iter().all(|times| *times > 0), "{noticed:?}");
}
