//! What must reach the driver from places that cannot wait, and warnings that must not flood.
//!
//! Both are bounded by the number of peers: reports about one peer that the driver has not yet
//! taken are merged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use pgraft_replica::NodeId;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::handshake::Refusal;
use crate::limits::COMPLAINT_EVERY;
use crate::transport::Event;

#[derive(Debug, Default)]
struct Pending {
    unreachable: BTreeSet<NodeId>,
    refused: BTreeMap<NodeId, Refusal>,
    /// What each peer said last, so that each change of mind is reported once.
    said: BTreeMap<NodeId, Refusal>,
}

/// Events that wait for the driver.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    pending: Mutex<Pending>,
    wake: Notify,
}

impl Reports {
    pub(crate) fn unreachable(&self, node: NodeId) {
        self.with(|pending| pending.unreachable.insert(node));
        self.wake.notify_one();
    }

    pub(crate) fn refused(&self, node: NodeId, why: Refusal) {
        self.with(|pending| {
            if pending.said.insert(node, why) != Some(why) {
                pending.refused.insert(node, why);
            }
        });
        self.wake.notify_one();
    }

    /// A handshake succeeded: the next refusal is news again.
    pub(crate) fn welcomed(&self, node: NodeId) {
        self.with(|pending| pending.said.remove(&node));
    }

    /// Hands reports to the driver until it is gone.
    pub(crate) async fn run(&self, events: &mpsc::Sender<Event>) {
        while let Some(event) = self.next().await {
            if events.send(event).await.is_err() {
                return;
            }
        }
    }

    async fn next(&self) -> Option<Event> {
        loop {
            let event = self.with(|pending| {
                let refused = pending.refused.pop_first();
                let refused = refused.map(|(peer, why)| Event::RefusedBy { peer, why });
                refused.or_else(|| pending.unreachable.pop_first().map(Event::Unreachable))
            });
            if event.is_some() {
                return event;
            }
            self.wake.notified().await;
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Pending) -> T) -> T {
        change(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// When each peer was last complained about, and how often it was not mentioned since.
/// `None` stands for all senders that are not known yet.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<BTreeMap<Option<NodeId>, (Instant, u64)>>);

impl Complaints {
    /// Warns, unless this peer was warned about a moment ago.
    pub(crate) fn warn(&self, peer: Option<NodeId>, from: &str, why: &dyn std::fmt::Display) {
        let Some(left_out) = self.may_speak(peer) else { return };
        let node = peer.map_or(0, NodeId::get);
        tracing::warn!(peer = node, from, left_out, "connection refused: {why}");
    }

    /// How many warnings were left out before this one; `None` when it is to be left out too.
    pub(crate) fn may_speak(&self, peer: Option<NodeId>) -> Option<u64> {
        let now = Instant::now();
        let mut spoken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match spoken.get_mut(&peer) {
            Some((last, left_out)) if now.duration_since(*last) < COMPLAINT_EVERY => {
                *left_out += 1;
                None
            }
            Some((last, left_out)) => {
                *last = now;
                Some(std::mem::take(left_out))
            }
            None => {
                spoken.insert(peer, (now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn warnings_are_rationed_per_peer_and_say_how_many_were_left_out() {
        let complaints = Complaints::default();
        let (two, three) = (NodeId::new(2), NodeId::new(3));
        assert_eq!(complaints.may_speak(two), Some(0));
        for _ in 0..1000 {
            assert_eq!(complaints.may_speak(two), None);
        }
        assert_eq!(complaints.may_speak(three), Some(0));
        assert_eq!(complaints.may_speak(None), Some(0));
        tokio::time::advance(COMPLAINT_EVERY).await;
        assert_eq!(complaints.may_speak(two), Some(1000));
        assert_eq!(complaints.may_speak(two), None);
    }

    #[tokio::test(start_paused = true)]
    async fn reports_are_merged_until_the_driver_takes_them() {
        let reports = Reports::default();
        let peer = NodeId::new(2).unwrap();
        for _ in 0..1000 {
            reports.unreachable(peer);
            reports.refused(peer, Refusal::Removed);
        }
        let refused = reports.next().await;
        assert!(matches!(refused, Some(Event::RefusedBy { why: Refusal::Removed, .. })));
        assert!(matches!(reports.next().await, Some(Event::Unreachable(found)) if found == peer));
        assert!(reports.with(|pending| pending.unreachable.is_empty()));
        // The same reason again is no news, unless the peer let us in meanwhile.
        reports.refused(peer, Refusal::Removed);
        assert!(reports.with(|pending| pending.refused.is_empty()));
        reports.welcomed(peer);
        reports.refused(peer, Refusal::Removed);
        assert!(!reports.with(|pending| pending.refused.is_empty()));
    }
}
