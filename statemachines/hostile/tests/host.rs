//! Every hostile module on hosts that differ in allocator, copy-on-write and optimisation: each
//! meets its fate, the same on all of them, and the machines beside it go on.
#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::sync::Arc;

use bytes::Bytes;
use pgraft_engine::{Options, Place};
use pgraft_host::{Applied, Applier, Bootstrap, Code, Command, Fault, Machines, Outcome, Querier};
use pgraft_hostile::{Fate, Hostile, Interface, all, component};
use pgraft_replica::body::Body;
use pgraft_replica::{Committed, ConfState, Entry, EntryKind, Index, NodeId, Term};
use pgraft_store::{Disk, StateReader, StateStore};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const OPTIONS: [Options; 3] = [
    Options { pooled: true, copy_on_write: true, optimised: true },
    Options { pooled: false, copy_on_write: false, optimised: false },
    Options { pooled: true, copy_on_write: false, optimised: true },
];

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn load(machines: &Machines, name: &str, component: &[u8], options: Options) -> Result<(), Fault> {
    let compiled = pgraft_engine::precompile_with(component, options).unwrap();
    let compiled_sha256 = sha256(&compiled);
    machines.load(&Code { name, component, compiled: &compiled, compiled_sha256 })
}

fn counter() -> &'static [u8] {
    let modules = pgraft_bundle::test_modules();
    modules.iter().find(|module| module.name == "counter").unwrap().component
}

/// A node that runs the counter and all of these.
struct Node {
    folder: TempDir,
    machines: Arc<Machines>,
    applier: Applier,
    next: Index,
}

impl Node {
    fn new(options: Options, modules: &[Hostile]) -> Node {
        let engine = pgraft_engine::engine_with(Place::Simulation, options).unwrap();
        let machines = Machines::with_engine(engine, &[]).unwrap();
        let mut named = vec![("counter".to_owned(), sha256(counter()), Vec::new())];
        load(&machines, "counter", counter(), options).unwrap();
        for module in modules {
            load(&machines, module.name, &module.bytes, options).unwrap();
            named.push((module.name.to_owned(), sha256(&module.bytes), Vec::new()));
        }
        let (folder, machines) = (TempDir::new().unwrap(), Arc::new(machines));
        let state = StateStore::open(&disk(&folder), 1).unwrap();
        let mut applier = Applier::open(Arc::clone(&machines), state).unwrap();
        let voters = [NodeId::new(1).unwrap()].into();
        let conf = ConfState { voters, ..ConfState::default() };
        applier.bootstrap(&Bootstrap { conf, machines: named, time_ms: 0 }).unwrap();
        Node { folder, machines, applier, next: Index(1) }
    }

    fn entry(&mut self, commands: &[(&str, &[u8])]) -> Applied {
        let index = self.next;
        self.next = index.next();
        let commands = commands.iter().map(|(machine, payload)| command(machine, payload));
        let body = Body { time_ms: index.0, entropy: 7, commands: commands.collect() };
        let entry = Entry { index, term: Term(1), kind: EntryKind::Normal, data: body.encode() };
        let entry = Committed { entry, conf_change: None, tickets: Vec::new() };
        self.applier.apply(&[entry]).expect("a node that goes on").remove(0)
    }

    fn query(&self, machine: &str, request: &[u8]) -> Outcome {
        let reader = StateReader::open(&disk(&self.folder), 1).unwrap();
        let mut querier = Querier::open(Arc::clone(&self.machines), reader).unwrap();
        querier.query(machine, "", request).expect("a node that goes on").outcome
    }

    /// Digest and size of every keyspace, the host's first.
    fn digests(self, machines: u32) -> Vec<(u128, u64)> {
        let state = self.applier.into_state();
        (0..=machines).map(|machine| (state.digest(machine), state.size(machine))).collect()
    }
}

fn disk(folder: &TempDir) -> Disk {
    Disk { dir: folder.path().to_owned(), vfs: None }
}

fn command(machine: &str, payload: &[u8]) -> Bytes {
    Command::Machine {
        machine: machine.to_owned(),
        principal: "mallory".to_owned(),
        session: 0,
        seq: 0,
        acked_below: 0,
        payload: Bytes::copy_from_slice(payload),
    }
    .encode()
}

fn count(outcome: &Outcome) -> u64 {
    u64::from_le_bytes(outcome.as_ref().unwrap()[..8].try_into().unwrap())
}

