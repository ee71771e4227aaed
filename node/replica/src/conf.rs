//! Configurations and their changes (Raft thesis, chapter 4; joint consensus, section 4.3).
//!
//! Pure: the host computes with it what it persists, the replica asserts that raft-rs computed
//! the same.

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

/// Why a change does not apply to a configuration. Equal on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfError {
    /// A joint configuration must be left before anything else changes.
    #[error("the configuration is joint; it must be left first")]
    Joint,
    /// There is no joint configuration to leave.
    #[error("the configuration is not joint; there is nothing to leave")]
    NotJoint,
    /// Nobody would be left to decide.
    #[error("the change removes the last voter")]
    NoVoters,
}

impl ConfState {
    /// Whether two majorities decide.
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// Whether `id` has a vote in either half.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.voters_outgoing.contains(&id)
    }

    /// Whether `id` is in the configuration at all.
    pub fn contains(&self, id: NodeId) -> bool {
        self.is_voter(id) || self.learners.contains(&id)
    }

    /// Whether `id` alone decides.
    pub fn is_sole_voter(&self, id: NodeId) -> bool {
        !self.is_joint() && self.voters.len() == 1 && self.voters.contains(&id)
    }

    /// The configuration after `change`.
    ///
    /// # Errors
    /// When the change does not apply; the configuration then stays as it is, on every replica.
    pub fn changed_by(&self, change: &ConfChange) -> Result<ConfState, ConfError> {
        let mut next = self.clone();
        if change.changes.is_empty() {
            if !self.is_joint() {
                return Err(ConfError::NotJoint);
            }
            next.learners.append(&mut next.learners_next);
            next.voters_outgoing.clear();
            return Ok(next);
        }
        if self.is_joint() {
            return Err(ConfError::Joint);
        }
        if change.changes.len() > 1 {
            if self.voters.is_empty() {
                return Err(ConfError::NoVoters);
            }
            next.voters_outgoing = next.voters.clone();
        }
        for (kind, id) in &change.changes {
            next.change(*kind, *id);
        }
        if next.voters.is_empty() { Err(ConfError::NoVoters) } else { Ok(next) }
    }

    fn change(&mut self, kind: ConfChangeKind, id: NodeId) {
        if kind == ConfChangeKind::AddLearner && self.learners.contains(&id) {
            return;
        }
        self.voters.remove(&id);
        self.learners.remove(&id);
        self.learners_next.remove(&id);
        match kind {
            ConfChangeKind::AddVoter => self.voters.insert(id),
            // A node never votes and learns at once: an outgoing voter waits until the joint
            // configuration is left.
            ConfChangeKind::AddLearner if self.voters_outgoing.contains(&id) => {
                self.learners_next.insert(id)
            }
            ConfChangeKind::AddLearner => self.learners.insert(id),
            ConfChangeKind::Remove => false,
        };
    }

    /// Whether some sequence of changes can lead here (what a peer claims must be checked).
    pub fn is_valid(&self) -> bool {
        !self.voters.is_empty()
            && self.learners.iter().all(|id| !self.is_voter(*id))
            && self.learners_next.is_subset(&self.voters_outgoing)
            && self.learners_next.is_disjoint(&self.voters)
    }
}
