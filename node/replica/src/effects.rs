//! What the driver must do after a step, field by field, in the order written here.

use crate::{
    ConfChange, ConfError, Entry, HardState, Index, Message, NodeId, SnapshotMeta, Term, Ticket,
};

/// What the driver must now do, field by field, in the order written here.
///
/// `send` stands before `persist`: it holds only what Raft lets leave before this node's own
/// fsync (a leader's appends and heartbeats, Raft thesis section 10.2.1; heartbeat answers while
/// term and vote did not change) and what an earlier persist has released. A vote or an append
/// acknowledgement stays inside the replica until `Input::Persisted` covers it.
#[must_use]
#[derive(Debug, Default)]
pub struct Effects {
    /// Messages that may leave now.
    pub send: Vec<Message>,
    /// One transaction of raft.db; answered by `Input::Persisted`.
    pub persist: Vec<Persist>,
    /// Old entries that a slow follower needs; answered by `Input::Fetched`.
    pub fetch: Vec<Fetch>,
    /// Followers that need a snapshot pinned; answered by `Input::SnapshotPinned`.
    pub pin_snapshot: Vec<NodeId>,
    /// Committed entries, in order; answered by `Input::Applied`.
    pub apply: Vec<Committed>,
    /// Reads that may be served once the index is applied here.
    pub reads: Vec<(Ticket, Index)>,
    /// Requests that were not and will not be carried out.
    pub refused: Vec<(Ticket, Refusal)>,
    /// Role, term or leader changed.
    pub role: Option<RoleChange>,
    /// The log below this index is not needed any more (the entry itself may go).
    pub truncate: Option<Index>,
    /// The node must stop.
    pub stop: Option<Stop>,
}

/// What must be durable: one transaction, one fsync, together with all that waits.
#[derive(Clone, Debug)]
pub struct Persist {
    /// Ascending; `Input::Persisted` names it.
    pub number: u64,
    /// Replaces the stored hard state.
    pub hard_state: Option<HardState>,
    /// Appended; entries at or after the first one's index are replaced (Raft paper, 5.3).
    pub entries: Vec<Entry>,
    /// A received snapshot replaces state and log; nothing is in flight then (RAFT.md 1.2).
    pub snapshot: Option<SnapshotMeta>,
}

/// Old entries `[low, high)`, at most `bytes_max` of data but at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// First wanted index.
    pub low: Index,
    /// One past the last wanted index.
    pub high: Index,
    /// Bound on the sum of data lengths.
    pub bytes_max: u64,
}

/// A committed entry on its way to the state machine.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The entry.
    pub entry: Entry,
    /// Decoded when `entry.kind` is a configuration change.
    pub conf_change: Option<ConfChange>,
    /// Who waits for it here, one per command in body order; empty when it is not ours.
    pub tickets: Vec<Ticket>,
}

/// Why a request was not carried out. All of them are definite: it never will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This node does not lead; here is who does, if known.
    NotLeader(Option<NodeId>),
    /// Another leader's entry took the place of ours.
    Overwritten,
    /// Too much is in flight, or a transfer is going on; try again.
    Busy,
    /// The command is larger than the limit (bytes, limit).
    TooLarge(usize, usize),
    /// A read round found no quorum in time.
    NoQuorum,
    /// A transfer to this node cannot start, and why.
    Transfer(String),
    /// The configuration change does not apply to the configuration as it is.
    ConfChange(ConfError),
}

/// Raft role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows, or is a learner.
    Follower,
    /// Asks whether it could win.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads its term.
    Leader,
}

/// Role, term or leader after the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// Own role.
    pub role: Role,
    /// Own term.
    pub term: Term,
    /// Known leader of that term.
    pub leader: Option<NodeId>,
}

/// Why the node must stop. Each says what the operator can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It applied its own removal.
    Removed,
    /// A leader says that more was committed than this log ever held (RAFT.md 1.3, R-E).
    LogLost {
        /// The leader's commit index.
        commit: Index,
        /// Our last index.
        last: Index,
    },
    /// The disk did not answer for too long.
    DiskStalled {
        /// Milliseconds.
        for_ms: u64,
    },
}
