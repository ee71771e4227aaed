//! Measures what WASM costs against native code in the same run: a put of `kv`, and one call to
//! the host's tables, in batches of 1 and of 100.
//!
//! ```text
//! cargo run --release --example call_cost -p pgraft-host
//! ```
//!
//! Prints microseconds of this thread's CPU, the best of a few rounds; the machine should be quiet.
//! What is applied is encoded before the clock starts; a round is long against the clock's tick.
//! *Native* is the same work without an engine: the machine compiled for this computer (over rows
//! in memory, the SDK's), plus the reads, writes and savepoints that it makes, made directly on
//! state.db. Both commit once per transaction. Not measured: raft.db, the network.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use pgraft_host::{Applier, Bootstrap, Code, Command, Machines, Place};
use pgraft_kv::{Kv, Put};
use pgraft_replica::body::Body;
use pgraft_replica::{Committed, ConfState, Entry, EntryKind, Index, NodeId, Term};
use pgraft_sdk::native;
use pgraft_store::{Disk, ReadTables as _, StateStore};
use sha2::{Digest, Sha256};

const ROUNDS: u32 = 5;
const PUTS_PER_ROUND: u64 = 20_000;
const CALLS_PER_ROUND: u64 = 2_000_000;
const KEYS: u64 = 10_000;
const VALUE_BYTES: usize = 256;
/// Calls to the host per command of the module that does nothing else.
const CALLS: u64 = 100;

type Done<T> = Result<T, Box<dyn Error>>;

fn main() -> Done<()> {
    println!("{:>34} {:>9} {:>9} {:>6}", "", "WASM us", "native us", "ratio");
    for batch in [1, 100] {
        let (wasm, native) = (best(|| kv_in_wasm(batch))?, best(|| kv_natively(batch))?);
        print(&format!("put of kv, batch of {batch}"), wasm, native);
    }
    for (name, body) in [("get", GET), ("put", PUT)] {
        for batch in [1, 100] {
            let wasm = best(|| calls_in_wasm(body, batch))?;
            let native = best(|| calls_natively(name, batch))?;
            print(&format!("{name} of a row, batch of {batch}"), wasm, native);
        }
    }
    Ok(())
}

fn print(what: &str, wasm: f64, native: f64) {
    println!("{what:>34} {wasm:>9.2} {native:>9.2} {:>6.2}", wasm / native);
}

fn best(mut round: impl FnMut() -> Done<f64>) -> Done<f64> {
    (0..ROUNDS).try_fold(f64::MAX, |best, _| Ok(best.min(round()?)))
}

/// Microseconds of CPU per put.
fn kv_in_wasm(batch: u64) -> Done<f64> {
    let folder = tempfile::TempDir::new()?;
    let module = built_in("kv")?;
    let mut applier = applier(&folder, "kv", module.component, module.compiled)?;
    let all: Vec<Vec<u8>> = (0..KEYS).map(|key| put(key).encode()).collect();
    for some in all.chunks(100) {
        let filling = entry(&applier, 1, "kv", some);
        apply(&mut applier, &[filling])?;
    }
    let entries: Vec<Committed> = (1..)
        .zip(batches(batch))
        .map(|(ahead, payloads)| entry(&applier, ahead, "kv", &payloads))
        .collect();
    let begun = thread_cpu_ns()?;
    for entry in &entries {
        apply(&mut applier, std::slice::from_ref(entry))?;
    }
    per(begun, PUTS_PER_ROUND)
}

/// The machine compiled for this computer over rows in memory, and what it reads and writes per
/// entry and per put (statemachines/kv/src/rows.rs) once more on state.db.
fn kv_natively(batch: u64) -> Done<f64> {
    let folder = tempfile::TempDir::new()?;
    let mut store = store(&folder)?;
    let mut machine = native::Host::<Kv>::new();
    let mut revision = 0;
    let all: Vec<(u64, Vec<u8>)> = (0..KEYS).map(|key| (key, put(key).encode())).collect();
    for some in all.chunks(100) {
        entry_natively(&mut store, &mut machine, some, &mut revision)?;
    }
    let entries: Vec<Vec<(u64, Vec<u8>)>> = keys(batch)
        .map(|keys| keys.into_iter().map(|key| (key, put(key).encode())).collect())
        .collect();
    let begun = thread_cpu_ns()?;
    for entry in &entries {
        entry_natively(&mut store, &mut machine, entry, &mut revision)?;
    }
    per(begun, PUTS_PER_ROUND)
}

fn entry_natively(
    store: &mut StateStore,
    machine: &mut native::Host<Kv>,
    puts: &[(u64, Vec<u8>)],
    revision: &mut u64,
) -> Done<()> {
    let payloads: Vec<&[u8]> = puts.iter().map(|(_, payload)| payload.as_slice()).collect();
    let outcomes = machine.apply_batch(*revision, &payloads);
    assert!(outcomes.iter().all(Result::is_ok));
    black_box(machine.take_events());
    in_transaction(store, |store| {
        black_box(store.scan(KV, b"r", b"s", 1, 1 << 16, true, true)?);
        for (key, _) in puts {
            store.savepoint()?;
            *revision += 1;
            let current = [&b"c"[..], name(*key).as_bytes()].concat();
            let change = [&b"r"[..], &revision.to_be_bytes(), &[0; 4]].concat();
            black_box(store.get(KV, &current)?);
            store.put(KV, &change, &[7; VALUE_BYTES + 24])?;
            store.put(KV, &current, &[7; 10])?;
            store.release()?;
        }
        Ok(())
    })
}

