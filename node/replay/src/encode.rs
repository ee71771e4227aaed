//! Raft's own types as fields: entries, messages, configurations. The way back is `decode`.

use pgraft_replica::{
    ConfChange, ConfChangeKind, ConfState, Entry, EntryKind, HardState, Message, MessageKind,
    NodeId, SnapshotMeta,
};
use std::collections::BTreeSet;

use crate::fields::Encoder;

/// Every kind of message and its number.
pub(crate) const MESSAGE_KINDS: [(u8, MessageKind); 10] = [
    (1, MessageKind::Append),
    (2, MessageKind::AppendResponse),
    (3, MessageKind::Vote),
    (4, MessageKind::VoteResponse),
    (5, MessageKind::PreVote),
    (6, MessageKind::PreVoteResponse),
    (7, MessageKind::Snapshot),
    (8, MessageKind::Heartbeat),
    (9, MessageKind::HeartbeatResponse),
    (10, MessageKind::TimeoutNow),
];

/// Every kind of change and its number.
pub(crate) const CHANGE_KINDS: [(u8, ConfChangeKind); 3] =
    [(0, ConfChangeKind::AddVoter), (1, ConfChangeKind::Remove), (2, ConfChangeKind::AddLearner)];

/// The number of a kind.
pub(crate) fn code<T: Copy + PartialEq>(table: &[(u8, T)], kind: T) -> u8 {
    table.iter().find(|(_, known)| *known == kind).expect("every kind is listed").0
}

// No `..` in these patterns: a new field must fail to compile until it is recorded.
impl Encoder<'_> {
    /// 0 is nobody.
    pub(crate) fn maybe_node(&mut self, node: Option<NodeId>) {
        self.number(node.map_or(0, NodeId::get));
    }

    pub(crate) fn nodes(&mut self, nodes: &BTreeSet<NodeId>) {
        self.list(nodes.iter(), |out, node| out.number(node.get()));
    }

    pub(crate) fn entry(&mut self, entry: &Entry) {
        let Entry { index, term, kind, data } = entry;
        self.number(index.0);
        self.number(term.0);
        self.flag(*kind == EntryKind::ConfChange);
        self.data(data);
    }

    pub(crate) fn entries(&mut self, entries: &[Entry]) {
        self.list(entries.iter(), Encoder::entry);
    }

    pub(crate) fn hard_state(&mut self, state: &HardState) {
        let HardState { term, vote, commit } = state;
        self.number(term.0);
        self.maybe_node(*vote);
        self.number(commit.0);
    }

    pub(crate) fn conf(&mut self, conf: &ConfState) {
        let ConfState { voters, voters_outgoing, learners, learners_next } = conf;
        for nodes in [voters, voters_outgoing, learners, learners_next] {
            self.nodes(nodes);
        }
    }

    pub(crate) fn snapshot(&mut self, meta: &SnapshotMeta) {
        let SnapshotMeta { index, term, conf } = meta;
        self.number(index.0);
        self.number(term.0);
        self.conf(conf);
    }

    pub(crate) fn change(&mut self, change: &ConfChange) {
        let ConfChange { changes, context } = change;
        self.list(changes.iter(), |out, (kind, node)| {
            out.byte(code(&CHANGE_KINDS, *kind));
            out.number(node.get());
        });
        self.bytes(context);
    }

    pub(crate) fn message(&mut self, message: &Message) {
        let Message {
            kind,
            from,
            to,
            term,
            log_term,
            index,
            commit,
            commit_term,
            entries,
            snapshot,
            request_snapshot,
            reject,
            reject_hint,
            context,
            priority,
        } = message;
        self.byte(code(&MESSAGE_KINDS, *kind));
        self.number(from.get());
        self.number(to.get());
        self.number(term.0);
        self.number(log_term.0);
        self.number(index.0);
        self.number(commit.0);
        self.number(commit_term.0);
        self.entries(entries);
        self.option(snapshot.as_ref(), Encoder::snapshot);
        self.number(request_snapshot.0);
        self.flag(*reject);
        self.number(reject_hint.0);
        self.bytes(context);
        self.number(priority.cast_unsigned());
    }
}
