//! Measures what a put costs from committed entry to outcome: the module, the host, state.db.
//!
//! ```text
//! cargo run --release --example apply_cost -p pgraft-host
//! ```
//!
//! Prints microseconds per put of 256 B, of this thread's CPU and by the clock, the best of a few
//! rounds; the machine should be quiet. Not measured: raft.db, the network, checkpoints.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use pgraft_host::{Applier, Bootstrap, Code, Command, Machines, Place};
use pgraft_kv::Put;
use pgraft_replica::body::Body;
use pgraft_replica::{Committed, ConfState, Entry, EntryKind, Index, NodeId, Term};
use pgraft_store::{Disk, StateStore};

const ROUNDS: u32 = 5;
const PUTS_PER_ROUND: u64 = 20_000;
const KEYS: u64 = 100_000;
const VALUE_BYTES: usize = 256;

type Done<T> = Result<T, Box<dyn Error>>;

fn main() -> Done<()> {
    let folder = tempfile::TempDir::new()?;
    let mut applier = applier(&folder)?;
    println!("{:>24} {:>12} {:>12}", "shape of a transaction", "CPU us/put", "wall us/put");
    let mut key = 0;
    for (entries, commands) in [(1, 1), (1, 16), (1, 100), (64, 1), (64, 16), (16, 100)] {
        let (mut cpu_us, mut wall_us) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            let (cpu, wall) = round(&mut applier, entries, commands, &mut key)?;
            (cpu_us, wall_us) = (cpu_us.min(cpu), wall_us.min(wall));
        }
        let shape = format!("{entries} entries x {commands} puts");
        println!("{shape:>24} {cpu_us:>12.2} {wall_us:>12.2}");
    }
    let state = applier.into_state();
    println!("the kv machine holds {} MiB in the end", state.size(2) >> 20);
    Ok(())
}

fn applier(folder: &tempfile::TempDir) -> Done<Applier> {
    let modules = pgraft_bundle::modules();
    let code = |module: &'static pgraft_bundle::Module| Code {
        name: module.name,
        component: module.component,
        compiled: module.compiled,
        compiled_sha256: module.compiled_sha256,
    };
    let codes: Vec<Code<'_>> = modules.iter().map(code).collect();
    let machines = Arc::new(Machines::new(Place::Program, &codes)?);
    let state = StateStore::open(&Disk { dir: folder.path().to_owned(), vfs: None }, 1)?;
    let mut applier = Applier::open(machines, state)?;
    let kv = modules.iter().find(|module| module.name == "kv").ok_or("no kv in the bundle")?;
    let voter = NodeId::new(1).ok_or("1 is a node id")?;
    applier.bootstrap(&Bootstrap {
        conf: ConfState { voters: [voter].into(), ..ConfState::default() },
        machines: vec![("kv".to_owned(), kv.sha256, Vec::new())],
        time_ms: 0,
    })?;
    Ok(applier)
}

/// One round in transactions of this shape; microseconds per put, CPU and wall.
fn round(applier: &mut Applier, entries: u64, commands: u64, key: &mut u64) -> Done<(f64, f64)> {
    let mut next = applier.meta().applied;
    let mut batches = Vec::new();
    let mut puts = 0;
    while puts < PUTS_PER_ROUND {
        let mut batch = Vec::new();
        for _ in 0..entries {
            next = next.next();
            let commands: Vec<Bytes> = (0..commands).map(|_| put(key)).collect();
            puts += commands.len() as u64;
            batch.push(committed(next, commands));
        }
        batches.push(batch);
    }
    let (cpu, wall) = (thread_cpu_ns()?, Instant::now());
    for batch in &batches {
        let applied = applier.apply(batch)?;
        assert!(applied.iter().all(|entry| entry.outcomes.iter().all(Result::is_ok)));
    }
    let (wall, cpu) = (wall.elapsed(), thread_cpu_ns()? - cpu);
    let puts = puts as f64;
    Ok((cpu as f64 / 1e3 / puts, wall.as_secs_f64() * 1e6 / puts))
}

fn put(key: &mut u64) -> Bytes {
    *key += 1;
    // Spread over the keys, so that pages are touched as clients would touch them.
    let name = format!("key-{:06}", key.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS);
    let put = pgraft_kv::Command::Put(Put::new(name, vec![b'v'; VALUE_BYTES]));
    Command::Machine {
        machine: "kv".to_owned(),
        principal: "bench".to_owned(),
        session: 0,
        seq: 0,
        acked_below: 0,
        payload: put.encode().into(),
    }
    .encode()
}

fn committed(index: Index, commands: Vec<Bytes>) -> Committed {
    let data = Body { time_ms: index.0, entropy: index.0, commands }.encode();
    let entry = Entry { index, term: Term(1), kind: EntryKind::Normal, data };
    Committed { entry, conf_change: None, tickets: Vec::new() }
}

/// Nanoseconds this thread spent on a CPU (Linux).
fn thread_cpu_ns() -> Done<u64> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = statistics.split_whitespace().next().ok_or("schedstat is empty")?;
    Ok(first.parse()?)
}
