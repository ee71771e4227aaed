//! Crashes, bad networks, stalled disks, clocks and overload: what the replica does, and what it
//! must never say.

use std::collections::BTreeSet;

use bytes::Bytes;
use pgraft_replica::ConfChangeKind::{AddLearner, Remove};
use pgraft_replica::body::Body;
use pgraft_replica::limits::{
    DISK_STALL_STOP_MS, KEEP_ENTRIES, OVERLOAD_BYTES_MAX, UNPERSISTED_BYTES_MAX,
};
use pgraft_replica::{
    ConfState, Config, Dropped, Index, Input, Keep, Message, MessageKind, PeerState, Refusal,
    Replica, RestoreError, Role, Stop, Term,
};

use crate::cluster::{Answer, Cluster, ELECTION_TICKS, HEARTBEAT_TICKS, id, is_candidacy, is_from};
use crate::disk::Disk;

fn count(cluster: &Cluster, kind: MessageKind) -> usize {
    cluster.net.iter().filter(|message| message.kind == kind).count()
}

// Persist before send.

#[test]
fn vote_leaves_only_when_it_is_durable() {
    let mut cluster = Cluster::new(1, 3);
    cluster.step(2, Input::Received(Message::new(MessageKind::Vote, id(1), id(2), Term(1))));
    assert!(cluster.net.is_empty(), "{:?}", cluster.net);
    cluster.persist(2, 1);
    assert_eq!(count(&cluster, MessageKind::VoteResponse), 1);
}

#[test]
fn vote_is_kept_over_a_crash_between_write_and_send() {
    let mut cluster = Cluster::new(2, 3);
    cluster.step(2, Input::Received(Message::new(MessageKind::Vote, id(1), id(2), Term(1))));
    // The write reached the disk, the answer never left.
    cluster.crash(2, 1, true);
    cluster.start(2);
    cluster.step(2, Input::Received(Message::new(MessageKind::Vote, id(3), id(2), Term(1))));
    assert!(cluster.net.iter().all(|message| message.reject), "{:?}", cluster.net);
    cluster.net.clear();
    cluster.step(2, Input::Received(Message::new(MessageKind::Vote, id(1), id(2), Term(1))));
    assert!(cluster.net.iter().all(|message| !message.reject), "{:?}", cluster.net);
}

#[test]
fn acknowledgement_leaves_only_when_the_entries_are_durable() {
    let mut cluster = Cluster::led(3, 3);
    cluster.propose(1, b"a");
    cluster.deliver(|_| true);
    assert_eq!(count(&cluster, MessageKind::AppendResponse), 0);
    cluster.persist(2, 1);
    assert_eq!(count(&cluster, MessageKind::AppendResponse), 1);
}

#[test]
fn followers_commit_without_the_leaders_disk_but_it_applies_only_its_own_writes() {
    let mut cluster = Cluster::led(4, 3);
    let before = cluster.view(1).applied;
    let ticket = cluster.propose(1, b"a");
    assert_eq!(count(&cluster, MessageKind::Append), 2, "appends leave before the own write");
    for _ in 0..3 {
        cluster.deliver(|_| true);
        cluster.persist(2, 1);
        cluster.persist(3, 1);
    }
    assert_eq!(cluster.view(1).committed, before.next());
    assert!(cluster.node(1).applies.is_empty(), "not on its own disk yet");
    cluster.persist(1, 1);
    assert_eq!(cluster.node(1).applies.len(), 1);
    cluster.settle();
    cluster.assert_applied(ticket);
}

#[test]
fn heartbeats_are_answered_while_a_write_is_in_flight() {
    let mut cluster = Cluster::led(5, 3);
    cluster.propose(1, b"a");
    cluster.deliver(|_| true);
    let read = cluster.read(1);
    for _ in 0..3 {
        cluster.deliver(|_| true);
    }
    // No write of anybody has finished.
    assert!(matches!(cluster.answer_of(read), Some(Answer::Read(_))));
}

