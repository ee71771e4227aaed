//! Measures what WASM costs against native code in the same run: a put of `kv`, and one call to
//! the host's tables, in batches of 1 and of 100.
//!
//! ```text
//! cargo run --release --example call_cost -p pgraft-host
//! ```
//!
//! Prints microseconds of this thread's CPU, the best of a few rounds; the machine should be quiet.
//! *Native* is the same work without an engine: the machine compiled for this computer (over rows
//! in memory, the SDK's), plus the reads and writes that it makes, made directly on state.db. Both
//! commit once per transaction. Not measured: raft.db, the network.

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
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

const ROUNDS: u32 = 7;
const PER_ROUND: u64 = 10_000;
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
    fill(|key| apply(&mut applier, "kv", vec![put(key).encode()]))?;
    let mut key = 0;
    let begun = thread_cpu_ns()?;
    for _ in 0..PER_ROUND / batch {
        let commands = (0..batch).map(|_| put(next(&mut key)).encode()).collect();
        apply(&mut applier, "kv", commands)?;
    }
    per(begun, PER_ROUND)
}

/// The machine compiled for this computer over rows in memory, and what it reads and writes per
/// entry and per put (statemachines/kv/src/rows.rs) once more on state.db.
fn kv_natively(batch: u64) -> Done<f64> {
    let folder = tempfile::TempDir::new()?;
    let mut store = store(&folder)?;
    let mut machine = native::Host::<Kv>::new();
    let mut revision = 0;
    fill(|key| entry_natively(&mut store, &mut machine, &[key], &mut revision))?;
    let mut key = 0;
    let begun = thread_cpu_ns()?;
    for _ in 0..PER_ROUND / batch {
        let keys: Vec<u64> = (0..batch).map(|_| next(&mut key)).collect();
        entry_natively(&mut store, &mut machine, &keys, &mut revision)?;
    }
    per(begun, PER_ROUND)
}

