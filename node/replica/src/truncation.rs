//! How much of the log may go. Pure: the caller applies it.
//!
//! The rule (RAFT.md 2): never above what state.db has durably applied; keep a number of entries or
//! of bytes, whichever is more, behind the slowest follower that is alive; beyond a larger number
//! of bytes the slow follower gets a snapshot instead. The numbers are [`crate::Keep`]'s.

use crate::log_view::LogView;
use crate::{Index, Keep, PeerState, PeerView};

/// The position a peer still needs the log from: what it has, or will have by a snapshot.
fn position(peer: &PeerView) -> Index {
    match (peer.state, peer.pending_snapshot) {
        (PeerState::Snapshot, Some(snapshot)) => snapshot,
        _ => peer.match_index,
    }
}

/// The index up to which the log should be truncated, if it is worth it. `durable` is what
/// state.db will still have after a power loss, `pinned` what a snapshot being sent starts from.
pub(crate) fn target(
    keep: &Keep,
    log: &LogView,
    durable: Index,
    peers: &[PeerView],
    pinned: Option<Index>,
) -> Option<Index> {
    let slowest = peers
        .iter()
        .filter(|peer| peer.active)
        .map(position)
        .chain(pinned)
        .fold(durable, Index::min);
    let by_entries = Index(slowest.0.saturating_sub(keep.entries));
    // The log knows its bytes at samples only: no bytes to keep must not mean a sample's worth.
    let by_bytes = match keep.bytes {
        0 => slowest,
        bytes => log.index_with_bytes_up_to(slowest, bytes),
    };
    let by_cap = log.index_with_bytes_up_to(log.last(), keep.bytes_max).min(durable);
    let target = by_entries.min(by_bytes).max(by_cap);
    let truncated = log.truncated().0;
    let entries = truncated.distance_to(target);
    let bytes = log.bytes_after(truncated).saturating_sub(log.bytes_after(target));
    let is_worth_it = entries >= keep.step || bytes >= keep.bytes / 16;
    (entries > 0 && is_worth_it).then_some(target)
}

#[cfg(test)]
mod tests;
