//! The rule, case by case.

use bytes::Bytes;

use super::*;
use crate::{Entry, EntryKind, NodeId, Term};

/// A log of `count` entries of `bytes` each.
fn log(count: u64, bytes: usize) -> LogView {
    let data = Bytes::from(vec![0; bytes]);
    let entry = |index| Entry {
        index: Index(index),
        term: Term(1),
        kind: EntryKind::Normal,
        data: data.clone(),
    };
    let mut log = LogView::new((Index::ZERO, Term(0)), Vec::new(), Vec::new(), Index::ZERO);
    log.append(&(1..=count).map(entry).collect::<Vec<Entry>>());
    log
}

fn peer(match_index: u64, active: bool) -> PeerView {
    PeerView {
        id: NodeId::new(2).expect("not 0"),
        match_index: Index(match_index),
        next_index: Index(match_index + 1),
        state: PeerState::Replicate,
        active,
        pending_snapshot: None,
    }
}

#[test]
fn never_above_what_state_db_has() {
    let log = log(7_000, 8 << 10);
    assert_eq!(target(&Keep::default(), &log, Index::ZERO, &[], None), None);
    assert_eq!(target(&Keep::default(), &log, Index(6_500), &[], None), Some(Index(1_500)));
    assert_eq!(target(&Keep::default(), &log, Index(5_100), &[], None), None, "not worth it");
}

#[test]
fn small_entries_are_kept_by_bytes() {
    // 20,000 entries of 1 KiB are 20 MiB; 16 of them stay.
    let log = log(20_000, 1 << 10);
    let target = target(&Keep::default(), &log, Index(20_000), &[], None).expect("four may go");
    assert!((3_500..=3_616).contains(&target.0), "{target}");
}

#[test]
fn living_follower_holds_the_log_up_to_the_cap() {
    let log = log(7_000, 8 << 10);
    let durable = Index(7_000);
    assert_eq!(
        target(&Keep::default(), &log, durable, &[peer(6_000, true)], None),
        Some(Index(1_000))
    );
    assert_eq!(target(&Keep::default(), &log, durable, &[peer(1_000, true)], None), None);
    assert_eq!(
        target(&Keep::default(), &log, durable, &[peer(1_000, false)], None),
        Some(Index(2_000))
    );
    assert_eq!(
        target(&Keep::default(), &log, durable, &[], Some(Index(1_000))),
        None,
        "a snapshot is pinned"
    );
}

#[test]
fn beyond_the_cap_nobody_holds_the_log() {
    // 80 MiB, 16 more than allowed.
    let log = log(10_240, 8 << 10);
    let target = target(&Keep::default(), &log, Index(10_240), &[peer(100, true)], None)
        .expect("it must go");
    assert!((2_030..=2_048).contains(&target.0), "{target}");
}

#[test]
fn follower_that_receives_a_snapshot_needs_the_log_from_there() {
    let log = log(10_000, 4 << 10);
    let mut peer = peer(0, true);
    peer.state = PeerState::Snapshot;
    peer.pending_snapshot = Some(Index(9_000));
    let target = target(&Keep::default(), &log, Index(10_000), &[peer], None).expect("it is far");
    assert_eq!(target, Index(4_000));
}
