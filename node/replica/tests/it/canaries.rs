//! Every checker must find the defect it exists for; one that cannot fail proves nothing.

use std::panic::catch_unwind;

use bytes::Bytes;
use pgraft_replica::invariants::{self, Leaders, Ledger, LogShape};
use pgraft_replica::{
    Committed, Entry, EntryKind, Index, Input, Message, PeerState, PeerView, Role, Term, View,
};

use crate::cluster::{Cluster, ELECTION_TICKS, id};
use crate::dice::Dice;

fn view(number: u64) -> View {
    let mut cluster = Cluster::led(number, 3);
    cluster.propose(1, b"a");
    cluster.settle();
    cluster.view(1)
}

#[test]
fn local_accepts_a_real_replica() {
    assert_eq!(invariants::local(&view(1)), Ok(()));
}

#[test]
fn canary_local_finds_what_is_applied_but_not_committed() {
    let mut view = view(1);
    view.applied = view.committed.next();
    assert!(invariants::local(&view).is_err());
}

#[test]
fn canary_local_finds_what_is_committed_but_not_in_the_log() {
    let mut view = view(1);
    view.committed = view.last_index.next();
    assert!(invariants::local(&view).is_err());
}

#[test]
fn canary_local_finds_a_log_truncated_above_what_is_applied() {
    let mut view = view(1);
    view.first_index = Index(view.applied.0 + 2);
    assert!(invariants::local(&view).is_err());
}

#[test]
fn canary_local_finds_a_leader_that_follows() {
    let mut view = view(1);
    view.leader = Some(id(2));
    assert!(invariants::local(&view).is_err());
    view.role = Role::Follower;
    view.leader = Some(id(1));
    assert!(invariants::local(&view).is_err());
}

#[test]
fn canary_local_finds_a_peer_with_more_than_the_leader() {
    let mut view = view(1);
    view.peers[0].match_index = view.last_index.next();
    assert!(invariants::local(&view).is_err());
    let peer = PeerView {
        id: id(2),
        match_index: Index(2),
        next_index: Index(2),
        state: PeerState::Replicate,
        active: true,
        pending_snapshot: None,
    };
    view.peers = vec![peer];
    assert!(invariants::local(&view).is_err(), "next must be above match");
}

#[test]
fn canary_monotonic_finds_each_thing_that_goes_back() {
    let after = view(1);
    assert_eq!(invariants::monotonic(&after, &after), Ok(()));
    type Change = fn(&mut View);
    let changes: [Change; 5] = [
        |before| before.term.0 += 1,
        |before| before.committed.0 += 1,
        |before| before.applied.0 += 1,
        |before| before.first_index.0 += 1,
        |before| before.last_index.0 += 1,
    ];
    for change in changes {
        let mut before = after.clone();
        change(&mut before);
        assert!(invariants::monotonic(&before, &after).is_err(), "{before:?}");
    }
}

#[test]
fn canary_election_safety_finds_two_leaders_of_a_term() {
    let one = view(1);
    let mut other = one.clone();
    other.id = id(2);
    assert!(invariants::election_safety(&[one.clone(), other.clone()]).is_err());
    // Also when the first one has gone meanwhile.
    let mut leaders = Leaders::default();
    leaders.observe(&one).unwrap();
    assert!(leaders.observe(&other).is_err());
    other.term.0 += 1;
    assert_eq!(leaders.observe(&other), Ok(()));
}

#[test]
fn canary_log_matching_finds_a_difference_below_a_shared_entry() {
    let shape = |terms: &[(u64, u64)], last| LogShape {
        truncated: Index(0),
        terms: terms.iter().map(|(first, term)| (Index(*first), Term(*term))).collect(),
        last: Index(last),
    };
    let one = shape(&[(1, 1), (3, 2), (5, 4)], 6);
    let fork = shape(&[(1, 1), (3, 2), (4, 3)], 6);
    assert_eq!(invariants::log_matching(&one, &fork), Ok(()), "a fork at the end is allowed");
    let broken = shape(&[(1, 1), (4, 2), (5, 4)], 6);
    assert!(invariants::log_matching(&one, &broken).is_err());
    assert!(invariants::log_matching(&broken, &one).is_err());
}

fn committed(index: u64, term: u64, data: &'static [u8]) -> Committed {
    let data = Bytes::from_static(data);
    let kind = EntryKind::Normal;
    let entry = Entry { index: Index(index), term: Term(term), kind, data };
    Committed { entry, conf_change: None, tickets: Vec::new() }
}

