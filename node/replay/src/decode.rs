//! Raft's own types from fields, as `encode` wrote them.

use std::collections::BTreeSet;

use pgraft_replica::{
    ConfChange, ConfState, Entry, EntryKind, HardState, Index, Message, NodeId, SnapshotMeta, Term,
};

use crate::encode::{CHANGE_KINDS, MESSAGE_KINDS};
use crate::fields::{Decoder, Malformed};

/// The kind of a number.
pub(crate) fn kind<T: Copy>(
    table: &[(u8, T)],
    code: u8,
    what: &'static str,
) -> Result<T, Malformed> {
    table.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind).ok_or(Malformed(what))
}

impl Decoder {
    pub(crate) fn index(&mut self, what: &'static str) -> Result<Index, Malformed> {
        self.number(what).map(Index)
    }

    pub(crate) fn term(&mut self, what: &'static str) -> Result<Term, Malformed> {
        self.number(what).map(Term)
    }

    pub(crate) fn node(&mut self, what: &'static str) -> Result<NodeId, Malformed> {
        NodeId::new(self.number(what)?).ok_or(Malformed(what))
    }

    pub(crate) fn maybe_node(&mut self, what: &'static str) -> Result<Option<NodeId>, Malformed> {
        self.number(what).map(NodeId::new)
    }

    pub(crate) fn nodes(&mut self, what: &'static str) -> Result<BTreeSet<NodeId>, Malformed> {
        Ok(self.list(what, |from| from.node(what))?.into_iter().collect())
    }

    pub(crate) fn entry(&mut self) -> Result<Entry, Malformed> {
        Ok(Entry {
            index: self.index("the index of an entry")?,
            term: self.term("the term of an entry")?,
            kind: match self.flag("the kind of an entry")? {
                true => EntryKind::ConfChange,
                false => EntryKind::Normal,
            },
            data: self.data("the data of an entry")?,
        })
    }

    pub(crate) fn entries(&mut self) -> Result<Vec<Entry>, Malformed> {
        self.list("entries", Decoder::entry)
    }

    pub(crate) fn hard_state(&mut self) -> Result<HardState, Malformed> {
        Ok(HardState {
            term: self.term("the term of a hard state")?,
            vote: self.maybe_node("the vote of a hard state")?,
            commit: self.index("the commit index of a hard state")?,
        })
    }

    pub(crate) fn conf(&mut self) -> Result<ConfState, Malformed> {
        Ok(ConfState {
            voters: self.nodes("voters")?,
            voters_outgoing: self.nodes("outgoing voters")?,
            learners: self.nodes("learners")?,
            learners_next: self.nodes("next learners")?,
        })
    }

    pub(crate) fn snapshot(&mut self) -> Result<SnapshotMeta, Malformed> {
        Ok(SnapshotMeta {
            index: self.index("the index of a snapshot")?,
            term: self.term("the term of a snapshot")?,
            conf: self.conf()?,
        })
    }

    pub(crate) fn change(&mut self) -> Result<ConfChange, Malformed> {
        let changes = self.list("changes of a configuration", |from| {
            let code = from.byte("the kind of a change")?;
            let kind = kind(&CHANGE_KINDS, code, "the kind of a change")?;
            Ok((kind, from.node("the node of a change")?))
        })?;
        Ok(ConfChange { changes, context: self.bytes("the context of a change")? })
    }

    pub(crate) fn message(&mut self) -> Result<Message, Malformed> {
        let code = self.byte("the kind of a message")?;
        Ok(Message {
            kind: kind(&MESSAGE_KINDS, code, "the kind of a message")?,
            from: self.node("the sender of a message")?,
            to: self.node("the receiver of a message")?,
            term: self.term("the term of a message")?,
            log_term: self.term("the log term of a message")?,
            index: self.index("the index of a message")?,
            commit: self.index("the commit index of a message")?,
            commit_term: self.term("the commit term of a message")?,
            entries: self.entries()?,
            snapshot: self.option("the snapshot of a message", Decoder::snapshot)?,
            request_snapshot: self.index("the wanted snapshot of a message")?,
            reject: self.flag("the answer of a message")?,
            reject_hint: self.index("the hint of a message")?,
            context: self.bytes("the context of a message")?,
            priority: self.number("the priority of a message")?.cast_signed(),
        })
    }
}