#[test]
fn unwritten_entries_are_gone_after_a_crash_and_come_again() {
    let mut cluster = Cluster::led(6, 3);
    let ticket = cluster.propose(1, b"a");
    cluster.deliver(|_| true);
    let last = cluster.view(2).last_index;
    cluster.crash(2, 0, true);
    cluster.start(2);
    assert_eq!(cluster.view(2).last_index, Index(last.0 - 1));
    cluster.run(2 * HEARTBEAT_TICKS);
    cluster.assert_applied(ticket);
    assert_eq!(cluster.view(2).last_index, last);
}

/// After a crash that also took state.db back, a node may believe in an old configuration. raft-rs
/// keeps it from campaigning while a change is committed and not applied, so the commit index that
/// was known must be as durable as the entries behind it (RAFT.md 1.3, restart).
#[test]
fn commit_index_is_durable_with_the_entries_behind_it() {
    let mut cluster = Cluster::led(31, 3);
    let ticket = cluster.change(1, &[(AddLearner, 4)]);
    cluster.settle();
    let changed = cluster.assert_applied(ticket);
    cluster.propose(1, b"behind it");
    cluster.deliver(|_| true);
    for number in 1..=3 {
        let persist = &cluster.node(number).writes[0];
        let commit = persist.hard_state.map(|hard_state| hard_state.commit);
        assert_eq!(commit, Some(changed), "node {number}");
    }
    // The write survives, state.db does not: the change is pending, so nobody asks for votes.
    cluster.crash(2, 1, false);
    cluster.start(2);
    assert_eq!((cluster.view(2).applied, cluster.view(2).committed), (Index(0), changed));
    cluster.net.clear();
    for _ in 0..3 * ELECTION_TICKS {
        cluster.tick(2);
    }
    assert!(cluster.net.is_empty(), "{:?}", cluster.net);
    cluster.apply(2, usize::MAX);
    for _ in 0..3 * ELECTION_TICKS {
        cluster.tick(2);
    }
    assert!(cluster.net.iter().all(is_candidacy) && !cluster.net.is_empty());
}

// The network.

#[test]
fn repeated_and_reordered_appends_change_nothing() {
    let mut cluster = Cluster::led(7, 3);
    let mut sent = Vec::new();
    for command in [b"a", b"b", b"c", b"d"] {
        cluster.propose(1, command);
        sent.append(&mut cluster.net);
    }
    let to_2: Vec<Message> = sent.iter().filter(|message| message.to == id(2)).cloned().collect();
    for message in to_2.iter().rev().chain(&to_2).chain(&to_2) {
        cluster.arrive(message.clone());
        cluster.persist(2, usize::MAX);
    }
    assert_eq!(cluster.view(2).last_index, cluster.view(1).last_index);
    sent.retain(|message| message.to != id(2));
    sent.into_iter().for_each(|message| cluster.arrive(message));
    cluster.settle();
    cluster.check_logs();
    assert_eq!(cluster.view(2).applied, cluster.view(1).last_index);
}

#[test]
fn isolated_leader_steps_down_within_the_election_timeout() {
    let mut cluster = Cluster::led(8, 3);
    cluster.run_where(ELECTION_TICKS, &[1], |_| false);
    assert_eq!(cluster.view(1).role, Role::Follower);
    assert_eq!(cluster.view(1).leader, None);
}

#[test]
fn followers_replace_a_dead_leader_within_the_election_timeout() {
    for seed in 0..20 {
        let mut cluster = Cluster::led(seed, 3);
        cluster.run(u32::try_from(seed % 7).expect("small"));
        cluster.crash(1, 0, true);
        // One tick of slack for the requests themselves.
        cluster.run_where(ELECTION_TICKS + 1, &[2, 3], |_| true);
        assert!(matches!(cluster.leader(), Some(2 | 3)), "seed {seed}: nobody leads");
        assert_eq!(cluster.view(2).term, Term(2), "seed {seed}: it took more than one election");
    }
}