fn entry_natively(
    store: &mut StateStore,
    machine: &mut native::Host<Kv>,
    keys: &[u64],
    revision: &mut u64,
) -> Done<()> {
    let payloads: Vec<Vec<u8>> = keys.iter().map(|key| put(*key).encode()).collect();
    let borrowed: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let outcomes = machine.apply_batch(*revision, &borrowed);
    assert!(outcomes.iter().all(Result::is_ok));
    black_box(machine.take_events());
    in_transaction(store, |store| {
        black_box(store.scan(KV, b"r", b"s", 1, 1 << 16, true, true)?);
        for key in keys {
            *revision += 1;
            let current = [&b"c"[..], name(*key).as_bytes()].concat();
            let change = [&b"r"[..], &revision.to_be_bytes(), &[0; 4]].concat();
            black_box(store.get(KV, &current)?);
            store.put(KV, &change, &[7; VALUE_BYTES + 24])?;
            store.put(KV, &current, &[7; 10])?;
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
fn calls_in_wasm(body: &str, batch: u64) -> Done<f64> {
    let folder = tempfile::TempDir::new()?;
    let component = component(body)?;
    let compiled = pgraft_engine::precompile(&component)?;
    let mut applier = applier(&folder, "calls", &component, &compiled)?;
    let begun = thread_cpu_ns()?;
    for _ in 0..PER_ROUND / (CALLS * batch.min(10)) {
        apply(&mut applier, "calls", vec![vec![7; 16]; usize::try_from(batch)?])?;
    }
    per(begun, PER_ROUND / (CALLS * batch.min(10)) * batch * CALLS)
}

fn calls_natively(name: &str, batch: u64) -> Done<f64> {
    let folder = tempfile::TempDir::new()?;
    let mut store = store(&folder)?;
    let begun = thread_cpu_ns()?;
    for _ in 0..PER_ROUND / (CALLS * batch.min(10)) {
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
    per(begun, PER_ROUND / (CALLS * batch.min(10)) * batch * CALLS)
}

const GET: &str = "(drop (call $get (local.get $in) (i32.const 16) (i32.const 512)))";
const PUT: &str = "(call $put (local.get $in) (i32.const 16) (local.get $in) (i32.const 16))";
/// A guest whose commands call the host a hundred times.
const GUEST: &str = r#"(module
  (import "pgraft:machine/storage@0.1.0" "get" (func $get0 (param i32 i32 i32)))
  (import "pgraft:machine/storage@0.1.0" "put" (func $put (param i32 i32 i32 i32)))
  (memory (export "memory") 64)
  (global $heap (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
  (func $get (param i32 i32 i32) (result i32)
    (call $get0 (local.get 0) (local.get 1) (local.get 2)) (i32.const 0))
  (func $do (param $in i32) (local $n i32)
    (local.set $n (i32.const 100))
    (loop $again
      BODY
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $again (local.get $n))))
  (func (export "pgraft:machine/guest@0.1.0#apply")
    (param i64 i64 i64 i64) (param $commands i32) (param $count i32) (result i32) (local $i i32)
    (i32.store (i32.const 64) (i32.const 1024))
    (i32.store (i32.const 68) (local.get $count))
    (loop $next
      (call $do (i32.load offset=24
        (i32.add (local.get $commands) (i32.mul (local.get $i) (i32.const 32)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $count))))
    (i32.const 64))
  (func $fine (result i32) (i32.const 64))
  (func (export "pgraft:machine/guest@0.1.0#query")
    (param i64 i64 i64 i64 i32 i32) (result i32) (call $fine))
  (func (export "pgraft:machine/guest@0.1.0#react")
    (param i64 i64 i64 i64 i32 i64 i32 i32 i32 i32) (result i32) (call $fine))
  (func (export "pgraft:machine/guest@0.1.0#init")
    (param i64 i64 i64 i64 i32 i32) (result i32) (call $fine))
  (func (export "pgraft:machine/guest@0.1.0#check")
    (param i64 i64 i64 i64 i32 i32 i64 i64 i32 i32) (result i32) (call $fine))
  (func (export "pgraft:machine/guest@0.1.0#migrate")
    (param i64 i64 i64 i64 i32 i32) (result i32) (call $fine))
  (func (export "pgraft:machine/guest@0.1.0#describe") (result i32) (call $fine)))"#;

fn component(body: &str) -> Done<Vec<u8>> {
    let mut core = wat::parse_str(GUEST.replace("BODY", body))?;
    let mut resolve = wit_parser::Resolve::new();
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../statemachines/wit/v0.1");
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some("machine"))?;
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8)?;
    Ok(ComponentEncoder::default().module(&core)?.encode()?)
}

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

fn apply(applier: &mut Applier, machine: &str, payloads: Vec<Vec<u8>>) -> Done<()> {
    let command = |payload: Vec<u8>| Command::Machine {
        machine: machine.to_owned(),
        principal: "bench".to_owned(),
        session: 0,
        seq: 0,
        acked_below: 0,
        payload: payload.into(),
    };
    let commands: Vec<Bytes> =
        payloads.into_iter().map(|payload| command(payload).encode()).collect();
    let index = applier.meta().applied.next();
    let data = Body { time_ms: index.0, entropy: index.0, commands }.encode();
    let entry = Entry { index, term: Term(1), kind: EntryKind::Normal, data };
    let committed = Committed { entry, conf_change: None, tickets: Vec::new() };
    let applied = applier.apply(&[committed])?;
    assert!(applied[0].outcomes.iter().all(Result::is_ok), "{:?}", applied[0].outcomes[0]);
    assert_ne!(applied[0].index, Index::ZERO);
    Ok(())
}

/// Every key once, so that the store is not empty.
fn fill(mut put: impl FnMut(u64) -> Done<()>) -> Done<()> {
    (0..KEYS).try_for_each(&mut put)
}

fn next(key: &mut u64) -> u64 {
    *key += 1;
    // Spread over the keys, so that pages are touched as clients would touch them.
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS
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
