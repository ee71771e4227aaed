//! Writes a log with all that can stand in one, while a real host over state.db applies it.

use std::sync::Arc;

use bytes::Bytes;
use pgraft_host::{Applier, Bootstrap, Code, Command, Machines, Place, Specification};
use pgraft_replica::body::Body;
use pgraft_replica::{ConfChange, ConfChangeKind, ConfState, Entry, EntryKind, NodeId, Term};
use pgraft_store::{Disk, StateStore};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::history::{Committed, Emitted};
use crate::machine_spec::{Origin, reply};

const NAMES: [&str; 2] = ["membership", "kv"];

fn built_in(name: &str) -> &'static pgraft_bundle::Module {
    pgraft_bundle::modules().iter().find(|module| module.name == name).unwrap()
}

fn config(name: &str) -> Vec<u8> {
    let member = |id| pgraft_membership::Member {
        id,
        name: format!("n{id}"),
        address: format!("h{id}:5001"),
        role: pgraft_membership::Role::Voter,
        incarnation: 0,
    };
    match name {
        "membership" => pgraft_membership::Genesis { members: vec![member(1)] }.encode(),
        _ => Vec::new(),
    }
}

pub(super) fn machines() -> Arc<Machines> {
    let code = |name: &&str| {
        let module = built_in(name);
        Code {
            name: module.name,
            component: module.component,
            compiled: module.compiled,
            compiled_sha256: module.compiled_sha256,
        }
    };
    let codes: Vec<Code<'_>> = NAMES.iter().map(code).collect();
    Arc::new(Machines::new(Place::Simulation, &codes).unwrap())
}

pub(super) fn module(name: &str) -> Specification {
    Specification::new(&machines(), name, &built_in(name).sha256).unwrap()
}

pub(super) fn origins() -> Vec<Origin> {
    let origin = |(name, number): (&&str, u32)| Origin {
        module: module(name),
        number,
        config: config(name),
        sha256: built_in(name).sha256,
    };
    NAMES.iter().zip(1..).map(origin).collect()
}

/// What the host does with a command that a session knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    Answered,
    /// A planted mistake: applied again.
    Applied,
}

/// A log and the host that applied it.
pub(super) struct Author {
    _folder: TempDir,
    pub(super) applier: Applier,
    chance: ChaCha8Rng,
    repeats: Repeats,
    time_ms: u64,
    term: u64,
    sessions: Vec<(u64, u64)>,
    pub(super) log: Vec<Committed>,
}

impl Author {
    pub(super) fn new(seed: u64, repeats: Repeats) -> Author {
        let folder = TempDir::new().unwrap();
        let disk = Disk { dir: folder.path().to_owned(), vfs: None };
        let state = StateStore::open(&disk, 1).unwrap();
        let mut applier = Applier::open(machines(), state).unwrap();
        let machine = |name: &&str| (name.to_string(), built_in(name).sha256, config(name));
        applier
            .bootstrap(&Bootstrap {
                conf: ConfState { voters: [node(1)].into(), ..ConfState::default() },
                machines: NAMES.iter().map(machine).collect(),
                time_ms: 0,
            })
            .unwrap();
        Author {
            _folder: folder,
            applier,
            chance: ChaCha8Rng::seed_from_u64(seed),
            repeats,
            time_ms: 1_000,
            term: 1,
            sessions: Vec::new(),
            log: Vec::new(),
        }
    }

    /// A log of so many entries.
    pub(super) fn write(seed: u64, repeats: Repeats, entries: u64) -> Author {
        let mut author = Author::new(seed, repeats);
        (0..entries).for_each(|_| author.entry());
        author
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.chance.random_range(0..bound)
    }

    fn entry(&mut self) {
        match self.below(30) {
            0 => {
                self.term += 1;
                self.append(EntryKind::Normal, Bytes::new(), None);
            }
            1..=5 => self.change(),
            _ => {
                self.time_ms += [5, 5, 5, 700, 40 * 60_000][self.below(5) as usize];
                let count = 1 + self.below(6);
                let commands: Vec<Command> = (0..count).map(|_| self.command()).collect();
                self.commands(&commands);
            }
        }
    }

    /// A configuration change: one that was asked for, or one that raft makes by itself.
    fn change(&mut self) {
        let asked = self.applier.outbox().into_iter().find(|effect| effect.kind == "conf-change");
        let (id, context) = match asked {
            Some(effect) if self.below(3) > 0 => {
                let mut context = effect.machine.to_le_bytes().to_vec();
                context.extend_from_slice(&effect.id.to_le_bytes());
                (7, Bytes::from(context))
            }
            _ => (2 + self.below(3), Bytes::new()),
        };
        let kinds = [ConfChangeKind::AddLearner, ConfChangeKind::Remove];
        let kind = kinds[self.below(2) as usize];
        let change = ConfChange { changes: vec![(kind, node(id))], context };
        self.append(EntryKind::ConfChange, Bytes::from_static(b"conf"), Some(change));
    }

