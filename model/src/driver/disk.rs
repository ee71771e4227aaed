//! The disk of a modelled node: raft.db and state.db as values, and what a crash leaves of them.
//!
//! A few lines that say what the store promises; that the store keeps the promise is the business
//! of the model of the store.

use std::collections::{BTreeMap, BTreeSet};

use pgraft_replica::body::Body;
use pgraft_replica::{
    Committed, ConfState, Entry, EntryKind, Fetch, HardState, Index, Persist, Restored,
    SnapshotMeta, Term,
};

use super::mutant::Mutant;
use super::words::{Key, Words, mix};

/// Commands and tickets of an entry. A client that does not know what became of its command
/// proposes the same one with another ticket.
pub(super) fn commands(entry: &Entry) -> Vec<(u8, u8)> {
    if entry.kind != EntryKind::Normal || entry.data.is_empty() {
        return Vec::new();
    }
    let body = Body::decode(entry.data.clone()).expect("the model's entries have bodies");
    let pairs = body.commands.iter().filter_map(|command| match &command[..] {
        [id, ticket, ..] => Some((*id, *ticket)),
        _ => None,
    });
    pairs.collect()
}

/// state.db: a machine whose state is all that ever had an effect on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) applied: Index,
    pub(super) term: Term,
    pub(super) conf: ConfState,
    /// Differs between different histories.
    pub(super) chain: u64,
    /// The commands that had an effect, in order.
    pub(super) effects: Vec<u8>,
    /// The commands that are known to have had one: the session table.
    pub(super) sessions: BTreeSet<u8>,
}

impl Machine {
    pub(super) fn apply(&mut self, committed: &Committed, mutant: Option<Mutant>) {
        let entry = &committed.entry;
        assert_eq!(entry.index, self.applied.next(), "the machine is given entries in order");
        self.applied = entry.index;
        self.term = entry.term;
        let length = entry.data.len() as u64;
        self.chain = mix(self.chain ^ entry.index.0 ^ entry.term.0.rotate_left(32) ^ length);
        for (id, _) in commands(entry) {
            if self.sessions.insert(id) {
                self.effects.push(id);
                self.chain = mix(self.chain ^ u64::from(id));
            }
        }
        if let Some(change) = &committed.conf_change
            && mutant != Some(Mutant::ConfNotWrittenWithApplied)
            && let Ok(conf) = self.conf.changed_by(change)
        {
            self.conf = conf;
        }
    }

    pub(super) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { index: self.applied, term: self.term, conf: self.conf.clone() }
    }

    pub(super) fn words(&self, words: &mut Words) {
        words.add(self.applied.0);
        words.add(self.term.0);
        words.add(self.chain);
        self.conf.canonical(&mut |_, number| words.add(number));
        words.bytes(&self.effects);
        words.add(self.sessions.len() as u64);
        self.sessions.iter().for_each(|id| words.add(u64::from(*id)));
    }

    /// What is seen of it from outside: not the session table.
    pub(super) fn visible(&self) -> Key {
        let mut words = Words::new(1);
        Machine { sessions: BTreeSet::new(), ..self.clone() }.words(&mut words);
        words.key()
    }

    /// A command that had an effect twice.
    pub(super) fn repeated(&self) -> Option<u8> {
        let mut seen = BTreeSet::new();
        self.effects.iter().copied().find(|id| !seen.insert(*id))
    }
}

/// What survives.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) hard_state: HardState,
    pub(super) truncated: (Index, Term),
    pub(super) log: BTreeMap<u64, Entry>,
    /// state.db as it is, and as a power loss would leave it.
    pub(super) machine: Machine,
    pub(super) durable: Machine,
}

impl Disk {
    pub(super) fn last(&self) -> Index {
        self.log.last_key_value().map_or(self.truncated.0, |(index, _)| Index(*index))
    }

    /// One transaction of raft.db. `received` is the data of the snapshots that came.
    pub(super) fn write(
        &mut self,
        persist: &Persist,
        received: &BTreeMap<u64, Machine>,
        mutant: Option<Mutant>,
    ) {
        if let Some(meta) = &persist.snapshot {
            let machine = received.get(&meta.index.0).expect("the data came before the message");
            assert_eq!(machine.meta(), *meta, "metadata and data of a snapshot differ");
            self.install(machine, mutant);
        }
        if let Some(first) = persist.entries.first() {
            self.log.split_off(&first.index.0);
            assert_eq!(first.index, self.last().next(), "a write leaves a gap");
            let rows = persist.entries.iter().map(|entry| (entry.index.0, entry.clone()));
            self.log.extend(rows);
        }
        if let Some(hard_state) = persist.hard_state {
            assert!(hard_state.term >= self.hard_state.term, "the stored term went back");
            self.hard_state = hard_state;
            if mutant == Some(Mutant::CommitNotWritten) {
                self.hard_state.commit = Index::ZERO;
            }
        }
    }

    fn install(&mut self, machine: &Machine, mutant: Option<Mutant>) {
        let conf = self.machine.conf.clone();
        self.truncated = (machine.applied, machine.term);
        self.log.clear();
        self.machine = machine.clone();
        if mutant == Some(Mutant::SnapshotWithoutConf) {
            self.machine.conf = conf;
        }
        if mutant == Some(Mutant::SnapshotWithoutSessions) {
            self.machine.sessions.clear();
        }
        self.durable = self.machine.clone();
    }

    pub(super) fn truncate(&mut self, index: Index) {
        let Some(entry) = self.log.get(&index.0) else { return };
        self.truncated = (index, entry.term);
        self.log = self.log.split_off(&(index.0 + 1));
    }

    pub(super) fn fetch(&self, fetch: Fetch) -> Vec<Entry> {
        let mut bytes = 0;
        let mut entries = Vec::new();
        if fetch.low <= self.truncated.0 {
            return entries;
        }
        for (_, entry) in self.log.range(fetch.low.0..fetch.high.0) {
            bytes += entry.data.len() as u64;
            if bytes > fetch.bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        entries
    }

    /// What a start finds.
    pub(super) fn restored(&self) -> Restored {
        let mut terms: Vec<(Index, Term)> = Vec::new();
        for entry in self.log.values() {
            if terms.last().is_none_or(|(_, term)| *term < entry.term) {
                terms.push((entry.index, entry.term));
            }
        }
        // The last entry is always among them.
        let from = (self.machine.applied.0 + 1).min(self.last().0);
        Restored {
            hard_state: self.hard_state,
            truncated: self.truncated,
            terms,
            tail: self.log.range(from..).map(|(_, entry)| entry.clone()).collect(),
            applied: self.machine.applied,
            conf: self.machine.conf.clone(),
        }
    }

    pub(super) fn words(&self, words: &mut Words) {
        words.field("disk hard state");
        words.add(self.hard_state.term.0);
        words.add(self.hard_state.vote.map_or(0, pgraft_replica::NodeId::get));
        words.add(self.hard_state.commit.0);
        words.field("disk log");
        words.add(self.truncated.0.0);
        words.add(self.truncated.1.0);
        words.add(self.log.len() as u64);
        self.log.values().for_each(|entry| entry.canonical(&mut |_, number| words.add(number)));
        words.field("machine");
        self.machine.words(words);
        words.field("durable machine");
        self.durable.words(words);
    }
}
