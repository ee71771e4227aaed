//! Searches with the module of the kv machine as the specification: key by key, and over all keys.

use std::sync::Arc;
use std::time::Instant;

use pgraft_host::{Request, Turn};
use pgraft_kv::{Command, Compare, CompareResult, CompareTarget, KeyValue, Op, Put, Query, Txn};
use pgraft_replica::Index;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::author::module;
use super::seed;
use crate::history::Reply;
use crate::lin::{
    Asked, Budget, Certificate, Entry, Outcome, Place, Purpose, certify, compete, judge_partitions,
};
use crate::machine_spec::{MachineSpec, View, reply};

const KEYS: u64 = 10;
const CLIENTS: usize = 20;

type Call = Entry<Asked, Reply>;

/// Clients without think time; each call takes effect somewhere between its two ends.
fn history(seed: u64, calls: usize) -> Vec<Call> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let kv = module("kv");
    let mut free_at = [0_u64; CLIENTS];
    let mut planned: Vec<(u64, Call)> = Vec::new();
    for number in 0..calls as u64 {
        let client = (0..CLIENTS).min_by_key(|client| free_at[*client]).unwrap();
        let called = free_at[client] + chance.random_range(1..20);
        let effect = called + chance.random_range(1..100);
        let returned = effect + chance.random_range(1..100);
        free_at[client] = returned;
        let operation = asked(&mut chance, number);
        let (returned, reply) = (Some(returned), None);
        let call = Entry { op: number, called, returned, place: None, operation, reply };
        planned.push((effect, call));
    }
    planned.sort_by_key(|(effect, call)| (*effect, call.op));
    let mut state = kv.initial(&[], 0).unwrap();
    let mut index = 0;
    let mut calls = Vec::new();
    for (_, mut call) in planned {
        let is_read = call.operation.purpose == Purpose::Query;
        index += u64::from(!is_read);
        let turn = Turn { index: Index(index), term: 1, time_ms: 0, entropy: 0 };
        let payload = &call.operation.payload;
        let outcome = if is_read {
            kv.query(&state, &turn, payload).unwrap()
        } else {
            let mut came = kv.apply(&state, &turn, Request::new(payload)).unwrap();
            state = came.state;
            came.outcomes.remove(0)
        };
        let position = if is_read { Place::AFTER } else { 0 };
        (call.place, call.reply) = (Some(Place { index, position }), Some(reply(&outcome)));
        calls.push(call);
    }
    calls.sort_by_key(|call| call.op);
    calls
}

fn asked(chance: &mut ChaCha8Rng, number: u64) -> Asked {
    let key = format!("k{}", chance.random_range(0..KEYS)).into_bytes();
    let value = number.to_string().into_bytes();
    let (purpose, payload) = match chance.random_range(0..10) {
        0..4 => (Purpose::Query, Query::Range(pgraft_kv::RangeRequest::key(key)).encode()),
        4..8 => (Purpose::Command, Command::Put(Put::new(key, value)).encode()),
        _ => {
            let version = CompareTarget::Version(chance.random_range(0..30));
            let compare = Compare {
                key: key.clone(),
                range_end: Vec::new(),
                result: CompareResult::Greater,
                target: version,
            };
            let read = Op::Range(pgraft_kv::RangeRequest::key(key.clone()));
            let (success, failure) = (vec![Op::Put(Put::new(key, value))], vec![read]);
            let txn = Txn { compare: vec![compare], success, failure };
            (Purpose::Command, Command::Txn(txn).encode())
        }
    };
    let (machine, principal) = ("kv".to_owned(), String::new());
    Asked { machine, principal, purpose, payload, at: None }
}

fn key_of(call: &Call) -> Vec<u8> {
    let payload = &call.operation.payload;
    if call.operation.purpose == Purpose::Query {
        return match Query::decode(payload).unwrap() {
            Query::Range(range) => range.key,
            other => panic!("{other:?}"),
        };
    }
    match Command::decode(payload).unwrap() {
        Command::Put(put) => put.key,
        Command::Txn(txn) => txn.compare[0].key.clone(),
        other => panic!("{other:?}"),
    }
}

fn partitions(calls: &[Call]) -> Vec<Vec<Call>> {
    let mut by_key = std::collections::BTreeMap::<Vec<u8>, Vec<Call>>::new();
    calls.iter().for_each(|call| by_key.entry(key_of(call)).or_default().push(call.clone()));
    by_key.into_values().collect()
}

