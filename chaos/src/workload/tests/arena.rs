//! The machines' own modules without a cluster: carries out what a workload asks, one operation
//! after the other, with failures and unknown ends by chance, and holds the facts against each
//! other. Not here: concurrency.

use std::collections::BTreeMap;

use pgraft_host::{Code, Machines, Outcome, Place, Request, Specification, State, Turn};
use pgraft_judge::lin::spec::{Asked, Purpose};
use pgraft_replica::Index;

use super::super::*;
use crate::seed::{Chance, Seed};

/// Log time between two operations, milliseconds.
const STEP_MS: u64 = 40;

/// What happened to one operation.
pub(super) struct Record {
    pub(super) client: u64,
    pub(super) operation: Operation,
    pub(super) end: End,
    pub(super) told: Told,
    /// It was carried out, whatever the client knows of it.
    pub(super) reply: Option<Reply>,
    pub(super) time_ms: u64,
}

/// What an arena does wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    /// Every 50th command is answered and forgotten.
    LostWrites,
}

/// Machines without a cluster.
pub(super) struct Arena {
    machines: BTreeMap<&'static str, (Specification, State)>,
    /// What a stale read sees.
    before: BTreeMap<&'static str, State>,
    index: u64,
    time_ms: u64,
    planted: Planted,
}

