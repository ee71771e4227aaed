//! When each peer was last heard of. raft-rs has a flag, but clears it at every check-quorum, so
//! that for a moment everybody seems to be gone.

use std::collections::BTreeMap;

use crate::NodeId;
use crate::canonical::Notes;

/// Ticks at which peers were last heard of, on a leader.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    at: BTreeMap<NodeId, u64>,
}

impl Heard {
    pub(crate) fn note(&mut self, peer: NodeId, now: u64) {
        self.at.insert(peer, now);
    }

    /// Whether `peer` was heard of in the last `ticks`.
    pub(crate) fn within(&self, peer: NodeId, now: u64, ticks: u64) -> bool {
        self.at.get(&peer).is_some_and(|at| now - at <= ticks)
    }

    /// A new leadership: everybody counts as just heard of.
    pub(crate) fn restart(&mut self, peers: impl Iterator<Item = NodeId>, now: u64) {
        self.at = peers.map(|peer| (peer, now)).collect();
    }

    /// Silence of more than `patience` ticks counts as one tick more than that. Truncation asks
    /// with ten seconds of patience: a model must not run that long.
    pub(crate) fn canonical(&self, now: u64, patience: u64, notes: &mut Notes<'_>) {
        for (peer, at) in &self.at {
            notes.number("heard", peer.get());
            notes.number("heard", (now - at).min(patience + 1));
        }
    }
}