/// Answers without revisions: they count the changes of all keys.
fn without_revisions() -> View {
    Arc::new(|_, reply| match reply {
        Reply::Accepted(bytes) => {
            let mut reply = pgraft_kv::Reply::decode(bytes).expect("the machine's own answer");
            forget(&mut reply);
            Reply::Accepted(reply.encode())
        }
        rejected => rejected.clone(),
    })
}

fn forget(reply: &mut pgraft_kv::Reply) {
    let forget_pair = |pair: &mut KeyValue| (pair.create_revision, pair.mod_revision) = (0, 0);
    match reply {
        pgraft_kv::Reply::Put { revision, prev_kv } => {
            *revision = 0;
            prev_kv.iter_mut().for_each(forget_pair);
        }
        pgraft_kv::Reply::Range(range) => {
            range.revision = 0;
            range.kvs.iter_mut().for_each(forget_pair);
        }
        pgraft_kv::Reply::Txn(txn) => {
            txn.revision = 0;
            txn.responses.iter_mut().for_each(forget);
        }
        other => panic!("{other:?}"),
    }
}

fn kv() -> MachineSpec {
    let module = module("kv");
    let initial = module.initial(&[], 0).unwrap();
    MachineSpec::new(module, initial)
}

/// Without revisions nothing tells two puts at the same time apart, but their rows do; so states
/// are told apart by what they hold now.
fn kv_by_key() -> MachineSpec {
    let now = Query::Range(pgraft_kv::RangeRequest::prefix(b"")).encode();
    kv().seen_as(without_revisions()).told_apart_by(&now)
}

/// A read that answers what was true before the latest change that had returned by then.
fn with_a_stale_read(calls: &[Call]) -> Vec<Call> {
    let mut calls = calls.to_vec();
    let is_read = |call: &Call| call.operation.purpose == Purpose::Query;
    let stale = (calls.len() / 2..calls.len()).find_map(|late| {
        let early = (0..late).rev().find(|early| {
            let (one, other) = (&calls[*early], &calls[late]);
            is_read(one)
                && is_read(other)
                && key_of(one) == key_of(other)
                && one.returned.unwrap() + 1_000 < other.called
                && one.reply != other.reply
        })?;
        Some((early, late))
    });
    let (early, late) = stale.expect("somebody reads a key twice");
    calls[late].reply = calls[early].reply.clone();
    calls
}

/// More in release: `cargo test --release -p pgraft-judge search -- --nocapture`.
fn calls() -> usize {
    if cfg!(debug_assertions) { 1_500 } else { 10_000 }
}

#[test]
fn what_the_module_did_is_linearizable() {
    let calls = history(seed(), calls());
    let (whole, by_key) = (kv(), kv_by_key());
    let parts = partitions(&calls);
    let start = Instant::now();
    assert_eq!(certify(&whole, &calls), Certificate::Holds);
    let certified = start.elapsed();
    let (outcome, _) = judge_partitions(&by_key, &parts, Budget::default()).unwrap();
    assert_eq!(outcome, Outcome::Linearizable);
    let by_keys = start.elapsed() - certified;
    assert_eq!(compete(&whole, &calls, Budget::default()).unwrap(), Outcome::Linearizable);
    let at_once = start.elapsed() - certified - by_keys;
    println!(
        "{} calls of {CLIENTS} clients on {KEYS} keys: certificate {certified:?}, key by key \
         {by_keys:?}, all keys at once {at_once:?}",
        calls.len()
    );
}

#[test]
fn canary_a_stale_read_is_refused() {
    let calls = with_a_stale_read(&history(seed(), calls()));
    assert!(matches!(certify(&kv(), &calls), Certificate::Broken(_)));
    let start = Instant::now();
    let outcome = compete(&kv(), &calls, Budget::default()).unwrap();
    assert!(matches!(outcome, Outcome::Not(_)), "{outcome:?}");
    println!("refused at once in {:?}", start.elapsed());
}

#[test]
fn canary_a_stale_read_is_refused_key_by_key() {
    let calls = with_a_stale_read(&history(seed(), calls()));
    let parts = partitions(&calls);
    let start = Instant::now();
    let (outcome, _) = judge_partitions(&kv_by_key(), &parts, Budget::default()).unwrap();
    assert!(matches!(outcome, Outcome::Not(_)), "{outcome:?}");
    println!("refused key by key in {:?}", start.elapsed());
}

/// A view that leaves out too little accuses; one that leaves out nothing does so at once.
#[test]
fn canary_key_by_key_needs_a_view() {
    let calls = history(seed(), 300);
    let (outcome, _) = judge_partitions(&kv(), &partitions(&calls), Budget::default()).unwrap();
    assert!(matches!(outcome, Outcome::Not(_)), "{outcome:?}");
}
