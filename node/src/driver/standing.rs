//! What the node tells the world about its standing, and until when it may be believed.
//!
//! Leadership is shown only as long as nobody else can have been elected: it stands on the answers
//! of a majority to this leader's heartbeats. It is a statement for people and routers, not a lock:
//! reads and writes have their own proof of leadership, a quorum each.

use pgraft_replica::{Message, MessageKind, NodeId, Role, View};
use tokio::time::Duration;

use super::Driver;
use crate::status::{State, Status};

/// Ticks by which this node stops calling itself leader before another one could: followers count
/// in steps of [`TICKS_PER_WAKE`], and an answer takes a while.
const LEASE_MARGIN_TICKS: u64 = 5;

impl Driver {
    /// Remembers who answered this leader in its term: what `is_leader` stands on.
    pub(super) fn note_answer(&mut self, message: &Message) {
        // Only these are sent at once; an append's answer may have waited for a disk.
        let answer = message.kind == MessageKind::HeartbeatResponse;
        if answer && message.term.0 == self.parts.leadership.borrow().term {
            self.heard.insert(message.from, self.parts.world.boottime_ns());
        }
    }

    /// Published before the next leader can hear of it.
    pub(super) fn step_aside(&mut self) {
        self.stepping_aside = true;
        self.publish();
    }

    pub(super) fn publish(&self) {
        self.parts.board.publish(&self.status());
    }

    /// Until when nobody else can have been elected: followers wait half an election timeout after
    /// the last word of their leader, and a majority had heard that word when it answered.
    pub(super) fn leader_until_ns(&self, view: &View) -> u64 {
        if view.role != Role::Leader || view.transferring || view.joint || self.stepping_aside {
            return 0;
        }
        let now = self.parts.world.boottime_ns();
        let answered = |id: &NodeId| {
            if *id == view.id { now } else { self.heard.get(id).copied().unwrap_or(0) }
        };
        let mut answers: Vec<u64> = view.voters.iter().map(answered).collect();
        answers.sort_unstable_by(|one, other| other.cmp(one));
        let majority = answers.get(answers.len() / 2).copied().unwrap_or(0);
        let margin = Duration::from_millis(LEASE_MARGIN_TICKS * pgraft_replica::limits::TICK_MS);
        let lease = (self.parts.election_timeout / 2).saturating_sub(margin);
        if majority == 0 { 0 } else { majority + u64::try_from(lease.as_nanos()).unwrap_or(0) }
    }

    pub(super) fn status(&self) -> Status {
        let view = self.parts.replica.view();
        let state = match view.role {
            Role::Follower => State::Follower,
            Role::PreCandidate | Role::Candidate => State::Candidate,
            Role::Leader => State::Leader,
        };
        let leader_until_ns = self.leader_until_ns(&view);
        let is_leader = leader_until_ns > self.parts.world.boottime_ns();
        let active = view.peers.iter().filter(|peer| peer.active && peer.id != view.id);
        Status {
            node_id: view.id.get(),
            state,
            term: view.term.0,
            leader_id: view.leader.map_or(0, NodeId::get),
            is_leader,
            leader_until_ns,
            commit: view.committed.0,
            applied: view.applied.0,
            last_index: view.last_index.0,
            first_index: view.first_index.0,
            snapshot_index: view.first_index.0.saturating_sub(1),
            members: (view.voters.len() + view.learners.len()) as u64,
            voters: view.voters.len() as u64,
            messages_sent: view.messages_sent,
            heartbeats_sent: view.heartbeats_sent,
            elections_started: view.elections_started,
            replicated: active.map(|peer| peer.match_index.0).min().unwrap_or(view.committed.0),
            errors: self.parts.gateway.errors(),
            log_writes: self.parts.log.writes(),
            pid: u64::from(std::process::id()),
        }
    }
}
