//! How long a follower waits for its leader: staggered by rank, so that one candidate is first.
//!
//! Random timeouts collide and cost a second round; ranks do not (RAFT.md 5.1, 5.2). Counting
//! the ticks is raft-rs' part; this file only says how many.

use std::collections::BTreeSet;

use crate::canonical::Notes;
use crate::chance::mix;
use crate::{NodeId, Term};

/// Ticks added to everybody's timeout: a follower that heard the leader one tick later would
/// otherwise still be loyal when the first one asks, and a whole timeout would be lost.
const MARGIN_TICKS: u32 = 2;

/// The timeouts of one replica.
#[derive(Debug)]
pub(crate) struct ElectionTimer {
    seed: u64,
    /// Shortest timeout; also the time a follower stays loyal after a heartbeat.
    base: u32,
    /// Upper bound of every timeout.
    bound: u32,
    /// Ticks between two ranks.
    step: u32,
    /// Elections started since a leader was last known.
    failed_rounds: u64,
}

impl ElectionTimer {
    /// Timeouts between half of `election_ticks` and all of them.
    pub(crate) fn new(seed: u64, election_ticks: u32) -> ElectionTimer {
        let base = election_ticks / 2;
        ElectionTimer {
            seed,
            base,
            bound: election_ticks,
            step: (base / 10).max(1),
            failed_rounds: 0,
        }
    }

    /// The shortest timeout in ticks.
    pub(crate) fn base(&self) -> u32 {
        self.base
    }

    /// An election begins.
    pub(crate) fn started(&mut self) {
        self.failed_rounds += 1;
    }

    /// A leader is known.
    pub(crate) fn settled(&mut self) {
        self.failed_rounds = 0;
    }

    /// Ticks without a leader before `id` campaigns, in `term` and among `voters`. The lost
    /// `leader` has no rank: it would only leave a gap.
    pub(crate) fn timeout<'a>(
        &self,
        id: NodeId,
        term: Term,
        leader: Option<NodeId>,
        voters: impl Iterator<Item = &'a NodeId>,
    ) -> u32 {
        let own = (rank_hash(term, id), id);
        let ahead = voters
            .filter(|voter| Some(**voter) != leader)
            .filter(|voter| (rank_hash(term, **voter), **voter) < own);
        let rank = u32::try_from(ahead.count()).unwrap_or(self.bound);
        let jitter = if self.failed_rounds == 0 {
            0
        } else {
            let chance = mix(self.seed ^ mix(term.0) ^ self.failed_rounds);
            u32::try_from(chance % u64::from(self.step + 1)).expect("a step fits")
        };
        let wait = rank.saturating_mul(self.step).saturating_add(MARGIN_TICKS + jitter);
        self.base.saturating_add(wait).min(self.bound)
    }

    pub(crate) fn canonical(&self, notes: &mut Notes<'_>) {
        // With so short a timeout, everybody waits for as long as is allowed.
        if self.base + MARGIN_TICKS < self.bound {
            notes.number("failed rounds", self.failed_rounds);
        }
    }
}

/// Differs from term to term, so that the same node does not always win.
fn rank_hash(term: Term, id: NodeId) -> u64 {
    mix(mix(term.0) ^ id.get())
}

/// All who may vote in a configuration.
pub(crate) fn voters(conf: &crate::ConfState) -> BTreeSet<NodeId> {
    conf.voters.union(&conf.voters_outgoing).copied().collect()
}

#[cfg(test)]
mod tests;
