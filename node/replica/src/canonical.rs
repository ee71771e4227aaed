//! The canonical value of a replica: all that can influence what it does later, as numbers.
//!
//! For the model checker, to which two replicas with the same value are one state. Absent on
//! purpose: counters that are only shown, absolute ticks and absolute numbers of writes (they
//! only matter relative to each other), and what raft-rs keeps private. The private rest is a
//! function of this value and of the writes that are not confirmed, as long as there is one tick
//! between heartbeats and fewer appends are in flight than raft-rs' window holds. The model's
//! fidelity test is there to find what this file forgets.

use crate::replica::Replica;
use crate::{ConfState, Entry, EntryKind, HardState, Message, NodeId, SnapshotMeta};

/// Takes the numbers, each with the name of the field that it belongs to.
pub(crate) struct Notes<'a> {
    note: &'a mut dyn FnMut(&'static str, u64),
}

/// Bytes beyond this are told by a fingerprint.
const VERBATIM_BYTES_MAX: usize = 128;

/// What a model may add to a log.
const GROWTH_ENTRIES: u64 = 100;
const GROWTH_BYTES: u64 = 256 << 10;

impl Notes<'_> {
    pub(crate) fn number(&mut self, name: &'static str, number: u64) {
        (self.note)(name, number);
    }

    pub(crate) fn count(&mut self, name: &'static str, count: usize) {
        self.number(name, count as u64);
    }

    pub(crate) fn flag(&mut self, name: &'static str, flag: bool) {
        self.number(name, u64::from(flag));
    }

    pub(crate) fn node(&mut self, name: &'static str, id: Option<NodeId>) {
        self.number(name, id.map_or(0, NodeId::get));
    }

    pub(crate) fn bytes(&mut self, name: &'static str, bytes: &[u8]) {
        self.count(name, bytes.len());
        if bytes.len() > VERBATIM_BYTES_MAX {
            // Large commands of a model repeat one byte: their beginning tells them apart.
            self.bytes(name, &bytes[..VERBATIM_BYTES_MAX]);
            return;
        }
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.number(name, u64::from_le_bytes(word));
        }
    }

    pub(crate) fn entry(&mut self, name: &'static str, entry: &Entry) {
        self.number(name, entry.index.0);
        self.number(name, entry.term.0);
        self.flag(name, entry.kind == EntryKind::ConfChange);
        self.bytes(name, &entry.data);
    }

    pub(crate) fn entries<'e>(
        &mut self,
        name: &'static str,
        entries: impl ExactSizeIterator<Item = &'e Entry>,
    ) {
        self.count(name, entries.len());
        entries.for_each(|entry| self.entry(name, entry));
    }

    pub(crate) fn conf(&mut self, name: &'static str, conf: &ConfState) {
        for ids in [&conf.voters, &conf.voters_outgoing, &conf.learners, &conf.learners_next] {
            self.count(name, ids.len());
            ids.iter().for_each(|id| self.number(name, id.get()));
        }
    }

    pub(crate) fn hard_state(&mut self, name: &'static str, state: &HardState) {
        self.number(name, state.term.0);
        self.node(name, state.vote);
        self.number(name, state.commit.0);
    }

    pub(crate) fn snapshot(&mut self, name: &'static str, meta: Option<&SnapshotMeta>) {
        self.flag(name, meta.is_some());
        if let Some(meta) = meta {
            self.number(name, meta.index.0);
            self.number(name, meta.term.0);
            self.conf(name, &meta.conf);
        }
    }

    pub(crate) fn message(&mut self, name: &'static str, message: &Message) {
        self.number(name, message.kind as u64);
        self.number(name, message.from.get());
        self.number(name, message.to.get());
        self.number(name, message.term.0);
        self.number(name, message.log_term.0);
        self.number(name, message.index.0);
        self.number(name, message.commit.0);
        self.number(name, message.commit_term.0);
        self.entries(name, message.entries.iter());
        self.snapshot(name, message.snapshot.as_ref());
        self.number(name, message.request_snapshot.0);
        self.flag(name, message.reject);
        self.number(name, message.reject_hint.0);
        self.bytes(name, &message.context);
    }

    pub(crate) fn messages<'m>(
        &mut self,
        name: &'static str,
        messages: impl ExactSizeIterator<Item = &'m Message>,
    ) {
        self.count(name, messages.len());
        messages.for_each(|message| self.message(name, message));
    }
}

impl Message {
    /// All of it as numbers: two messages are equal when these are.
    pub fn canonical(&self, note: &mut dyn FnMut(&'static str, u64)) {
        Notes { note }.message("message", self);
    }
}

impl Entry {
    /// All of it as numbers, data beyond 128 bytes by length and beginning.
    pub fn canonical(&self, note: &mut dyn FnMut(&'static str, u64)) {
        Notes { note }.entry("entry", self);
    }
}

impl ConfState {
    /// All of it as numbers.
    pub fn canonical(&self, note: &mut dyn FnMut(&'static str, u64)) {
        Notes { note }.conf("conf", self);
    }
}

impl Replica {
    /// The canonical value: `note` is called with each number and the name of its field, always
    /// in the same order. Two replicas of the same configuration and with the same numbers answer
    /// the same inputs with the same effects, but for the numbers of their writes.
    pub fn canonical(&self, note: &mut dyn FnMut(&'static str, u64)) {
        let notes = &mut Notes { note };
        notes.flag("stopped", self.stopped.is_some());
        if self.stopped.is_some() {
            return;
        }
        self.raft.canonical(notes);
        notes.conf("conf", &self.conf);
        notes.number("applied", self.applied.0);
        notes.number("durable", self.durable.0);
        self.canonical_work(notes);
        self.writes.canonical(notes);
        self.proposals.canonical(notes);
        self.reads.canonical(self.now, notes);
        self.timer.canonical(notes);
        self.snapshots.canonical(self.now, notes);
        // Elsewhere nobody asks who was heard of, and a new leader begins again. But a sole voter
        // may lead within the step in which it would be asked.
        if self.raft.is_leader() || self.conf.is_sole_voter(self.config.id) {
            self.heard.canonical(self.now, u64::from(self.config.election_ticks), notes);
        }
        // A leader looks from time to time whether its log may be truncated. This one leads, or
        // will.
        let keep = &self.config.keep;
        if self.raft.log().is_worth_truncating(keep, GROWTH_ENTRIES, GROWTH_BYTES) {
            let phase = self.now % u64::from(self.config.election_ticks);
            notes.number("truncation phase", phase);
        }
        self.disk.canonical(notes);
        notes.number("transfer", self.transfer.map_or(0, |ticket| ticket.0 + 1));
    }
}
