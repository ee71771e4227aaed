//! A disk of the harness: raft.db and state.db as values, with what a crash leaves of them.

use std::collections::BTreeMap;

use pgraft_replica::{
    Committed, ConfState, Entry, EntryKind, Fetch, HardState, Index, Persist, Restored,
    SnapshotMeta, Term,
};

/// The state machine: a hash chain over all entries, so that equal means equal history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) applied: Index,
    pub(crate) term: Term,
    pub(crate) conf: ConfState,
    pub(crate) chain: u64,
}

impl State {
    pub(crate) fn apply(&mut self, committed: &Committed) {
        let entry = &committed.entry;
        assert_eq!(entry.index, self.applied.next(), "applied out of order");
        self.applied = entry.index;
        self.term = entry.term;
        let mut chain = self.chain ^ entry.index.0 ^ entry.term.0.rotate_left(32);
        for byte in &entry.data {
            chain = (chain ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.chain = chain.rotate_left(7).wrapping_add(0x9e37_79b9);
        if let Some(change) = &committed.conf_change {
            assert_eq!(entry.kind, EntryKind::ConfChange);
            if let Ok(conf) = self.conf.changed_by(change) {
                self.conf = conf;
            }
        }
    }

    pub(crate) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { index: self.applied, term: self.term, conf: self.conf.clone() }
    }
}

/// What survives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    pub(crate) truncated: (Index, Term),
    pub(crate) log: BTreeMap<u64, Entry>,
    /// state.db as it is now, and as a power loss would leave it.
    pub(crate) state: State,
    pub(crate) durable: State,
}

impl Disk {
    pub(crate) fn last(&self) -> Index {
        self.log.last_key_value().map_or(self.truncated.0, |(index, _)| Index(*index))
    }

    /// One transaction of raft.db. `snapshots` are the received state files.
    pub(crate) fn write(&mut self, persist: &Persist, snapshots: &BTreeMap<u64, State>) {
        if let Some(meta) = &persist.snapshot {
            let state = snapshots.get(&meta.index.0).expect("the data came before the message");
            assert_eq!(state.meta(), *meta, "metadata and data of a snapshot differ");
            self.truncated = (meta.index, meta.term);
            self.log.clear();
            self.state = state.clone();
            self.durable = state.clone();
        }
        if let Some(first) = persist.entries.first() {
            self.log.split_off(&first.index.0);
            assert_eq!(first.index, self.last().next(), "a write leaves a gap");
            let rows = persist.entries.iter().map(|entry| (entry.index.0, entry.clone()));
            self.log.extend(rows);
        }
        if let Some(hard_state) = persist.hard_state {
            assert!(hard_state.term >= self.hard_state.term, "the stored term went back");
            assert!(hard_state.commit >= self.hard_state.commit, "the stored commit went back");
            self.hard_state = hard_state;
        }
    }

    pub(crate) fn truncate(&mut self, index: Index) {
        assert!(index <= self.durable.applied, "truncated what state.db may forget");
        let Some(entry) = self.log.get(&index.0) else { return };
        self.truncated = (index, entry.term);
        self.log = self.log.split_off(&(index.0 + 1));
    }

    pub(crate) fn fetch(&self, fetch: Fetch) -> Vec<Entry> {
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

    /// What a start finds; `older` entries below the applied index come along.
    pub(crate) fn restored(&self, older: u64) -> Restored {
        let mut terms: Vec<(Index, Term)> = Vec::new();
        for entry in self.log.values() {
            if terms.last().is_none_or(|(_, term)| *term < entry.term) {
                terms.push((entry.index, entry.term));
            }
        }
        // The last entry is always among them.
        let from = (self.state.applied.0 + 1).saturating_sub(older).min(self.last().0);
        Restored {
            hard_state: self.hard_state,
            truncated: self.truncated,
            terms,
            tail: self.log.range(from..).map(|(_, entry)| entry.clone()).collect(),
            applied: self.state.applied,
            conf: self.state.conf.clone(),
        }
    }
}
