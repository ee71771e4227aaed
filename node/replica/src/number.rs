//! Newtypes for the numbers of Raft, so that an index is never mistaken for a term.

use std::fmt;

/// Position of an entry in the replicated log. The first entry is 1; 0 means "before the log".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

impl Index {
    /// Before the first entry.
    pub const ZERO: Index = Index(0);

    /// The index right after this one.
    ///
    /// # Panics
    /// At `u64::MAX`: at a million entries a second that is 584,000 years away, so reaching it
    /// means the log is corrupt and stopping is the only safe answer.
    pub fn next(self) -> Index {
        Index(self.0.checked_add(1).expect("log index overflow"))
    }

    /// How many entries lie in `(self, later]`; 0 when `later` is not later.
    pub fn distance_to(self, later: Index) -> u64 {
        later.0.saturating_sub(self.0)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Raft term (Raft paper, section 5.1). 0 means "no term yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Id of a node, unique for the life of the cluster and never used twice. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// `None` for 0, which raft-rs uses for "nobody".
    pub const fn new(id: u64) -> Option<NodeId> {
        if id == 0 { None } else { Some(NodeId(id)) }
    }

    /// The number itself, never 0.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
