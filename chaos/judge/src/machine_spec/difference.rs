//! Where a committed log and the machines' modules differ. Not here: finding it (`replayed_log`).

use pgraft_host::Fault;

use crate::verdict::Verdict;

/// Where a log and the modules differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// An entry is missing or told twice.
    #[error("entry {found} follows entry {after}")]
    Gap {
        /// The last good one.
        after: u64,
        /// The next one told.
        found: u64,
    },
    /// An entry cannot be read.
    #[error("entry {index}: {why}")]
    Body {
        /// Which.
        index: u64,
        /// In words.
        why: String,
    },
    /// The log's time is another one.
    #[error("entry {index}: it is {expected} ms there, the history says {found}")]
    Time {
        /// Which.
        index: u64,
        /// By the bodies so far.
        expected: u64,
        /// By the history.
        found: u64,
    },
    /// As many outcomes as commands were expected.
    #[error("entry {index}: {found} outcomes of {expected} commands")]
    Count {
        /// Which.
        index: u64,
        /// Commands.
        expected: usize,
        /// Outcomes.
        found: usize,
    },
    /// A command came to something else.
    #[error("entry {index}, command {position}: {expected} was due, the cluster said {found}")]
    Outcome {
        /// Which entry.
        index: u64,
        /// Which of its commands, from 0.
        position: usize,
        /// By the module.
        expected: String,
        /// By the cluster.
        found: String,
    },
    /// A machine published something else.
    #[error("entry {index}: {machine} publishes {expected}, the cluster published {found}")]
    Events {
        /// Which entry.
        index: u64,
        /// Who.
        machine: String,
        /// By the module.
        expected: String,
        /// By the cluster.
        found: String,
    },
    /// A digest in the log is not that of the machine's rows.
    #[error("entry {index}: digest of {machine} at {of} is {found:032x}, {expected:032x} was due")]
    Digest {
        /// Which entry brings it.
        index: u64,
        /// The index at which it was taken.
        of: u64,
        /// Whose.
        machine: String,
        /// By the module.
        expected: u128,
        /// By the leader.
        found: u128,
    },
    /// The engine failed here, so nothing can be said.
    #[error("the engine failed: {0}")]
    Engine(String),
}

impl From<Fault> for Difference {
    fn from(fault: Fault) -> Difference {
        Difference::Engine(fault.to_string())
    }
}

impl Difference {
    /// What it means for a run.
    pub fn verdict(&self) -> Verdict {
        match self {
            Difference::Engine(_) => Verdict::unknown(self.to_string()),
            _ => Verdict::fail(format!("replayed log: {self}"), Vec::new()),
        }
    }
}
