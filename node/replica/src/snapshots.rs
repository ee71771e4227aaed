//! Snapshots on their way to followers: whom to pin one for, and when to give one up (RAFT.md
//! 1.3, R-F: raft-rs waits for ever for a snapshot that nobody reports on).

use std::collections::{BTreeMap, BTreeSet};

use crate::canonical::Notes;
use crate::limits::{SNAPSHOT_STALL_MS, TICK_MS};
use crate::{Index, NodeId, PeerState, PeerView, SnapshotMeta};

const STALL_TICKS: u64 = SNAPSHOT_STALL_MS / TICK_MS;

/// A snapshot for one follower.
#[derive(Debug)]
struct Sending {
    /// From when on it is kept in the log.
    index: Option<Index>,
    /// Tick by which something must happen.
    deadline: u64,
}

/// The snapshots a leader has asked for or is sending.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    sending: BTreeMap<NodeId, Sending>,
}

impl Snapshots {
    /// Whether a snapshot must be pinned for `to`: not when one was asked for already.
    pub(crate) fn want(&mut self, to: NodeId, now: u64) -> bool {
        let is_new = !self.sending.contains_key(&to);
        if is_new {
            self.sending.insert(to, Sending { index: None, deadline: now + STALL_TICKS });
        }
        is_new
    }

    /// One was pinned, or its sending makes progress.
    pub(crate) fn progressed(&mut self, to: NodeId, meta: &SnapshotMeta, now: u64) {
        let sending = Sending { index: Some(meta.index), deadline: now + STALL_TICKS };
        self.sending.insert(to, sending);
    }

    /// It arrived, or it never will.
    pub(crate) fn ended(&mut self, to: NodeId) {
        self.sending.remove(&to);
    }

    /// Nobody here sends snapshots any more.
    pub(crate) fn clear(&mut self) {
        self.sending.clear();
    }

    /// The oldest index a snapshot in flight starts from: the log above it will be needed.
    pub(crate) fn oldest(&self) -> Option<Index> {
        self.sending.values().filter_map(|sending| sending.index).min()
    }

    /// Followers whose snapshot made no progress for too long; to be reported as failed.
    pub(crate) fn stalled(&mut self, peers: &[PeerView], now: u64) -> Vec<NodeId> {
        let waiting: BTreeSet<NodeId> = peers
            .iter()
            .filter(|peer| peer.state == PeerState::Snapshot)
            .map(|peer| peer.id)
            .collect();
        for id in &waiting {
            let deadline = now + STALL_TICKS;
            self.sending.entry(*id).or_insert(Sending { index: None, deadline });
        }
        let late = |sending: &Sending| sending.deadline <= now;
        let stalled: Vec<NodeId> =
            self.sending.iter().filter(|(_, s)| late(s)).map(|(id, _)| *id).collect();
        self.sending.retain(|_, sending| !late(sending));
        stalled
    }

    /// Deadlines as ticks that are left.
    pub(crate) fn canonical(&self, now: u64, notes: &mut Notes<'_>) {
        notes.count("snapshots", self.sending.len());
        for (to, Sending { index, deadline }) in &self.sending {
            notes.number("snapshots", to.get());
            notes.number("snapshots", index.map_or(0, |index| index.0 + 1));
            notes.number("snapshots", deadline.saturating_sub(now));
        }
    }
}
