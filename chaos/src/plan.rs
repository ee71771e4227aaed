//! A plan: everything that is done to a cluster in one run, as data. It is drawn from the seed
//! before the run, so that it can be kept, read, shrunk and replayed after the code has changed.
//!
//! The numbers of nodes in a plan are *places*: 1 to n are the first nodes, each [`Fault::AddNode`]
//! brings the next one, and whoever comes back after a wipe keeps the place, whatever id the
//! cluster knows it by. A fault on a place where nobody is does nothing.
//!
//! Not here: how a plan is drawn ([`crate::swarm`]), and how it is carried out (`sim`).

pub mod budget;
mod file;
mod text;

use serde::{Deserialize, Serialize};

pub use file::{Case, PlanError};

/// Milliseconds for which a fault that waits for its n-th call ([`Fault::CrashAt`],
/// [`Fault::DiskError`], [`Fault::Misdirect`]) stays ordered; then it is given up.
pub const ARMED_MS: u64 = 4_000;

/// What is done to the cluster in one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When it begins, simulated milliseconds since the start of the workload.
    pub at_ms: u64,
    /// How long it lasts; 0 for what happens once.
    pub for_ms: u64,
    /// What it is.
    pub fault: Fault,
}

/// Whom a fault hits; resolved when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The node at this place.
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
    /// The process dies at the `after`-th point of a kind from here on (0 = the next). Starts
    /// again `for_ms` after that.
    CrashAt { target: Target, point: Point, after: u64, power: bool },
    /// All nodes die at once.
    CrashAll { power: bool },
    /// Stopped gracefully and started again after `for_ms`.
    Restart { target: Target },
    /// All clocks of the node stop; then it goes on (SIGSTOP, a suspended virtual machine).
    Pause { target: Target },
    /// The node loses its disk and comes back after `for_ms` as a new member in place of the old
    /// one.
    Wipe { target: Target },
    /// The process dies, and the node comes back after `for_ms` with an older copy of its disk. It
    /// must refuse to go on, or do so without harm; afterwards it is replaced.
    OldDisk { target: Target },
    /// Syncs are answered and not done; when the fault ends, the disk does what it held back.
    LyingSync { target: Target },
    /// The `after`-th call of a kind from here on (0 = the next) fails with EIO, once; the node
    /// stops by itself and starts again after `for_ms`.
    DiskError { target: Target, on_sync: bool, after: u64 },
    /// Nothing more can be written until the fault ends.
    DiskFull { target: Target },
    /// Every job of the disk takes up to this much longer.
    SlowDisk { target: Target, ms_max: u64 },
    /// The `after`-th write from here on (0 = the next) goes to another place of the same file.
    /// The process dies soon after it and comes back after `for_ms`; it is replaced when it
    /// refuses.
    Misdirect { target: Target, after: u64 },
    /// The process dies, a bit of a stored file flips, and the node comes back after `for_ms`; it
    /// is replaced when it refuses. `state`: of state.db, else of raft.db.
    BitFlip { target: Target, state: bool, byte_permille: u32, bit: u8 },
    /// The wall clock jumps.
    ClockJump { target: Target, ms: i64 },
    /// All clocks of the node run faster or slower by this share, per mille.
    ClockSkew { target: Target, permille: i32 },
    /// A new node joins.
    AddNode,
    /// A member is removed, and stays at its place as one that is not in the cluster.
    RemoveNode { target: Target },
    /// Leadership is handed to this node.
    Transfer { to: u64 },
    /// A client asks this node only and gives it no rest.
    Hammer { target: Target },
    /// A machine comes to run another module. `force`: a majority that is ready is enough.
    Upgrade { to: Wanted, force: bool },
    /// The node is stopped gracefully and comes back after `for_ms` with another build of the
    /// program, whose own module of a machine is not the one that the cluster runs; or, the next
    /// time, with the first build again.
    OtherBuild { target: Target },
}

/// Which module a machine is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// The same with other bytes.
    Again,
    /// One of the next schema, to which it migrates in several steps.
    Next,
    /// One whose migration fails on the way.
    Torn,
    /// The one that ran before; a migration under way is called off.
    Back,
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

impl Fault {
    /// Whom it hits, if it hits one node.
    pub fn target(&self) -> Option<Target> {
        match self {
            Fault::Isolate { target }
            | Fault::Crash { target, .. }
            | Fault::CrashAt { target, .. }
            | Fault::Restart { target }
            | Fault::Pause { target }
            | Fault::Wipe { target }
            | Fault::OldDisk { target }
            | Fault::LyingSync { target }
            | Fault::DiskError { target, .. }
            | Fault::DiskFull { target }
            | Fault::SlowDisk { target, .. }
            | Fault::Misdirect { target, .. }
            | Fault::BitFlip { target, .. }
            | Fault::ClockJump { target, .. }
            | Fault::ClockSkew { target, .. }
            | Fault::RemoveNode { target }
            | Fault::OtherBuild { target }
            | Fault::Hammer { target } => Some(*target),
            Fault::Transfer { to } => Some(Target::Node(*to)),
            Fault::Cut { .. }
            | Fault::Noise { .. }
            | Fault::Delay { .. }
            | Fault::SlowLink { .. }
            | Fault::CrashAll { .. }
            | Fault::Upgrade { .. }
            | Fault::AddNode => None,
        }
    }

    /// Whether it waits for its n-th call, for up to [`ARMED_MS`].
    pub fn waits(&self) -> bool {
        matches!(self, Fault::CrashAt { .. } | Fault::DiskError { .. } | Fault::Misdirect { .. })
    }
}

impl Step {
    /// When it is over at the latest, simulated milliseconds since the start of the workload.
    pub fn ends_ms(&self) -> u64 {
        let armed_ms = if self.fault.waits() { ARMED_MS } else { 0 };
        self.at_ms.saturating_add(armed_ms).saturating_add(self.for_ms)
    }
}

impl Target {
    /// Whether two targets may turn out to be the same node.
    pub fn may_be(self, other: Target) -> bool {
        match (self, other) {
            (Target::Node(one), Target::Node(another)) => one == another,
            // Who leads changes: at two times the words may mean any node.
            _ => true,
        }
    }
}
