//! A plan: everything that is done to a cluster in one run, as data. It is drawn from the seed
//! before the run, so that it can be kept, read, shrunk and replayed after the code has changed.

use serde::{Deserialize, Serialize};

/// What is done to the cluster in one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Faults by time of their beginning.
    pub steps: Vec<Step>,
    /// Operations that each client may invoke; fewer make a shorter trace.
    pub operations: u64,
    /// Clients.
    pub clients: u64,
    /// Simulated milliseconds of the safety phase.
    pub safety_ms: u64,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When it begins, simulated milliseconds since the start of the workload.
    pub at_ms: u64,
    /// How long it lasts; 0 for what happens once.
    pub for_ms: u64,
    /// What it is.
    pub fault: Fault,
}

/// Whom a fault hits; resolved when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The node with this id.
    Node(u64),
    /// Whoever leads the highest term.
    Leader,
    /// The follower with the lowest id.
    Follower,
}

/// Something that goes wrong, or is done on purpose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// No bytes go from the first to the second of each pair. Symmetric, one-way, ring and bridge
    /// partitions are all such lists; `shape` says which it was drawn as.
    Cut { shape: String, pairs: Vec<(u64, u64)> },
    /// Nobody hears the target, and it hears nobody.
    Isolate { target: Target },
    /// Of frames on all links, this share is lost, sent twice, held back behind later ones, or has
    /// a bit flipped; per mille each.
    Noise { lose: u32, duplicate: u32, reorder: u32, corrupt: u32 },
    /// Frames on all links take up to this much longer.
    Delay { ms_max: u64 },
    /// Frames on one link take this much longer.
    SlowLink { from: u64, to: u64, ms: u64 },
    /// The process dies now; `power`: so does the machine, and what was not synced is lost, kept in
    /// part, reordered or torn. Starts again after `for_ms`.
    Crash { target: Target, power: bool },
    /// The process dies at the `after`-th point of a kind from here on.
    CrashAt { target: Target, point: Point, after: u64, power: bool },
    /// All nodes die at once.
    CrashAll { power: bool },
    /// Stopped gracefully and started again after `for_ms`.
    Restart { target: Target },
    /// All clocks of the node stop; then it goes on (SIGSTOP, a suspended virtual machine).
    Pause { target: Target },
    /// The node loses its disk and comes back as a new member in place of the old one.
    Wipe { target: Target },
    /// The node comes back with an older copy of its disk. It must refuse to go on, or do so
    /// without harm; afterwards it is replaced.
    OldDisk { target: Target },
    /// Syncs are answered and not done.
    LyingSync { target: Target },
    /// The `after`-th call of a kind from here on fails with EIO, once.
    DiskError { target: Target, on_sync: bool, after: u64 },
    /// Nothing more can be written until the fault ends.
    DiskFull { target: Target },
    /// Every job of the disk takes up to this much longer.
    SlowDisk { target: Target, ms_max: u64 },
    /// The `after`-th write from here on goes to another place of the same file.
    Misdirect { target: Target, after: u64 },
    /// A bit of a stored file flips; `state`: of state.db, else of raft.db.
    BitFlip { target: Target, state: bool, byte_permille: u32, bit: u8 },
    /// The wall clock jumps.
    ClockJump { target: Target, ms: i64 },
    /// All clocks of the node run faster or slower by this share, per mille.
    ClockSkew { target: Target, permille: i32 },
    /// A new node joins.
    AddNode,
    /// A member is removed.
    RemoveNode { target: Target },
    /// Leadership is handed to this node.
    Transfer { to: u64 },
    /// A client asks this node only and gives it no rest.
    Hammer { target: Target },
}

/// Where a process can die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// Inside a call that changes the disk: within a commit, too.
    Disk,
    /// Between a step of the replica and its first effect.
    Step,
    /// Between two effects: after a frame was handed to the network.
    Frame,
    /// Between two jobs of a worker (log writer, applier, reader, checkpointer).
    Job,
}