/// What the host does around a call: a savepoint, a row of its own, the applied index, a commit.
fn in_transaction(
    store: &mut StateStore,
    work: impl FnOnce(&mut StateStore) -> Result<(), pgraft_store::Fault>,
) -> Done<()> {
    store.begin()?;
    store.savepoint()?;
    work(store)?;
    store.release()?;
    store.put(0, b"c", &[7; 40])?;
    let mut meta = store.meta().clone();
    meta.applied = meta.applied.next();
    store.set_meta(meta);
    store.commit()?;
    Ok(())
}

/// Microseconds of CPU per call to the host, of a module that does nothing else.
fn calls_in_wasm(call: &str, batch: u64) -> Done<f64> {
    let folder = tempfile::TempDir::new()?;
    let component = pgraft_hostile::machine("", &LOOP.replace("CALL", call));
    let compiled = pgraft_engine::precompile(&component)?;
    let mut applier = applier(&folder, "calls", &component, &compiled)?;
    let payloads = vec![vec![7; 16]; usize::try_from(batch)?];
    let entries: Vec<Committed> = (1..=CALLS_PER_ROUND / (CALLS * batch))
        .map(|ahead| entry(&applier, ahead, "calls", &payloads))
        .collect();
    let begun = thread_cpu_ns()?;
    for entry in &entries {
        apply(&mut applier, std::slice::from_ref(entry))?;
    }
    per(begun, CALLS_PER_ROUND)
}

fn calls_natively(name: &str, batch: u64) -> Done<f64> {
    let folder = tempfile::TempDir::new()?;
    let mut store = store(&folder)?;
    let begun = thread_cpu_ns()?;
    for _ in 0..CALLS_PER_ROUND / (CALLS * batch) {
        in_transaction(&mut store, |store| {
            for _ in 0..batch * CALLS {
                match name {
                    "get" => drop(black_box(store.get(KV, &[7; 16])?)),
                    _ => store.put(KV, &[7; 16], &[7; 16])?,
                }
            }
            Ok(())
        })?;
    }
    per(begun, CALLS_PER_ROUND)
}

const GET: &str = "(call $get (local.get $in) (i32.const 16) (i32.const 512))";
const PUT: &str = "(call $put (local.get $in) (i32.const 16) (local.get $in) (i32.const 16))";
/// What a command does: a hundred calls to the host.
const LOOP: &str = "(local.set $n (i32.const 100))
    (loop $again
      CALL
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $again (local.get $n)))";

/// The keyspace of the machine in the native rounds.
const KV: u32 = 3;

fn built_in(name: &str) -> Done<&'static pgraft_bundle::Module> {
    let found = pgraft_bundle::modules().iter().find(|module| module.name == name);
    Ok(found.ok_or("it is not in the bundle")?)
}

fn store(folder: &tempfile::TempDir) -> Done<StateStore> {
    Ok(StateStore::open(&Disk { dir: folder.path().to_owned(), vfs: None }, 1)?)
}

fn applier(
    folder: &tempfile::TempDir,
    name: &str,
    component: &[u8],
    compiled: &[u8],
) -> Done<Applier> {
    let code = Code::of(name, component, compiled);
    let machines = Arc::new(Machines::new(Place::Program, &[code])?);
    let mut applier = Applier::open(machines, store(folder)?)?;
    let voter = NodeId::new(1).ok_or("1 is a node id")?;
    applier.bootstrap(&Bootstrap {
        conf: ConfState { voters: [voter].into(), ..ConfState::default() },
        machines: vec![(name.to_owned(), Sha256::digest(component).into(), Vec::new())],
        time_ms: 0,
    })?;
    Ok(applier)
}

/// The entry that comes `ahead` of those that `applier` has applied.
fn entry(applier: &Applier, ahead: u64, machine: &str, payloads: &[Vec<u8>]) -> Committed {
    let command = |payload: &Vec<u8>| Command::Machine {
        machine: machine.to_owned(),
        principal: "bench".to_owned(),
        session: 0,
        seq: 0,
        acked_below: 0,
        payload: payload.clone().into(),
    };
    let commands: Vec<Bytes> = payloads.iter().map(|payload| command(payload).encode()).collect();
    let index = Index(applier.meta().applied.0 + ahead);
    let data = Body { time_ms: index.0, entropy: index.0, commands }.encode();
    let entry = Entry { index, term: Term(1), kind: EntryKind::Normal, data };
    Committed { entry, conf_change: None, tickets: Vec::new() }
}

fn apply(applier: &mut Applier, entries: &[Committed]) -> Done<()> {
    for applied in applier.apply(entries)? {
        assert!(applied.outcomes.iter().all(Result::is_ok), "{:?}", applied.outcomes[0]);
    }
    Ok(())
}

/// The keys of a round, spread so that pages are touched as clients would touch them.
fn keys(batch: u64) -> impl Iterator<Item = Vec<u64>> {
    let spread = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS;
    let entries = PUTS_PER_ROUND / batch;
    (0..entries).map(move |entry| (0..batch).map(|at| spread(entry * batch + at)).collect())
}

/// The commands of a round.
fn batches(batch: u64) -> impl Iterator<Item = Vec<Vec<u8>>> {
    keys(batch).map(|keys| keys.into_iter().map(|key| put(key).encode()).collect())
}

fn name(key: u64) -> String {
    format!("key-{key:06}")
}

fn put(key: u64) -> pgraft_kv::Command {
    pgraft_kv::Command::Put(Put::new(name(key), vec![b'v'; VALUE_BYTES]))
}

fn per(begun: u64, count: u64) -> Done<f64> {
    Ok((thread_cpu_ns()? - begun) as f64 / 1e3 / count as f64)
}

/// Nanoseconds this thread spent on a CPU (Linux).
fn thread_cpu_ns() -> Done<u64> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = statistics.split_whitespace().next().ok_or("schedstat is empty")?;
    Ok(first.parse()?)
}
