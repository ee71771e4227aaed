//! A node's state on a temporary disk, and logs to apply to it.

use std::sync::Arc;

use bytes::Bytes;
use pgraft_engine::{Options, Place};
use pgraft_replica::body::Body;
use pgraft_replica::{Committed, ConfChange, ConfState, Entry, EntryKind, Index, NodeId, Term};
use pgraft_store::{Disk, StateReader, StateStore};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wasmtime::Engine;

use super::probe;
use crate::limits::HOST;
use crate::registration::Registration;
use crate::rows;
use crate::{Applied, Applier, Bootstrap, Code, Command, Fault, Machines, Outcome, Querier};

/// Names of the machines in every test, with their ids from 1.
pub(crate) const MACHINES: [&str; 4] = ["membership", "kv", "counter", "probe"];

/// A module of the tests, compiled under some options.
#[derive(Clone)]
pub(crate) struct Compiled {
    pub(crate) name: &'static str,
    pub(crate) component: Vec<u8>,
    pub(crate) compiled: Vec<u8>,
}

impl Compiled {
    pub(crate) fn new(name: &'static str, component: Vec<u8>, options: Options) -> Compiled {
        let compiled = pgraft_engine::precompile_with(&component, options).unwrap();
        Compiled { name, component, compiled }
    }

    pub(crate) fn code(&self) -> Code<'_> {
        let Compiled { name, component, compiled } = self;
        Code { name, component, compiled, compiled_sha256: Sha256::digest(compiled).into() }
    }

    pub(crate) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.component).into()
    }
}

/// The components of all machines.
pub(crate) fn components() -> Vec<(&'static str, Vec<u8>)> {
    let built_in = pgraft_bundle::modules().iter().chain(pgraft_bundle::test_modules());
    let mut components: Vec<_> =
        built_in.map(|module| (module.name, module.component.to_vec())).collect();
    components.push(("probe", probe::component()));
    components
}

/// All modules under other options than those of the bundle.
pub(crate) fn machines_with(options: Options) -> Arc<Machines> {
    let engine = Engine::new(&pgraft_engine::config(Place::Simulation, options)).unwrap();
    let modules: Vec<Compiled> = components()
        .into_iter()
        .map(|(name, component)| Compiled::new(name, component, options))
        .collect();
    let codes: Vec<Code<'_>> = modules.iter().map(Compiled::code).collect();
    Arc::new(Machines::with_engine(engine, &codes).unwrap())
}

/// All modules as the program has them.
pub(crate) fn machines() -> Arc<Machines> {
    let built_in = pgraft_bundle::modules().iter().chain(pgraft_bundle::test_modules());
    let mut codes: Vec<Code<'_>> = built_in
        .map(|module| Code {
            name: module.name,
            component: module.component,
            compiled: module.compiled,
            compiled_sha256: module.compiled_sha256,
        })
        .collect();
    let probe = Compiled::new("probe", probe::component(), Options::default());
    codes.push(probe.code());
    Arc::new(Machines::new(Place::Simulation, &codes).unwrap())
}

/// The first configuration and machines of every test.
pub(crate) fn bootstrap() -> Bootstrap {
    let components = components();
    let sha256 = |name: &str| -> [u8; 32] {
        let (_, component) = components.iter().find(|(other, _)| *other == name).unwrap();
        Sha256::digest(component).into()
    };
    let machine = |name: &&str| (name.to_string(), sha256(name), config(name));
    Bootstrap {
        conf: ConfState { voters: [node(1)].into(), ..ConfState::default() },
        machines: MACHINES.iter().map(machine).collect(),
        time_ms: 0,
    }
}

fn config(machine: &str) -> Vec<u8> {
    let member = pgraft_membership::Member {
        id: 1,
        name: "n1".to_owned(),
        address: "h1:5001".to_owned(),
        role: pgraft_membership::Role::Voter,
        incarnation: 0,
    };
    match machine {
        "membership" => pgraft_membership::Genesis { members: vec![member] }.encode(),
        _ => Vec::new(),
    }
}

pub(crate) fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

/// A state on a disk of its own.
pub(crate) struct Node {
    folder: TempDir,
    machines: Arc<Machines>,
    pub(crate) applier: Applier,
}

impl Node {
    pub(crate) fn new(machines: &Arc<Machines>) -> Node {
        let mut node = Node::empty(machines);
        node.applier.bootstrap(&bootstrap()).unwrap();
        node
    }