/// The seed of a run; `PGRAFT_SEED` repeats one.
pub(super) fn seed() -> Seed {
    let given = std::env::var("PGRAFT_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or(Seed::new(0x5eed));
    println!("PGRAFT_SEED={seed}");
    seed
}

impl Arena {
    pub(super) fn new(planted: Planted) -> Arena {
        let mut machines = BTreeMap::new();
        for module in pgraft_bundle::modules() {
            let code = Code {
                name: module.name,
                component: module.component,
                compiled: module.compiled,
                compiled_sha256: module.compiled_sha256,
            };
            let loaded = Machines::new(Place::Simulation, &[code]).unwrap();
            let machine = Specification::new(&loaded, module.name, &module.sha256).unwrap();
            let state = machine.initial(&config(module.name), 0).unwrap();
            machines.insert(module.name, (machine, state));
        }
        let before = machines.iter().map(|(name, (_, state))| (*name, state.clone())).collect();
        Arena { machines, before, index: 0, time_ms: 1000, planted }
    }

    /// So many operations of some clients; `sure`: all end well.
    pub(super) fn run(
        &mut self,
        workload: &mut dyn Workload,
        seed: Seed,
        count: usize,
        sure: bool,
    ) -> Vec<Record> {
        let (mut asks, mut fates) = (seed.stream("asks"), seed.stream("fates"));
        let mut clients: Vec<u64> = (1..=6).collect();
        let mut records = Vec::new();
        for _ in 0..count {
            let place = fates.below(clients.len() as u64) as usize;
            let client = clients[place];
            let operation = workload.next(client, &mut asks).expect("always something to ask");
            let (end, reply) = self.end(&operation, &mut fates, sure);
            let told = workload.ended(client, records.len() as u64, &operation, &end);
            if matches!(end, End::Unknown(_)) {
                clients[place] = clients.iter().max().unwrap() + 1;
            }
            let time_ms = self.time_ms;
            records.push(Record { client, operation, end, told, reply, time_ms });
        }
        records
    }

    fn end(
        &mut self,
        operation: &Operation,
        fates: &mut Chance,
        sure: bool,
    ) -> (End, Option<Reply>) {
        let fate = if sure { 99 } else { fates.below(100) };
        match fate {
            0..5 => (End::Fail("no leader".to_owned()), None),
            5..8 => (End::Unknown("no answer".to_owned()), None),
            8..14 => {
                let reply = self.carry_out(operation);
                (End::Unknown("no answer".to_owned()), Some(reply))
            }
            _ => {
                let reply = self.carry_out(operation);
                (End::Ok { index: self.index, reply: reply.clone() }, Some(reply))
            }
        }
    }

    fn carry_out(&mut self, operation: &Operation) -> Reply {
        self.time_ms += STEP_MS;
        let stale = operation.call == Call::StaleQuery;
        let (name, (machine, state)) =
            self.machines.iter_mut().find(|(name, _)| **name == operation.machine).unwrap();
        let turn =
            |index: u64| Turn { index: Index(index), term: 1, time_ms: self.time_ms, entropy: 7 };
        if state.wake_ms().is_some_and(|wake_ms| wake_ms <= self.time_ms) {
            self.index += 1;
            *state = machine.wake(state, &turn(self.index)).unwrap().state;
        }
        let outcome = match operation.call {
            Call::Command => {
                self.index += 1;
                self.before.insert(name, state.clone());
                let request = Request { principal: "c1", ..Request::new(&operation.payload) };
                let mut came = machine.apply(state, &turn(self.index), request).unwrap();
                let lost = self.planted == Planted::LostWrites && self.index.is_multiple_of(50);
                if !lost {
                    *state = came.state;
                }
                came.outcomes.remove(0)
            }
            Call::Query | Call::StaleQuery => {
                let state = if stale { &self.before[name] } else { state };
                machine.query(state, &turn(self.index), &operation.payload).unwrap()
            }
        };
        said(&outcome)
    }

    /// Carries out one part of the records only, as a judge does key by key, and says where an
    /// answer differs.
    pub(super) fn replay(&mut self, records: &[&Record]) -> Option<String> {
        for record in records {
            let Some(reply) = &record.reply else { continue };
            self.time_ms = record.time_ms - STEP_MS;
            let alone = self.carry_out(&record.operation);
            let asked = Asked {
                machine: record.operation.machine.clone(),
                principal: String::new(),
                purpose: Purpose::from(record.operation.call),
                payload: record.operation.payload.clone(),
                at: None,
            };
            if without_revisions(&asked, &alone) != without_revisions(&asked, reply) {
                return Some(record.operation.says.clone());
            }
        }
        None
    }
}

fn config(name: &str) -> Vec<u8> {
    let member = |id| pgraft_membership::Member {
        id,
        name: format!("n{id}"),
        address: format!("n{id}:7400"),
        role: pgraft_membership::Role::Voter,
        incarnation: 0,
    };
    match name {
        "membership" => {
            pgraft_membership::Genesis { members: (1..=3).map(member).collect() }.encode()
        }
        _ => Vec::new(),
    }
}

fn said(outcome: &Outcome) -> Reply {
    match outcome {
        Ok(bytes) => Reply::Accepted(bytes.clone()),
        Err(no) => Reply::Rejected { code: no.code, message: no.message.clone() },
    }
}

/// Holds what is told against what was asked before; the first fact that is not true.
pub(super) fn contradiction(records: &[Record]) -> Option<String> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let mut lists: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in records {
        let Some(Reply::Accepted(_)) = record.reply else { continue };
        let end = End::Ok { index: 0, reply: record.reply.clone().unwrap() };
        // What an unknown operation did is not told to its client, but can be looked up here.
        let told = match record.operation.workload {
            Name::Members | Name::Custom => continue,
            _ => kv::told(&record.operation, &end),
        };
        let linearizable = record.operation.call != Call::StaleQuery;
        for fact in record.told.facts.iter().filter(|_| linearizable) {
            let is_true = match fact {
                // Keys with leases vanish by themselves.
                Fact::Got { key, value: None, .. } if key.starts_with("l/") => true,
                Fact::Got { key, value, .. } => values.get(key) == value.as_ref(),
                Fact::List { list, elements } => {
                    lists.get(list).is_none_or(|known| known == elements)
                        && (lists.contains_key(list) || elements.is_empty())
                }
                Fact::Balances { balances, total } => balances.iter().sum::<i64>() == *total,
                _ => true,
            };
            if !is_true {
                return Some(format!("{}: {fact:?}", record.operation.says));
            }
        }
        if told.facts.contains(&Fact::Skipped) {
            continue;
        }
        for fact in &record.operation.facts {
            match fact {
                Fact::Put { key, value, .. } => {
                    values.insert(key.clone(), value.clone());
                }
                Fact::Delete { key } => {
                    values.remove(key);
                }
                Fact::Append { list, element } => {
                    lists.entry(list.clone()).or_default().push(*element);
                }
                _ => {}
            }
        }
    }
    None
}
