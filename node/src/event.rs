//! Everything that reaches the driver from inside the node.

use std::collections::BTreeSet;

use bytes::Bytes;
use pgraft_host::{Applied, Effect, Outcome};
use pgraft_membership::Member;
use pgraft_replica::{Entry, Index, Message, NodeId, Persist, Refusal, SnapshotMeta};
use tokio::sync::oneshot;

/// Something for the driver.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request of the gateway.
    Ask(Ask),
    /// raft.db holds all persist tasks up to this number.
    Persisted(u64),
    /// Old entries from raft.db.
    Fetched { low: Index, entries: Vec<Entry> },
    /// raft.db points to the received snapshot.
    Installed { task: Persist, generation: u64 },
    /// The applier works on the received snapshot.
    Switched { task: Persist, generation: u64, report: ApplierReport },
    /// Entries were applied and their transaction is committed.
    Applied { applied: Vec<Applied>, report: ApplierReport },
    /// state.db is durable up to here.
    Durable(Index),
    /// The member list, read from the membership machine at an index.
    Members { index: Index, members: Vec<Member> },
    /// The peers that a running cluster named to this node, which joins it.
    Welcomed(Vec<Member>),
    /// A complete snapshot lies in this generation's file.
    SnapshotReceived { message: Message, generation: u64 },
    /// Receiving failed; the file is gone.
    SnapshotLost,
    /// A snapshot of ours is still on its way.
    SnapshotProgress { to: NodeId, meta: SnapshotMeta },
    /// A snapshot of ours was delivered, or was not.
    SnapshotSent { to: NodeId, delivered: bool },
    /// A thread failed; the node must stop.
    Failed(String),
    /// raft.db's disk is full: somebody else should lead.
    DiskFull,
    /// Stop: hand over leadership first when there is time.
    Stop,
}

/// What the leader's duties need to know about the machines after a batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct ApplierReport {
    /// Effects that wait to be performed.
    pub(crate) outbox: Vec<Effect>,
    /// The next time a machine wants to be woken, Unix milliseconds.
    pub(crate) next_wake: Option<(String, u64)>,
    /// The machine whose migration wants another step, and which step.
    pub(crate) next_migration: Option<(String, u32)>,
    /// Digests of the tables at an index.
    pub(crate) digests: (Index, Vec<(u32, u128)>),
    /// The log's time, Unix milliseconds: the only clock the machines see.
    pub(crate) time_ms: u64,
}

/// What the gateway asks of the driver. A dropped `reply` means: nobody waits any more.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Put an encoded command in the log.
    Propose { command: Bytes, reply: oneshot::Sender<Result<(Index, Outcome), Refusal>> },
    /// The index a linearizable read must wait for.
    ReadIndex { reply: oneshot::Sender<Result<Index, Refusal>> },
    /// Hand leadership over.
    Transfer { to: Option<NodeId>, reply: oneshot::Sender<Result<(), Refusal>> },
    /// Send this node's state to a member that has lost its own.
    State { to: NodeId, reply: oneshot::Sender<Result<(), Refusal>> },
    /// This node, and who votes in the applied configuration.
    Voters { reply: oneshot::Sender<(NodeId, BTreeSet<NodeId>)> },
    /// A report for people and programs.
    Status { reply: oneshot::Sender<String> },
}