    /// Machines with a tenth of the fuel: logs that burn it all are applied ten times as fast.
    pub(crate) fn thrifty(machines: &Arc<Machines>) -> Node {
        let mut node = Node::new(machines);
        let store = node.applier.store();
        store.begin().unwrap();
        for name in MACHINES {
            let key = rows::key(rows::MACHINE, &[name.as_bytes()]);
            let mut row = Registration::decode(&store.get(HOST, &key).unwrap().unwrap()).unwrap();
            row.limits.command_fuel /= 10;
            row.limits.entry_fuel /= 10;
            store.put(HOST, &key, &row.encode()).unwrap();
        }
        store.commit().unwrap();
        node.restarted()
    }

    pub(crate) fn empty(machines: &Arc<Machines>) -> Node {
        let folder = TempDir::new().unwrap();
        let state = StateStore::open(&disk(&folder), 1).unwrap();
        let applier = Applier::open(Arc::clone(machines), state).unwrap();
        Node { folder, machines: Arc::clone(machines), applier }
    }

    /// The process ends and begins again.
    pub(crate) fn restarted(self) -> Node {
        let Node { folder, machines, applier } = self;
        drop(applier);
        let state = StateStore::open(&disk(&folder), 1).unwrap();
        let applier = Applier::open(Arc::clone(&machines), state).unwrap();
        Node { folder, machines, applier }
    }

    pub(crate) fn querier(&self) -> Querier {
        let reader = StateReader::open(&disk(&self.folder), 1).unwrap();
        Querier::open(Arc::clone(&self.machines), reader).unwrap()
    }

    /// Applies one entry that follows the last one.
    pub(crate) fn entry(&mut self, time_ms: u64, commands: &[Command]) -> Applied {
        let entry = entry(self.applier.meta().applied.next(), time_ms, commands);
        self.apply(&[entry]).unwrap().remove(0)
    }

    pub(crate) fn apply(&mut self, batch: &[Committed]) -> Result<Vec<Applied>, Fault> {
        self.applier.apply(batch)
    }

    /// One command in an entry of its own, at time 0.
    pub(crate) fn command(&mut self, command: Command) -> Outcome {
        self.entry(0, &[command]).outcomes.remove(0)
    }

    /// Digest and size of every keyspace, the host's first.
    pub(crate) fn digests(&mut self) -> Vec<(u128, u64)> {
        let ids = 0..=u32::try_from(MACHINES.len()).unwrap();
        let store = self.applier.store();
        store.verify_digests().unwrap();
        ids.map(|machine| (store.digest(machine), store.size(machine))).collect()
    }
}

fn disk(folder: &TempDir) -> Disk {
    Disk { dir: folder.path().to_owned(), vfs: None }
}

/// A committed entry with these commands.
pub(crate) fn entry(index: Index, time_ms: u64, commands: &[Command]) -> Committed {
    raw_entry(index, time_ms, commands.iter().map(Command::encode).collect())
}

pub(crate) fn raw_entry(index: Index, time_ms: u64, commands: Vec<Bytes>) -> Committed {
    // Any chance will do, as long as all replicas see the same.
    let entropy = index.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    committed(index, EntryKind::Normal, Body { time_ms, entropy, commands }.encode(), None)
}

/// A new leader's first entry.
pub(crate) fn empty_entry(index: Index) -> Committed {
    committed(index, EntryKind::Normal, Bytes::new(), None)
}

pub(crate) fn conf_entry(index: Index, change: ConfChange) -> Committed {
    committed(index, EntryKind::ConfChange, Bytes::from_static(b"conf"), Some(change))
}

/// An entry that a newer program wrote: this one must stop there.
pub(crate) fn unreadable_entry(index: Index) -> Committed {
    committed(index, EntryKind::Normal, Bytes::from_static(&[99; 40]), None)
}

fn committed(
    index: Index,
    kind: EntryKind,
    data: Bytes,
    conf_change: Option<ConfChange>,
) -> Committed {
    let entry = Entry { index, term: Term(1), kind, data };
    Committed { entry, conf_change, tickets: Vec::new() }
}

/// A command outside of any session.
pub(crate) fn to(machine: &str, payload: impl Into<Vec<u8>>) -> Command {
    in_session(machine, payload, 0, 0, 0)
}

pub(crate) fn in_session(
    machine: &str,
    payload: impl Into<Vec<u8>>,
    session: u64,
    seq: u64,
    acked_below: u64,
) -> Command {
    Command::Machine {
        machine: machine.to_owned(),
        principal: "test".to_owned(),
        session,
        seq,
        acked_below,
        payload: Bytes::from(payload.into()),
    }
}

/// The count in a reply of the counter.
pub(crate) fn count(outcome: &Outcome) -> u64 {
    let reply = outcome.as_ref().unwrap();
    u64::from_le_bytes(reply[..8].try_into().unwrap())
}

/// The host's code of a rejection.
pub(crate) fn code(outcome: &Outcome) -> Option<crate::HostCode> {
    outcome.as_ref().err().and_then(crate::Rejection::host_code)
}