    fn command(&mut self) -> Command {
        match self.below(20) {
            0 => Command::OpenSession,
            1..=2 => Command::Wake { machine: "kv".to_owned() },
            3 => {
                let (index, digests) = self.applier.digests();
                Command::Digest { index, digests }
            }
            4 => to("nobody", "x", (0, 0, 0)),
            5..=6 => self.membership(),
            7 => Command::EffectDone {
                machine: "membership".to_owned(),
                id: 1 + self.below(4),
                outcome: Ok(Vec::new()),
            },
            8..=14 if !self.sessions.is_empty() => {
                let place = self.below(self.sessions.len() as u64) as usize;
                let again = self.below(3) == 0;
                let (session, last) = &mut self.sessions[place];
                *last += u64::from(!again);
                let (session, seq) = (*session, (*last).max(1));
                let acked_below = seq.saturating_sub(self.below(3));
                to("kv", self.kv(), (session, seq, acked_below))
            }
            _ => to("kv", self.kv(), (0, 0, 0)),
        }
    }

    fn membership(&mut self) -> Command {
        use pgraft_membership::Command as Change;
        let id = 2 + self.below(3);
        let (name, address) = (format!("n{id}"), format!("h{id}:5001"));
        let change = match self.below(3) {
            0 => Change::Remove { id },
            1 => Change::Promote { id },
            _ => Change::Add { id, name, address },
        };
        to("membership", change.encode(), (0, 0, 0))
    }

    fn kv(&mut self) -> Vec<u8> {
        use pgraft_kv::{Command, DeleteRange, Put};
        let key = format!("k{}", self.below(5)).into_bytes();
        let lease = 1 + self.below(3) as i64;
        match self.below(8) {
            0 => Command::LeaseGrant { id: lease, ttl: 1 },
            1 => Command::Put(Put { lease, ..Put::new(key, "leased") }),
            2 => Command::DeleteRange(DeleteRange::key(key)),
            3 => Command::LeaseKeepAlive { id: lease },
            _ => Command::Put(Put { prev_kv: true, ..Put::new(key, self.time_ms.to_string()) }),
        }
        .encode()
    }

    fn commands(&mut self, commands: &[Command]) {
        let commands = commands.iter().map(Command::encode).collect();
        let body =
            Body { time_ms: self.time_ms - self.below(4), entropy: self.below(99), commands };
        self.append(EntryKind::Normal, body.encode(), None);
    }

    fn append(&mut self, kind: EntryKind, data: Bytes, conf_change: Option<ConfChange>) {
        let index = self.applier.meta().applied.next();
        let given = match self.repeats {
            Repeats::Applied => without_sessions(&data),
            Repeats::Answered => data.clone(),
        };
        let entry = Entry { index, term: Term(self.term), kind, data: given };
        let committed = pgraft_replica::Committed { entry, conf_change, tickets: Vec::new() };
        let applied = self.applier.apply(&[committed]).unwrap().remove(0);
        let is_change = kind == EntryKind::ConfChange;
        if let Ok(body) = Body::decode(data.clone()) {
            for (command, outcome) in body.commands.iter().zip(&applied.outcomes) {
                if let (Ok(Command::OpenSession), Ok(id)) = (Command::decode(command), outcome) {
                    self.sessions.push((u64::from_le_bytes(id[..].try_into().unwrap()), 0));
                    let surplus = self.sessions.len().saturating_sub(3);
                    self.sessions.drain(..surplus);
                }
            }
        }
        let events = applied.events.iter().map(|event| Emitted {
            machine: event.machine.clone(),
            key: event.topic.clone(),
            payload: event.payload.clone(),
        });
        self.log.push(Committed {
            index: index.0,
            term: self.term,
            time_ms: self.applier.meta().time_ms,
            body: if is_change { Vec::new() } else { data.to_vec() },
            outcomes: applied.outcomes.iter().map(reply).collect(),
            events: events.collect(),
        });
    }
}

/// The same body, as a host reads it that has forgotten what sessions are for.
fn without_sessions(data: &Bytes) -> Bytes {
    let Ok(mut body) = Body::decode(data.clone()) else { return data.clone() };
    for bytes in &mut body.commands {
        if let Ok(Command::Machine { machine, payload, .. }) = Command::decode(bytes) {
            *bytes = to(&machine, payload, (0, 0, 0)).encode();
        }
    }
    body.encode()
}

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

pub(super) fn to(
    machine: &str,
    payload: impl Into<Bytes>,
    (session, seq, acked_below): (u64, u64, u64),
) -> Command {
    let (machine, principal, payload) = (machine.to_owned(), "test".to_owned(), payload.into());
    Command::Machine { machine, principal, session, seq, acked_below, payload }
}
