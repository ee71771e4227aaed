//! Handing leadership over: to whom, and when it would be unwise (the checks of TiKV, RAFT.md
//! 1.3). Pure; the replica carries it out.

use crate::limits::TRANSFER_LAG_ENTRIES_MAX;
use crate::{ConfState, Index, NodeId, PeerState, PeerView};

/// What the decision depends on.
pub(crate) struct Situation<'a> {
    pub(crate) id: NodeId,
    pub(crate) conf: &'a ConfState,
    pub(crate) peers: &'a [PeerView],
    pub(crate) last: Index,
    pub(crate) has_pending_conf: bool,
}

/// Whom to hand over to.
///
/// # Errors
/// Why it cannot start, for the operator.
pub(crate) fn target(situation: &Situation<'_>, to: Option<NodeId>) -> Result<NodeId, String> {
    if situation.has_pending_conf {
        return Err("a configuration change is not applied yet".to_owned());
    }
    if let Some(peer) = situation.peers.iter().find(|peer| peer.state == PeerState::Snapshot) {
        return Err(format!("node {} is receiving a snapshot", peer.id));
    }
    let Some(to) = to else {
        let fit = situation.peers.iter().filter(|peer| unfit(situation, peer).is_none());
        let best = fit.max_by_key(|peer| (peer.match_index, std::cmp::Reverse(peer.id)));
        return best.map(|peer| peer.id).ok_or("no follower is close enough".to_owned());
    };
    if to == situation.id {
        return Err(format!("node {to} leads already"));
    }
    let Some(peer) = situation.peers.iter().find(|peer| peer.id == to) else {
        return Err(format!("node {to} is not in the cluster"));
    };
    match unfit(situation, peer) {
        Some(reason) => Err(format!("node {to} {reason}")),
        None => Ok(to),
    }
}

/// Why `peer` cannot lead now.
fn unfit(situation: &Situation<'_>, peer: &PeerView) -> Option<String> {
    let lag = peer.match_index.distance_to(situation.last);
    if !situation.conf.voters.contains(&peer.id) {
        Some("is not a voter".to_owned())
    } else if !peer.active {
        Some("was not heard of lately".to_owned())
    } else if peer.state != PeerState::Replicate {
        Some("is still being caught up".to_owned())
    } else if lag > TRANSFER_LAG_ENTRIES_MAX {
        Some(format!("is {lag} entries behind, at most {TRANSFER_LAG_ENTRIES_MAX} are allowed"))
    } else {
        None
    }
}