#[test]
fn overwritten_proposals_are_refused_and_others_of_the_same_index_kept() {
    let mut cluster = Cluster::led(9, 3);
    let lost = cluster.propose(1, b"lost");
    cluster.persist(1, usize::MAX);
    cluster.net.clear();
    let cut = BTreeSet::from([1]);
    let leader = cluster.await_leader(&[2, 3], &cut);
    let kept = cluster.propose(leader, b"kept");
    cluster.settle_where(|message| message.from != id(1) && message.to != id(1));
    cluster.assert_applied(kept);
    assert_eq!(cluster.answer_of(lost), None, "nobody knows yet");
    cluster.run(3 * HEARTBEAT_TICKS);
    assert_eq!(cluster.assert_refused(lost), Refusal::Overwritten);
    cluster.check_logs();
}

#[test]
fn proposal_of_a_former_leader_is_answered_when_another_commits_it() {
    let mut cluster = Cluster::led(10, 3);
    let ticket = cluster.propose(1, b"a");
    cluster.persist(1, usize::MAX);
    cluster.deliver(|_| true);
    cluster.persist(2, usize::MAX);
    cluster.persist(3, usize::MAX);
    cluster.net.clear();
    cluster.step(1, Input::TimeJumped);
    assert_eq!(cluster.view(1).role, Role::Follower);
    cluster.run_where(2 * ELECTION_TICKS, &[2, 3], |_| true);
    assert_ne!(cluster.leader(), Some(1));
    cluster.run(HEARTBEAT_TICKS);
    cluster.assert_applied(ticket);
}

// Transfers.

#[test]
fn transfer_moves_leadership_at_once() {
    let mut cluster = Cluster::led(11, 3);
    let ticket = cluster.transfer(1, Some(3));
    cluster.settle();
    assert_eq!(cluster.leader(), Some(3));
    assert_eq!(cluster.answer_of(ticket), None, "the role change answers it");
}

#[test]
fn transfer_that_cannot_start_is_refused() {
    let mut cluster = Cluster::led(12, 3);
    cluster.join(4);
    cluster.change(1, &[(AddLearner, 4)]);
    let early = cluster.transfer(1, Some(2));
    assert!(matches!(cluster.assert_refused(early), Refusal::Transfer(why)
        if why.contains("configuration change")));
    cluster.settle();
    for (to, reason) in [(1, "leads already"), (4, "not a voter"), (9, "not in the cluster")] {
        let ticket = cluster.transfer(1, Some(to));
        let refusal = cluster.assert_refused(ticket);
        let fits = matches!(&refusal, Refusal::Transfer(why) if why.contains(reason));
        assert!(fits, "to {to}: {refusal:?}");
    }
}

#[test]
fn transfer_to_a_follower_that_is_gone_comes_to_nothing_and_says_so() {
    let mut cluster = Cluster::led(13, 3);
    cluster.run(5);
    cluster.crash(3, 0, true);
    let ticket = cluster.transfer(1, Some(3));
    let during = cluster.propose(1, b"a");
    assert_eq!(cluster.assert_refused(during), Refusal::Busy);
    cluster.run_where(ELECTION_TICKS, &[1, 2], |_| true);
    assert!(matches!(cluster.assert_refused(ticket), Refusal::Transfer(_)));
    let after = cluster.propose(1, b"b");
    cluster.settle();
    cluster.assert_applied(after);
    let late = cluster.transfer(1, Some(3));
    assert!(matches!(cluster.assert_refused(late), Refusal::Transfer(why)
        if why.contains("not heard of")));
}

// Time.

#[test]
fn leader_that_was_suspended_steps_down_first() {
    let mut cluster = Cluster::led(14, 3);
    let read = cluster.read(1);
    cluster.net.clear();
    cluster.step(1, Input::TimeJumped);
    assert_eq!(cluster.view(1).role, Role::Follower);
    assert_eq!(cluster.assert_refused(read), Refusal::NotLeader(None));
    let ticket = cluster.propose(1, b"a");
    assert_eq!(cluster.assert_refused(ticket), Refusal::NotLeader(None));
}

