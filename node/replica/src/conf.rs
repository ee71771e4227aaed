//! Configurations and their changes (Raft thesis, chapter 4; joint consensus, section 4.3).

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::NodeId;

/// Who is in the cluster. `voters_outgoing` is not empty exactly in a joint configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfState {
    /// Voters; in a joint configuration the incoming ones.
    pub voters: BTreeSet<NodeId>,
    /// The outgoing voters of a joint configuration.
    pub voters_outgoing: BTreeSet<NodeId>,
    /// Nodes that receive the log without a vote.
    pub learners: BTreeSet<NodeId>,
    /// Outgoing voters that become learners when the joint configuration is left.
    pub learners_next: BTreeSet<NodeId>,
}

/// What happens to one node in a configuration change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfChangeKind {
    /// Becomes a voter.
    AddVoter,
    /// Becomes a learner (a voter is demoted).
    AddLearner,
    /// Leaves the configuration.
    Remove,
}

/// A configuration change. No `changes` means: leave the joint configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfChange {
    /// One change is applied at once; two or more enter a joint configuration.
    pub changes: Vec<(ConfChangeKind, NodeId)>,
    /// Opaque; the membership effect that asked for the change.
    pub context: Bytes,
}
