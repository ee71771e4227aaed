//! What a leader does besides replicating: hand over, watch snapshots, truncate, react to its
//! disk.

use crate::limits::DISK_STALL_STOP_MS;
use crate::replica::Replica;
use crate::{Effects, NodeId, Refusal, SnapshotMeta, Stop, Ticket, transfer, truncation};

/// Ticks without a word after which a follower no longer holds the log back: ten seconds.
const FORGET_TICKS: u64 = 10_000 / crate::limits::TICK_MS;

impl Replica {
    /// Hands leadership over, on request.
    pub(crate) fn transfer(&mut self, ticket: Ticket, to: Option<NodeId>, effects: &mut Effects) {
        let started = if !self.raft.is_leader() {
            Err(Refusal::NotLeader(self.raft.leader()))
        } else if self.raft.transfer_target().is_some() {
            Err(Refusal::Busy)
        } else {
            self.start_transfer(to).map_err(Refusal::Transfer)
        };
        match started {
            Ok(_) => self.transfer = Some(ticket),
            Err(refusal) => effects.refused.push((ticket, refusal)),
        }
    }

    /// Begins a transfer; to whom.
    pub(crate) fn start_transfer(&mut self, to: Option<NodeId>) -> Result<NodeId, String> {
        if let Some(target) = self.raft.transfer_target() {
            return Ok(target);
        }
        let situation = transfer::Situation {
            id: self.config.id,
            conf: &self.conf,
            peers: &self.peers(),
            last: self.raft.last(),
            has_pending_conf: self.raft.has_pending_conf(),
        };
        let target = transfer::target(&situation, to)?;
        // So that everybody stays loyal until the new leader calls.
        self.raft.broadcast_heartbeat();
        self.raft.transfer_leader(target);
        Ok(target)
    }

    /// Tells whoever asked for a transfer that it came to nothing: raft-rs gives up silently
    /// after an election timeout.
    pub(crate) fn watch_transfer(&mut self, effects: &mut Effects) {
        if self.raft.transfer_target().is_none()
            && let Some(ticket) = self.transfer.take()
        {
            let why = "the follower did not take over in time".to_owned();
            effects.refused.push((ticket, Refusal::Transfer(why)));
        }
    }

    /// A snapshot for `to` is pinned, or its sending makes progress.
    pub(crate) fn snapshot_pinned(&mut self, to: NodeId, meta: SnapshotMeta) {
        // Index 0 makes raft-rs panic, and there is nothing in such a snapshot.
        if !self.raft.is_leader() || meta.index.0 == 0 {
            return;
        }
        self.snapshots.progressed(to, &meta, self.now);
        let is_sending =
            self.raft.peers().iter().any(|peer| peer.id == to && peer.pending_snapshot.is_some());
        if !is_sending {
            self.raft.snapshot_pinned(to, meta);
        }
    }

    /// Gives up snapshots that make no progress (R-F).
    pub(crate) fn watch_snapshots(&mut self) {
        let peers = self.raft.peers();
        for id in self.snapshots.stalled(&peers, self.now) {
            self.raft.report_snapshot(id, false);
        }
    }

    /// Decides how much of the log may go.
    pub(crate) fn truncate(&mut self, effects: &mut Effects) {
        let mut peers = self.raft.peers();
        for peer in &mut peers {
            peer.active = self.heard.within(peer.id, self.now, FORGET_TICKS);
        }
        let durable = self.durable.min(self.applied);
        let log = self.raft.log();
        let (keep, pinned) = (&self.config.keep, self.snapshots.oldest());
        if let Some(index) = truncation::target(keep, log, durable, &peers, pinned) {
            self.raft.log_mut().truncate(index);
            effects.truncate = Some(index);
        }
    }

    /// The watchdog of the log's disk (RAFT.md 1.5): heartbeats do not wait for it, so without
    /// this a leader whose disk hangs would lead for ever.
    pub(crate) fn disk_stalled(&mut self, for_ms: u64) {
        self.disk.observe(for_ms);
        if for_ms > DISK_STALL_STOP_MS {
            self.stopped = Some(Stop::DiskStalled { for_ms });
        } else if self.disk.is_stuck() {
            self.step_down();
        } else if self.disk.is_slow() && self.raft.is_leader() {
            // When nobody can take over, stepping down comes next.
            let _ = self.start_transfer(None);
        }
    }
}