#[test]
fn stamps_never_go_back_whatever_the_clocks_say() {
    let mut cluster = Cluster::led(15, 3);
    let mut stamps = Vec::new();
    for (wall_ms, leader) in [(5_000_000, 1), (4_000_000, 1), (3_000_000, 2), (6_000_000, 3)] {
        let current = cluster.leader().expect("somebody leads");
        if current != leader {
            cluster.transfer(current, Some(leader));
            cluster.settle();
        }
        cluster.node(leader).wall_ms = wall_ms;
        cluster.tick(leader);
        cluster.propose(leader, b"a");
        let entry = cluster.node(leader).writes[0].entries[0].clone();
        let body = Body::decode(entry.data).expect("a body");
        stamps.push((body.time_ms, body.entropy));
        cluster.settle();
    }
    assert!(stamps.is_sorted_by_key(|(time, _)| *time), "{stamps:?}");
    let chance: BTreeSet<u64> = stamps.iter().map(|(_, entropy)| *entropy).collect();
    assert_eq!(chance.len(), stamps.len(), "entropy differs from entry to entry");
}

// Disks.

#[test]
fn leader_with_a_slow_disk_hands_over() {
    let mut cluster = Cluster::led(16, 3);
    let half = u64::from(ELECTION_TICKS) / 4 * 10;
    cluster.step(1, Input::DiskStalled { for_ms: half + 10 });
    let ticket = cluster.propose(1, b"a");
    assert_eq!(cluster.assert_refused(ticket), Refusal::Busy);
    cluster.settle();
    assert!(matches!(cluster.leader(), Some(2 | 3)));
}

#[test]
fn leader_with_a_stuck_disk_steps_down_and_stays_down() {
    let mut cluster = Cluster::led(17, 3);
    cluster.propose(1, b"a");
    cluster.net.clear();
    let base = u64::from(ELECTION_TICKS) / 2 * 10;
    cluster.step(1, Input::DiskStalled { for_ms: base + 10 });
    assert_eq!(cluster.view(1).role, Role::Follower);
    for _ in 0..5 * ELECTION_TICKS {
        cluster.tick(1);
    }
    assert_eq!((cluster.view(1).role, cluster.view(1).term), (Role::Follower, Term(1)));
    cluster.step(1, Input::DiskStalled { for_ms: 0 });
    cluster.elect(1);
    cluster.step(1, Input::DiskStalled { for_ms: DISK_STALL_STOP_MS + 1 });
    let stop = Some(Stop::DiskStalled { for_ms: DISK_STALL_STOP_MS + 1 });
    assert_eq!(cluster.node(1).stop, stop);
}

#[test]
fn follower_with_a_stuck_disk_neither_acknowledges_nor_campaigns() {
    let mut cluster = Cluster::led(18, 3);
    cluster.step(3, Input::DiskStalled { for_ms: 1_000 });
    let ticket = cluster.propose(1, b"a");
    for _ in 0..20 {
        cluster.deliver(|_| true);
        for number in [1, 2] {
            cluster.work(number);
        }
    }
    cluster.assert_applied(ticket);
    cluster.net.clear();
    for _ in 0..5 * ELECTION_TICKS {
        cluster.tick(3);
    }
    assert!(cluster.net.is_empty(), "{:?}", cluster.net);
}

#[test]
fn sole_voter_keeps_leading_over_a_stuck_disk() {
    let mut cluster = Cluster::led(19, 1);
    cluster.step(1, Input::DiskStalled { for_ms: 1_000 });
    cluster.step(1, Input::TimeJumped);
    assert_eq!(cluster.view(1).role, Role::Leader, "nobody else could");
    let ticket = cluster.propose(1, b"a");
    assert_eq!(cluster.assert_refused(ticket), Refusal::Busy);
    cluster.step(1, Input::DiskStalled { for_ms: 0 });
    let ticket = cluster.propose(1, b"a");
    cluster.settle();
    cluster.assert_applied(ticket);
}

// Overload.

#[test]
fn proposals_are_refused_while_too_much_waits_for_the_disk() {
    let mut cluster = Cluster::led(20, 3);
    let command = vec![1; 1 << 20];
    // Followers acknowledge, so nothing stays uncommitted; only the leader's own disk is slow.
    for _ in 0..40 {
        cluster.propose(1, &command);
        for _ in 0..3 {
            cluster.deliver(|_| true);
            for number in [2, 3] {
                cluster.work(number);
            }
        }
    }
    let waiting: usize = cluster.node(1).writes.iter().map(bytes_of).sum();
    assert!(waiting <= UNPERSISTED_BYTES_MAX + (2 << 20), "{waiting} bytes wait");
    cluster.settle();
    let ticket = cluster.propose(1, &command);
    cluster.settle();
    cluster.assert_applied(ticket);
}

