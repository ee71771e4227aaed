//! What stands in the log and beside it: entries, hard state, snapshot metadata.

use bytes::Bytes;

use crate::{ConfState, Index, NodeId, Term};

/// What an entry carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A packed batch of commands ([`crate::body`]), or nothing (a new leader's first entry).
    Normal,
    /// A `ConfChangeV2`.
    ConfChange,
}

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub index: Index,
    /// The term of the leader that appended it.
    pub term: Term,
    /// What `data` is.
    pub kind: EntryKind,
    /// Opaque bytes, shared between the cache, the log writer and the peers' queues.
    pub data: Bytes,
}

/// What Raft must remember across a crash (Raft paper, figure 2), plus the commit index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// Latest term this node has seen.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<NodeId>,
    /// A lower bound of what is committed; may lag, see RAFT.md 1.2.
    pub commit: Index,
}

/// What a snapshot stands for: the state after `index`, and the configuration then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry the snapshot includes.
    pub index: Index,
    /// That entry's term.
    pub term: Term,
    /// The configuration after that entry.
    pub conf: ConfState,
}
