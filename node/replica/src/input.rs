//! Everything that can happen to a replica. Closed on purpose: this list is the whole input.

use bytes::Bytes;

use crate::{
    ConfChange, ConfState, Entry, HardState, Index, Message, NodeId, SnapshotMeta, Term, limits,
};

/// Names a waiting request of the driver; the replica only hands it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One command to be put in the log.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Comes back with the committed entry, or with a refusal.
    pub ticket: Ticket,
    /// Opaque bytes of the command, at most [`crate::limits::COMMAND_BYTES_MAX`].
    pub command: Bytes,
}

/// Everything that can happen to a replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// [`crate::limits::TICK_MS`] of monotonic time went by. `wall_ms` (Unix time) is what the
    /// leader stamps entries with until the next tick.
    Tick {
        /// Unix time in milliseconds, read by the driver.
        wall_ms: u64,
    },
    /// This process did not run for longer than an election timeout (SIGSTOP, VM suspend): a
    /// leader steps down before it handles anything that queued up meanwhile.
    TimeJumped,
    /// A message of a peer; `from` is what the transport authenticated. Sanitised inside.
    Received(Message),
    /// The commands of one turn; packed into as few entries as the limits allow.
    Propose(Vec<Proposal>),
    /// Linearizable reads of one turn: one ReadIndex round with a fresh context.
    Read(Vec<Ticket>),
    /// A configuration change, from the membership machine's outbox.
    ProposeConf {
        /// Refused with `Refusal::Busy` while another change is pending; otherwise comes back in
        /// `Committed::tickets`.
        ticket: Ticket,
        /// What to change.
        change: ConfChange,
    },
    /// Hand leadership to `to`, or to the best follower.
    Transfer {
        /// Refused at once when the transfer cannot start; otherwise answered by a role change.
        ticket: Ticket,
        /// The wanted leader.
        to: Option<NodeId>,
    },
    /// All persist effects up to this number are durable.
    Persisted {
        /// Number of a [`crate::Persist`].
        number: u64,
    },
    /// All entries up to `index` are applied and the state machine's transaction is committed.
    Applied {
        /// The last applied entry.
        index: Index,
    },
    /// state.db is durable up to `index`: the log may be truncated below it.
    StateDurable {
        /// Applied index at the last completed checkpoint.
        index: Index,
    },
    /// Answer to [`crate::Fetch`].
    Fetched {
        /// The `low` of the request.
        low: Index,
        /// The entries from `low` on, contiguous; empty when they are truncated meanwhile.
        entries: Vec<Entry>,
    },
    /// A snapshot for `to` is pinned: the `Snapshot` message may be built. Repeated while its
    /// sending makes progress: [`crate::limits::SNAPSHOT_STALL_MS`] without it mean failure.
    SnapshotPinned {
        /// Who needs it.
        to: NodeId,
        /// What was pinned.
        meta: SnapshotMeta,
    },
    /// The snapshot for `to` was delivered, or was not.
    SnapshotSent {
        /// The receiver.
        to: NodeId,
        /// Whether the receiver has it completely.
        delivered: bool,
    },
    /// The connection to a peer broke; once per connection, not per message.
    Unreachable(NodeId),
    /// The log writer has been inside one write for this long (RAFT.md 1.5).
    DiskStalled {
        /// Milliseconds since the write began; 0 = the disk answers again.
        for_ms: u64,
    },
    /// A peer told us with authority that this node was removed.
    RemovedByPeers,
}

/// Fixed at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub id: NodeId,
    /// All chance of this replica derives from it: election jitter, read contexts, entry entropy.
    /// Must differ from start to start in production (a read context is never used twice).
    pub seed: u64,
    /// Ticks within which a follower has noticed that its leader is gone (upper bound).
    pub election_ticks: u32,
    /// Ticks between two heartbeats.
    pub heartbeat_ticks: u32,
    /// How much of the log stays behind the state.
    pub keep: Keep,
}

/// How much of the log is kept for followers that are slow or away. More makes it less likely that
/// one of them needs a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Entries behind the slowest active follower.
    pub entries: u64,
    /// Bytes behind it, if that is more.
    pub bytes: u64,
    /// Bytes beyond which the log is truncated whoever still needs it.
    pub bytes_max: u64,
    /// Entries that are worth a truncation.
    pub step: u64,
}

impl Default for Keep {
    fn default() -> Keep {
        Keep {
            entries: limits::KEEP_ENTRIES,
            bytes: limits::KEEP_BYTES,
            bytes_max: limits::LOG_BYTES_MAX,
            step: limits::TRUNCATE_STEP_ENTRIES,
        }
    }
}

/// What was found on disk.
#[derive(Clone, Debug)]
pub struct Restored {
    /// From raft.db.
    pub hard_state: HardState,
    /// The last truncated entry; the log begins right after it.
    pub truncated: (Index, Term),
    /// First index of each term in the log, ascending; covers the whole log.
    pub terms: Vec<(Index, Term)>,
    /// The tail of the log, contiguous up to the last entry: at least all above `applied`, and
    /// never empty unless the log is.
    pub tail: Vec<Entry>,
    /// What state.db has applied.
    pub applied: Index,
    /// The configuration in the same transaction as `applied`; with nothing applied that of the
    /// genesis, never an empty one, also on a node that waits to be added.
    pub conf: ConfState,
}