fn bytes_of(persist: &pgraft_replica::Persist) -> usize {
    persist.entries.iter().map(|entry| entry.data.len()).sum()
}

#[test]
fn follower_that_applies_too_slowly_takes_no_more_entries() {
    let mut cluster = Cluster::led(21, 3);
    let command = vec![1; 1 << 20];
    for _ in 0..40 {
        cluster.propose(1, &command);
        for _ in 0..4 {
            cluster.deliver(|_| true);
            cluster.work(1);
            cluster.work(2);
            cluster.persist(3, usize::MAX);
        }
    }
    let waiting: usize = cluster.node(3).applies.iter().map(|c| c.entry.data.len()).sum();
    assert!(waiting <= OVERLOAD_BYTES_MAX + (2 << 20), "{waiting} bytes wait");
    assert_eq!(cluster.view(3).last_dropped, Some((id(1), Dropped::Overloaded)));
    cluster.settle();
    cluster.run(10 * HEARTBEAT_TICKS);
    assert_eq!(cluster.view(3).applied, cluster.view(1).applied, "it catches up later");
}

#[test]
fn too_large_a_command_is_refused_with_its_size() {
    let mut cluster = Cluster::led(22, 3);
    let limit = pgraft_replica::limits::COMMAND_BYTES_MAX;
    let large = cluster.propose(1, &vec![0; limit + 1]);
    assert_eq!(cluster.assert_refused(large), Refusal::TooLarge(limit + 1, limit));
    let exact = cluster.propose(1, &vec![0; limit]);
    cluster.settle();
    cluster.assert_applied(exact);
}

// Catching up.

#[test]
fn old_entries_are_fetched_from_disk_for_a_slow_follower() {
    let mut cluster = Cluster::led(23, 3);
    cluster.crash(3, 0, true);
    for _ in 0..50 {
        cluster.propose(1, &[7; 40_000]);
        cluster.settle();
    }
    // After a restart only what is not applied is in memory.
    cluster.crash(1, 0, true);
    cluster.start(1);
    cluster.elect(1);
    cluster.start(3);
    cluster.run(4 * HEARTBEAT_TICKS);
    assert!(cluster.trace.contains("n1 fetches from"), "nothing was fetched");
    assert!(!cluster.trace.contains("Snapshot"), "the log was enough");
    assert_eq!(cluster.view(3).applied, cluster.view(1).applied);
    cluster.check_logs();
}

#[test]
fn fetched_nothing_is_asked_again() {
    let mut cluster = Cluster::led(24, 3);
    cluster.crash(3, 0, true);
    for _ in 0..5 {
        cluster.propose(1, b"a");
        cluster.settle();
    }
    cluster.crash(1, 0, true);
    cluster.start(1);
    cluster.elect(1);
    cluster.start(3);
    for _ in 0..4 * HEARTBEAT_TICKS {
        cluster.tick(1);
        cluster.deliver(|_| true);
        cluster.persist(3, usize::MAX);
        while let Some(fetch) = cluster.node(1).fetches.pop_front() {
            cluster.step(1, Input::Fetched { low: fetch.low, entries: Vec::new() });
        }
    }
    assert!(cluster.trace.matches("n1 fetches").count() > 1);
    cluster.run(2 * HEARTBEAT_TICKS);
    assert_eq!(cluster.view(3).applied, cluster.view(1).applied);
}