#[test]
fn canary_ledger_finds_another_entry_at_a_committed_index() {
    let mut ledger = Ledger::default();
    ledger.record(id(1), &committed(1, 1, b"a")).unwrap();
    assert_eq!(ledger.record(id(2), &committed(1, 1, b"a")), Ok(()));
    assert!(ledger.record(id(2), &committed(1, 1, b"b")).is_err(), "other content");
    assert!(ledger.record(id(2), &committed(1, 2, b"a")).is_err(), "other term");
}

#[test]
fn canary_completeness_finds_a_leader_that_lacks_a_committed_entry() {
    let mut ledger = Ledger::default();
    ledger.record(id(2), &committed(1, 1, b"a")).unwrap();
    ledger.record(id(2), &committed(2, 1, b"b")).unwrap();
    let mut leader = view(1);
    leader.term = Term(2);
    let terms = vec![(Index(1), Term(1))];
    let log = |last| LogShape { truncated: Index(0), terms: terms.clone(), last: Index(last) };
    assert_eq!(ledger.leader_completeness(&leader, &log(2)), Ok(()));
    assert!(ledger.leader_completeness(&leader, &log(1)).is_err());
}

// The harness as a whole: planted defects in what surrounds the replica must come to light.

/// Elections and writes under crashes, over a driver that may confirm writes which are still in
/// flight, so that a crash loses them.
fn run_with(confirms_early: bool, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut cluster = Cluster::new(seed, 3);
    cluster.fixed_voters = Some(3);
    for _ in 0..3_000 {
        let number = 1 + dice.next() % 3;
        if !cluster.is_up(number) {
            cluster.start(number);
        }
        match dice.below(20) {
            0..5 => cluster.tick(number),
            5..13 => deliver_some(&mut cluster, &mut dice),
            13..17 if confirms_early => confirm_early(&mut cluster, number),
            13..17 => cluster.persist(number, 2),
            17 => cluster.apply(number, 2),
            18 => drop(cluster.propose(number, &dice.next().to_le_bytes())),
            _ if dice.chance(30) => cluster.crash(number, 0, true),
            _ => {}
        }
    }
    cluster.check_logs();
}

fn deliver_some(cluster: &mut Cluster, dice: &mut Dice) {
    for _ in 0..3 {
        if !cluster.net.is_empty() {
            let at = dice.below(cluster.net.len());
            let message = cluster.net.remove(at);
            cluster.arrive(message);
        }
    }
}

fn confirm_early(cluster: &mut Cluster, number: u64) {
    if let Some(persist) = cluster.node(number).writes.back() {
        let number_of_write = persist.number;
        cluster.step(number, Input::Persisted { number: number_of_write });
    }
}

fn is_found(confirms_early: bool) -> bool {
    (0..60).any(|seed| catch_unwind(|| run_with(confirms_early, seed)).is_err())
}

#[test]
fn correct_driver_passes() {
    assert!(!is_found(false));
}

#[test]
fn canary_driver_that_confirms_early_is_found() {
    assert!(is_found(true));
}

/// A disk that forgets a vote lets two candidates win one term.
#[test]
#[should_panic(expected = "both lead")]
fn canary_disk_that_forgets_a_vote_is_found() {
    let mut cluster = Cluster::new(1, 3);
    for _ in 0..2 * ELECTION_TICKS {
        cluster.tick(1);
        cluster.tick(2);
    }
    // Both ask node 3 and get its word, which it then forgets between the two.
    for candidate in [1, 2] {
        for _ in 0..4 {
            let is_meant = |message: &mut Message| is_between(message, candidate, 3);
            let meant: Vec<Message> = cluster.net.extract_if(.., is_meant).collect();
            meant.into_iter().for_each(|message| cluster.arrive(message));
            cluster.work(3);
            cluster.persist(candidate, usize::MAX);
        }
        assert_eq!(cluster.view(candidate).role, Role::Leader);
        cluster.crash(3, 0, true);
        cluster.node(3).disk.hard_state.vote = None;
        cluster.start(3);
    }
}

fn is_between(message: &Message, one: u64, other: u64) -> bool {
    let (from, to) = (message.from.get(), message.to.get());
    (from, to) == (one, other) || (from, to) == (other, one)
}
