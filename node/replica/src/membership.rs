//! Changes of the configuration: proposing them, applying them, leaving a joint one, and the rule
//! that a leader never removes itself (RAFT.md 1.3, R-A, R-D, R-G, R-M).
//!
//! Not here: who should be a member, which the membership machine decides.

use crate::replica::Replica;
use crate::{ConfChange, ConfState, Effects, EntryKind, Index, Refusal, Stop, Ticket, conf_codec};

impl Replica {
    /// Puts a change into the log, if it can be applied there.
    ///
    /// A change that would take this node's own vote is refused, and leadership is handed to the
    /// best follower instead: the next leader finds the membership effect in its outbox and
    /// proposes the change again.
    pub(crate) fn propose_conf(
        &mut self,
        ticket: Ticket,
        change: ConfChange,
        effects: &mut Effects,
    ) {
        if let Err(refusal) = self.try_propose_conf(ticket, &change) {
            effects.refused.push((ticket, refusal));
        }
    }

    fn try_propose_conf(&mut self, ticket: Ticket, change: &ConfChange) -> Result<(), Refusal> {
        if let Some(refusal) = self.refusal_of_proposals() {
            return Err(refusal);
        }
        if self.raft.has_pending_conf() {
            return Err(Refusal::Busy);
        }
        let next = match self.conf.changed_by(change) {
            Ok(next) => next,
            // The replica leaves a joint configuration by itself, soon.
            Err(crate::ConfError::Joint) => return Err(Refusal::Busy),
            Err(error) => return Err(Refusal::ConfChange(error)),
        };
        if !next.voters.contains(&self.config.id) {
            return Err(self.hand_over_before_leaving());
        }
        self.append_conf(change, vec![ticket]).ok_or(Refusal::Busy)
    }

    fn hand_over_before_leaving(&mut self) -> Refusal {
        Refusal::Transfer(match self.start_transfer(None) {
            Ok(to) => format!("this node leads; node {to} takes over first, then try again"),
            Err(why) => format!("this node leads and cannot hand over: {why}"),
        })
    }

    /// Appends a change to the log; `None` when raft-rs refuses it.
    fn append_conf(&mut self, change: &ConfChange, tickets: Vec<Ticket>) -> Option<()> {
        let body = conf_codec::encode(change);
        let index = self.raft.propose(vec![(EntryKind::ConfChange, body)])?;
        self.proposals.track(index, self.raft.term(), EntryKind::ConfChange, tickets);
        Some(())
    }

    /// Leaves a joint configuration. raft-rs could do it alone, but may leave it unannounced, or
    /// never (R-G), so it is proposed like any other change.
    pub(crate) fn leave_joint(&mut self) {
        let may = self.raft.is_leader() && self.conf.is_joint() && !self.raft.has_pending_conf();
        if !may || self.raft.transfer_target().is_some() {
            return;
        }
        if self.conf.voters.contains(&self.config.id) {
            // Refused only when too much is uncommitted; the next tick tries again.
            let _ = self.append_conf(&ConfChange::default(), Vec::new());
        } else {
            // Leaving would remove this leader. Whoever takes over leaves the joint
            // configuration; when nobody can, the next tick tries again.
            let _ = self.start_transfer(None);
        }
    }

    /// Switches raft-rs to the configurations up to `index`.
    ///
    /// Not while a received snapshot waits: raft-rs counts by the snapshot's configuration from
    /// its arrival on, and what is applied here was committed before it, so the change is in there
    /// (TiKV's `test_redundant_conf_change_by_snapshot`). Applied once more it would be a change of
    /// that later configuration.
    pub(crate) fn apply_conf_changes(&mut self, index: Index) {
        while self.unapplied_confs.front().is_some_and(|(at, _)| *at <= index) {
            let (_, change) = self.unapplied_confs.pop_front().expect("just seen");
            let computed = self.conf.changed_by(&change).ok();
            if !self.raft.has_pending_snapshot() {
                let actual = self.raft.apply_conf_change(&change).ok();
                // What the host persists and what raft-rs counts votes by must never differ.
                assert_eq!(computed, actual, "raft-rs applied {change:?} to {:?}", self.conf);
            }
            if let Some(next) = computed {
                self.switch_to(next);
            }
        }
    }

    fn switch_to(&mut self, next: ConfState) {
        for id in election_members(&next).filter(|id| !self.conf.contains(*id)) {
            self.heard.note(id, self.now);
        }
        let was_member = self.conf.contains(self.config.id);
        self.conf = next;
        if was_member && !self.conf.contains(self.config.id) {
            // raft-rs would go on leading, and panic at the next write (R-A, R-A2).
            self.stopped = Some(Stop::Removed);
        }
    }
}

fn election_members(conf: &ConfState) -> impl Iterator<Item = crate::NodeId> + '_ {
    conf.voters.iter().chain(&conf.learners).copied()
}