#[test]
fn log_is_truncated_behind_the_slowest_follower_and_state_db() {
    let mut cluster = Cluster::led(25, 3);
    fill(&mut cluster, KEEP_ENTRIES + 2_000);
    assert_eq!(cluster.view(1).first_index, Index(1), "state.db may still lose everything");
    cluster.checkpoint(1);
    let first = cluster.view(1).first_index;
    let durable = cluster.node(1).disk.durable.applied;
    assert_eq!(first.0, durable.0 - KEEP_ENTRIES + 1);
    // A follower that is alive but behind holds the log.
    cluster.crash(3, 0, true);
    fill(&mut cluster, 1_000);
    cluster.checkpoint(1);
    assert_eq!(cluster.view(1).first_index, first, "n3 was heard of a moment ago");
    cluster.run_where(1_100, &[1, 2], |_| true);
    assert!(cluster.view(1).first_index > first, "it is gone for too long");
}

fn fill(cluster: &mut Cluster, entries: u64) {
    for number in 0..entries {
        cluster.propose(1, &[7; 4_000]);
        if number % 100 == 99 {
            cluster.settle();
        }
    }
    cluster.settle();
}

#[test]
fn follower_behind_the_truncated_log_gets_a_snapshot_and_goes_on_from_it() {
    let mut cluster = Cluster::led(26, 3);
    cluster.crash(3, 0, true);
    cluster.run_where(1_100, &[1, 2], |_| true);
    fill(&mut cluster, KEEP_ENTRIES + 2_000);
    cluster.checkpoint(1);
    assert!(cluster.view(1).first_index > Index(1));
    cluster.start(3);
    cluster.run(4 * HEARTBEAT_TICKS);
    assert!(cluster.trace.contains("n3 persists #") && cluster.trace.contains("snapshot "));
    assert_eq!(cluster.view(3).applied, cluster.view(1).applied);
    let peer = cluster.view(1).peers.into_iter().find(|peer| peer.id == id(3));
    assert_eq!(peer.map(|peer| peer.state), Some(PeerState::Replicate));
    let ticket = cluster.propose(1, b"after");
    cluster.settle();
    cluster.assert_applied(ticket);
    // And over a restart.
    cluster.crash(3, 0, false);
    cluster.start(3);
    cluster.run(2 * HEARTBEAT_TICKS);
    assert_eq!(cluster.view(3).applied, cluster.view(1).applied);
}

/// TiKV #9349, #11618: a snapshot must not overtake what is being written or applied.
#[test]
fn snapshot_waits_for_writes_and_applies_in_flight() {
    let (mut cluster, snapshot) = cluster_with_snapshot();
    cluster.deliver(|message| message.to == id(3));
    assert_eq!(cluster.node(3).writes.len(), 1);
    cluster.arrive(snapshot);
    assert_eq!(cluster.node(3).writes.len(), 1, "the snapshot waits");
    cluster.persist(3, 1);
    let persist = cluster.node(3).writes.front().expect("now it comes");
    assert!(persist.snapshot.is_some());
    assert!(persist.entries.is_empty());
    cluster.settle();
    cluster.run(2 * HEARTBEAT_TICKS);
    assert_eq!(cluster.view(3).applied, cluster.view(1).applied);
    cluster.check_logs();
}

/// raft-rs #417: a second snapshot arrives before the first one is durable.
#[test]
fn second_snapshot_waits_for_the_first() {
    let (mut cluster, first) = cluster_with_snapshot();
    cluster.arrive(first.clone());
    assert!(cluster.view(3).installing);
    let mut second = first;
    let state = cluster.node(2).disk.state.clone();
    cluster.snapshots.insert(state.applied.0, state.clone());
    second.snapshot = Some(state.meta());
    assert!(second.snapshot.as_ref().is_some_and(|meta| meta.index.0 > 5));
    cluster.arrive(second);
    assert_eq!(cluster.node(3).writes.len(), 1, "one at a time");
    cluster.persist(3, 1);
    assert_eq!(cluster.node(3).writes.len(), 1);
    cluster.persist(3, 1);
    assert_eq!(cluster.view(3).applied, state.applied);
    cluster.settle();
    cluster.run(2 * HEARTBEAT_TICKS);
    assert_eq!(cluster.view(3).applied, cluster.view(1).applied);
}

