//! What a node tells the world about itself, as a flat value that fits shared memory.

/// A node's state, published whenever it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Own id.
    pub node_id: u64,
    /// What the node does.
    pub state: State,
    /// Raft term.
    pub term: u64,
    /// Known leader of that term; 0 = none.
    pub leader_id: u64,
    /// This node leads, and a majority confirmed it within the last election timeout.
    pub is_leader: bool,
    /// CLOCK_BOOTTIME nanoseconds until which `is_leader` may be believed; renewed with every
    /// tick, so that a stopped process does not lead in its own shared memory for ever.
    pub leader_until_ns: u64,
    /// Highest index known to be committed.
    pub commit: u64,
    /// Highest index applied to the state machines.
    pub applied: u64,
    /// Last index in the log.
    pub last_index: u64,
    /// First index still in the log.
    pub first_index: u64,
    /// Last index that is only in snapshots.
    pub snapshot_index: u64,
    /// Members: voters and learners.
    pub members: u64,
    /// Voters.
    pub voters: u64,
    /// Raft messages sent since start.
    pub messages_sent: u64,
    /// Heartbeats sent since start.
    pub heartbeats_sent: u64,
    /// Elections this node began since start.
    pub elections_started: u64,
    /// Entries that peers have acknowledged: the lowest match index among active followers.
    pub replicated: u64,
    /// Requests that ended in a failure since start.
    pub errors: u64,
    /// Transactions of raft.db since start: one fsync each.
    pub log_writes: u64,
    /// Process that runs the node.
    pub pid: u64,
}

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Not running.
    #[default]
    Stopped = 0,
    /// Opening files, or asking to join.
    Starting = 1,
    /// Following a leader, or waiting for one.
    Follower = 2,
    /// Asking for votes.
    Candidate = 3,
    /// Leading.
    Leader = 4,
}

impl State {
    /// The word that SQL and the command line show.
    pub fn name(self) -> &'static str {
        match self {
            State::Stopped => "stopped",
            State::Starting => "starting",
            State::Follower => "follower",
            State::Candidate => "candidate",
            State::Leader => "leader",
        }
    }
}

/// Where a node publishes its status: shared memory in PostgreSQL, nothing in the program.
pub trait StatusBoard: Send + Sync {
    /// Called on the node's thread whenever something changed; must not block.
    fn publish(&self, status: &Status);
}

/// A board that nobody reads.
pub struct NoBoard;

impl StatusBoard for NoBoard {
    fn publish(&self, _status: &Status) {}
}
