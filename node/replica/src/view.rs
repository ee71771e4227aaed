//! What a replica shows of itself: for status, for deciding about members, and for the
//! invariants.

use std::collections::BTreeSet;

use crate::{Dropped, Index, NodeId, Role, Term};

/// How a leader replicates to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Looking for the end of the peer's log, one message per heartbeat.
    Probe,
    /// Streaming.
    Replicate,
    /// Waiting for a snapshot to arrive.
    Snapshot,
}

/// A peer as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Who.
    pub id: NodeId,
    /// The last entry it is known to have durably.
    pub match_index: Index,
    /// The next entry it will be sent.
    pub next_index: Index,
    /// How it is replicated to.
    pub state: PeerState,
    /// Whether it was heard of in the last check-quorum period.
    pub active: bool,
    /// The snapshot it is waiting for.
    pub pending_snapshot: Option<Index>,
}

/// A replica at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// This node.
    pub id: NodeId,
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// The leader it knows, itself included.
    pub leader: Option<NodeId>,
    /// What it knows to be committed.
    pub committed: Index,
    /// What its state machine has applied.
    pub applied: Index,
    /// The end of its log, durable or not.
    pub last_index: Index,
    /// The first index that is not truncated.
    pub first_index: Index,
    /// Voters of the applied configuration; in a joint one the incoming ones.
    pub voters: BTreeSet<NodeId>,
    /// Learners of the applied configuration.
    pub learners: BTreeSet<NodeId>,
    /// The peers, by id; empty unless it leads.
    pub peers: Vec<PeerView>,
    /// Whether the applied configuration is joint.
    pub joint: bool,
    /// Whether a received snapshot is on its way to disk; until then the log begins after what
    /// is applied.
    pub installing: bool,
    /// Whether it is handing leadership over.
    pub transferring: bool,
    /// Elections it has started.
    pub elections_started: u64,
    /// Messages it has sent.
    pub messages_sent: u64,
    /// Heartbeats among them.
    pub heartbeats_sent: u64,
    /// Received messages it has dropped as impossible.
    pub messages_dropped: u64,
    /// Whom the last of those came from, and what was wrong with it.
    pub last_dropped: Option<(NodeId, Dropped)>,
}

impl View {
    /// Whether it leads its term.
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }
}