/// raft-rs looks for committed entries that are not applied before it campaigns: while a snapshot
/// is being installed those are gone, and it panics.
#[test]
fn node_that_installs_a_snapshot_does_not_campaign() {
    for writes_before in [false, true] {
        let (mut cluster, snapshot) = cluster_with_snapshot();
        if writes_before {
            // The snapshot then waits in raft-rs, not in the queue of writes.
            cluster.deliver(|message| message.to == id(3));
        }
        cluster.net.clear();
        cluster.arrive(snapshot);
        cluster.net.clear();
        let before = cluster.view(3);
        assert!(before.installing);
        cluster.run_silently(3, 3 * ELECTION_TICKS);
        let after = cluster.view(3);
        assert_eq!(after.role, Role::Follower, "{writes_before}");
        assert_eq!(after.elections_started, before.elections_started, "{writes_before}");
        cluster.arrive(Message::new(MessageKind::TimeoutNow, id(1), id(3), Term(1)));
        let dropped = cluster.view(3).last_dropped;
        assert_eq!(dropped, Some((id(1), Dropped::Installing)), "{writes_before}");
        // It may again as soon as the snapshot is durable.
        cluster.persist(3, 1);
        cluster.persist(3, 1);
        assert!(!cluster.view(3).installing);
        cluster.run_silently(3, 3 * ELECTION_TICKS);
        assert_eq!(cluster.view(3).role, Role::PreCandidate, "{writes_before}");
        cluster.run(2 * ELECTION_TICKS);
        assert_eq!(cluster.view(3).applied, cluster.view(1).applied);
        cluster.check_logs();
    }
}

/// A snapshot arrives while a change from before it waits to be applied: raft-rs has switched to
/// the snapshot's configuration already, and the change must not be applied to that.
#[test]
fn change_that_a_snapshot_overtook_is_not_applied_twice() {
    let mut cluster = Cluster::led(31, 3);
    // Node 3 hands out the first change and does not get to apply it.
    cluster.change(1, &[(AddLearner, 4)]);
    for _ in 0..3 {
        (1..=3).for_each(|number| cluster.persist(number, usize::MAX));
        (1..=2).for_each(|number| cluster.apply(number, usize::MAX));
        cluster.deliver(|message| message.to != id(4));
    }
    assert_eq!(cluster.node(3).applies.len(), 1);
    for change in [vec![(Remove, 4)], vec![(AddLearner, 5)]] {
        let ticket = cluster.change(1, &change);
        for _ in 0..3 {
            (1..=2).for_each(|number| cluster.work(number));
            cluster.deliver(|message| message.to.get() <= 2);
        }
        cluster.assert_applied(ticket);
    }
    cluster.net.clear();
    let state = cluster.node(1).disk.state.clone();
    cluster.snapshots.insert(state.applied.0, state.clone());
    let mut message = Message::new(MessageKind::Snapshot, id(1), id(3), Term(1));
    message.snapshot = Some(state.meta());
    cluster.arrive(message);
    assert!(cluster.node(3).writes.is_empty(), "it waits for what is being applied");
    cluster.apply(3, usize::MAX);
    cluster.persist(3, usize::MAX);
    assert_eq!(cluster.view(3).learners, BTreeSet::from([id(5)]));
    assert_eq!(cluster.counted(3), cluster.counted(1), "raft-rs counts as everybody else");
    // And as a leader it goes on from that configuration.
    cluster.settle_where(|message| message.to.get() <= 3);
    cluster.run_where(2 * HEARTBEAT_TICKS, &[1, 2, 3], |message| message.to.get() <= 3);
    cluster.transfer(1, Some(3));
    cluster.settle_where(|message| message.to.get() <= 3);
    assert_eq!(cluster.leader(), Some(3));
    let ticket = cluster.change(3, &[(AddLearner, 4)]);
    cluster.settle_where(|message| message.to.get() <= 3);
    cluster.assert_applied(ticket);
    assert_eq!(cluster.counted(3), cluster.counted(2));
}