#[test]
fn names_differ_and_fit_a_machine() {
    let mut names: Vec<&str> = all().iter().map(|module| module.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    assert!(names.iter().all(|name| name.len() <= 64));
    println!("{} modules", names.len());
}

#[test]
fn what_is_unfit_is_refused_in_words() {
    for module in all() {
        let inspected = pgraft_engine::inspect(&module.bytes);
        let Fate::Refused(words) = module.fate else {
            inspected.unwrap_or_else(|why| panic!("{}: refused: {why}", module.name));
            continue;
        };
        let why = inspected.expect_err(module.name);
        assert!(why.contains(words), "{}: {why}", module.name);
        assert!(why.len() < 500, "{}: {why}", module.name);
    }
}

#[test]
fn what_does_not_start_is_not_loaded() {
    for options in OPTIONS {
        let engine = pgraft_engine::engine_with(Place::Simulation, options).unwrap();
        let machines = Machines::with_engine(engine, &[]).unwrap();
        for module in all() {
            let Fate::NotLoaded(words) = module.fate else { continue };
            let fault = load(&machines, module.name, &module.bytes, options);
            let fault = fault.expect_err(module.name).to_string();
            assert!(fault.contains(words), "{}: {fault}", module.name);
        }
    }
}

#[test]
fn what_runs_harms_nobody_and_ends_alike_everywhere() {
    let modules: Vec<Hostile> = all()
        .into_iter()
        .filter(|module| matches!(module.fate, Fate::Rejected { .. } | Fate::Answered { .. }))
        .collect();
    let machines = u32::try_from(modules.len()).unwrap() + 1;
    let mut ends = Vec::new();
    for options in OPTIONS {
        let mut node = Node::new(options, &modules);
        let mut seen = Vec::new();
        let mut counted = 0;
        for module in &modules {
            let (Fate::Rejected { command, .. } | Fate::Answered { command, .. }) = &module.fate
            else {
                unreachable!("the others were filtered out")
            };
            let harm = (module.name, &command[..]);
            let together = node.entry(&[("counter", b"a"), harm, ("counter", b"a")]);
            let alone = node.entry(&[harm]);
            let again = node.entry(&[harm]);
            assert_eq!(count(&together.outcomes[0]), counted + 1, "{}", module.name);
            counted += 2;
            assert_eq!(count(&together.outcomes[2]), counted, "{}", module.name);
            for outcome in [&together.outcomes[1], &alone.outcomes[0], &again.outcomes[0]] {
                meets(module, outcome);
            }
            let asked = node.query(module.name, command);
            seen.push((together, alone, again, asked));
        }
        ends.push((seen, node.digests(machines)));
    }
    for other in &ends[1..] {
        for (module, (first, other)) in modules.iter().zip(ends[0].0.iter().zip(&other.0)) {
            assert_eq!(first, other, "{}", module.name);
        }
        assert_eq!(ends[0].1, other.1, "what hosts hold in the end");
    }
}

fn meets(module: &Hostile, outcome: &Outcome) {
    match (&module.fate, outcome) {
        (Fate::Rejected { code, .. }, Err(rejection)) => {
            assert_eq!(rejection.code, *code, "{}: {rejection}", module.name);
        }
        (Fate::Answered { reply, .. }, Ok(said)) => {
            assert_eq!(said, reply, "{}", module.name);
        }
        _ => panic!("{}: {outcome:?}", module.name),
    }
}

/// Not hostile: guests of an older and of a newer third number are taken.
#[test]
fn every_third_number_of_the_interface_loads() {
    for changed in [&[("@0.1.0", "@0.1.7")][..], &[("@0.1.0", "@0.1.99")]] {
        let text = r#"(module
          (import "pgraft:machine/storage@0.1.0" "wake-at" (func $wake_at (param i64)))
          (memory (export "memory") 1)
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
          (func (export "pgraft:machine/guest@0.1.0#apply") (param i64 i64 i64 i64 i32 i32)
            (result i32) (call $wake_at (i64.const 5)) (i32.const 64))
          (func (export "pgraft:machine/guest@0.1.0#query") (param i64 i64 i64 i64 i32 i32)
            (result i32) (i32.const 64))
          (func (export "pgraft:machine/guest@0.1.0#init") (param i64 i64 i64 i64 i32 i32)
            (result i32) (i32.const 64))
          (func (export "pgraft:machine/guest@0.1.0#check")
            (param i64 i64 i64 i64 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 64))
          (func (export "pgraft:machine/guest@0.1.0#react")
            (param i64 i64 i64 i64 i32 i64 i32 i32 i32 i32) (result i32) (i32.const 64))
          (func (export "pgraft:machine/guest@0.1.0#migrate") (param i64 i64 i64 i64 i32 i32)
            (result i32) (i32.const 64))
          (func (export "pgraft:machine/guest@0.1.0#describe") (result i32) (i32.const 64)))"#;
        let bytes = component(text, Interface { changed });
        pgraft_engine::inspect(&bytes).unwrap();
        let engine = pgraft_engine::engine_with(Place::Simulation, OPTIONS[0]).unwrap();
        let machines = Machines::with_engine(engine, &[]).unwrap();
        load(&machines, "newer", &bytes, OPTIONS[0]).unwrap();
    }
}