/// Node 3 has one entry that nobody else has; the message would bring it the state at 5.
fn cluster_with_snapshot() -> (Cluster, Message) {
    let mut cluster = Cluster::led(27, 3);
    for _ in 0..4 {
        cluster.propose(1, b"a");
        cluster.settle_where(|message| message.to != id(3));
    }
    let state = cluster.node(1).disk.state.clone();
    assert_eq!(state.applied, Index(5));
    cluster.snapshots.insert(5, state.clone());
    cluster.propose(1, b"b");
    cluster.settle_where(|message| message.to != id(3));
    let mut message = Message::new(MessageKind::Snapshot, id(1), id(3), Term(1));
    message.snapshot = Some(state.meta());
    // What was in flight to node 3 is lost; it probes again.
    cluster.step(1, Input::Unreachable(id(3)));
    cluster.run_where(2 * HEARTBEAT_TICKS, &[1, 2], |message| message.to != id(3));
    let mut entry = Message::new(MessageKind::Append, id(1), id(3), Term(1));
    entry.index = Index(1);
    entry.log_term = Term(1);
    entry.entries = cluster.node(1).disk.log.range(2..3).map(|(_, e)| e.clone()).collect();
    cluster.net.push(entry);
    (cluster, message)
}

// Starting.

#[test]
fn contradicting_disks_are_refused() {
    let mut cluster = Cluster::led(28, 3);
    for _ in 0..5 {
        cluster.propose(1, b"a");
        cluster.settle();
    }
    let good = cluster.node(1).disk.clone();
    let start = |change: &dyn Fn(&mut Disk)| {
        let mut disk = good.clone();
        change(&mut disk);
        Replica::new(config(40, 4), disk.restored(0)).err()
    };
    assert_eq!(start(&|_| {}), None);
    let lost = start(&|disk| drop(disk.log.split_off(&3)));
    assert!(matches!(lost, Some(RestoreError::AppliedBeyondLog { .. })), "{lost:?}");
    let old = start(&|disk| {
        disk.truncated = (Index(4), Term(1));
        disk.log = disk.log.split_off(&5);
        disk.state.applied = Index(2);
    });
    assert!(matches!(old, Some(RestoreError::TruncatedBeyondApplied { .. })), "{old:?}");
    let behind = start(&|disk| disk.hard_state.term = Term(0));
    assert!(matches!(behind, Some(RestoreError::TermBehindLog { .. })), "{behind:?}");
    let beyond = start(&|disk| disk.hard_state.commit = Index(99));
    assert!(matches!(beyond, Some(RestoreError::CommitBeyondLog { .. })), "{beyond:?}");
    let gap = start(&|disk| {
        disk.state.applied = Index(2);
        disk.log.remove(&4);
    });
    assert!(matches!(gap, Some(RestoreError::Tail { at: Index(5) })), "{gap:?}");
    let nobody = start(&|disk| disk.state.conf = ConfState::default());
    assert!(matches!(nobody, Some(RestoreError::Configuration(_))), "{nobody:?}");
    let timeouts = Replica::new(config(8, 4), good.restored(0)).err();
    assert_eq!(timeouts, Some(RestoreError::Timeouts { election: 8, heartbeat: 4 }));
}

fn config(election_ticks: u32, heartbeat_ticks: u32) -> Config {
    Config { id: id(1), seed: 1, election_ticks, heartbeat_ticks, keep: Keep::default() }
}

#[test]
fn stopped_replica_carries_out_nothing_more() {
    let mut cluster = Cluster::led(29, 3);
    cluster.step(1, Input::RemovedByPeers);
    let (ticket, read) = (cluster.propose(1, b"a"), cluster.read(1));
    assert_eq!(cluster.assert_refused(ticket), Refusal::NotLeader(None));
    assert_eq!(cluster.assert_refused(read), Refusal::NotLeader(None));
    cluster.net.clear();
    cluster.run_where(2 * ELECTION_TICKS, &[1], |message| !is_candidacy(message));
    assert!(cluster.net.iter().all(|message| !is_from(message, 1)));
}

#[test]
fn entries_share_the_commands_bytes_between_all_receivers() {
    let mut cluster = Cluster::led(30, 3);
    cluster.propose(1, &[9; 5_000]);
    let written: Bytes = cluster.node(1).writes[0].entries[0].data.clone();
    for message in &cluster.net {
        let sent = &message.entries[0].data;
        assert_eq!(sent.as_ptr(), written.as_ptr(), "the body was copied for {}", message.to);
    }
}
