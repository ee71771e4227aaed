//! Members come and go.

use std::collections::BTreeSet;

use pgraft_replica::ConfChangeKind::{AddLearner, AddVoter, Remove};
use pgraft_replica::limits::PROMOTE_LAG_ENTRIES_MAX;
use pgraft_replica::{ConfChange, ConfError, ConfState, PeerState, Refusal, Role, Stop};

use crate::cluster::{Cluster, ELECTION_TICKS, HEARTBEAT_TICKS, id};

#[test]
fn learner_is_caught_up_shown_in_the_view_and_promoted() {
    let mut cluster = Cluster::led(1, 3);
    for _ in 0..20 {
        cluster.propose(1, b"a");
        cluster.settle();
    }
    cluster.join(4);
    cluster.change(1, &[(AddLearner, 4)]);
    cluster.settle();
    let view = cluster.view(1);
    assert_eq!(view.learners, BTreeSet::from([id(4)]));
    let peer = view.peers.iter().find(|peer| peer.id == id(4)).expect("the learner is a peer");
    // All that the promotion is decided by.
    let lag = peer.match_index.distance_to(view.last_index);
    assert!(lag <= PROMOTE_LAG_ENTRIES_MAX, "it is {lag} entries behind");
    assert_eq!((peer.state, peer.active), (PeerState::Replicate, true));
    cluster.change(1, &[(AddVoter, 4)]);
    cluster.settle();
    assert_eq!(cluster.view(4).voters.len(), 4);
    assert!(cluster.view(4).learners.is_empty());
}

#[test]
fn learner_never_campaigns() {
    let mut cluster = Cluster::led(2, 3);
    cluster.join(4);
    cluster.change(1, &[(AddLearner, 4)]);
    cluster.settle();
    cluster.run_where(5 * ELECTION_TICKS, &[4], |_| false);
    assert_eq!(cluster.view(4).role, Role::Follower);
    assert_eq!(cluster.view(4).elections_started, 0);
}

#[test]
fn node_that_waits_to_be_added_never_campaigns() {
    let mut cluster = Cluster::led(3, 3);
    cluster.join(4);
    cluster.run_where(5 * ELECTION_TICKS, &[4], |_| false);
    assert_eq!((cluster.view(4).role, cluster.view(4).elections_started), (Role::Follower, 0));
}

#[test]
fn change_that_does_not_apply_is_refused_with_its_reason() {
    let mut cluster = Cluster::led(4, 1);
    let ticket = cluster.change(1, &[(Remove, 1)]);
    let refusal = cluster.assert_refused(ticket);
    assert_eq!(refusal, Refusal::ConfChange(ConfError::NoVoters));
    let ticket = cluster.change(1, &[]);
    assert_eq!(cluster.assert_refused(ticket), Refusal::ConfChange(ConfError::NotJoint));
}

/// TiKV #10595: the two-voter cluster is where removal goes wrong.
#[test]
fn leader_of_two_voters_is_removed_without_losing_the_cluster() {
    let mut cluster = Cluster::led(5, 2);
    let ticket = cluster.change(1, &[(Remove, 1)]);
    assert!(matches!(cluster.assert_refused(ticket), Refusal::Transfer(_)));
    cluster.settle();
    assert_eq!(cluster.leader(), Some(2));
    cluster.change(2, &[(Remove, 1)]);
    cluster.settle();
    assert_eq!(cluster.view(2).voters, BTreeSet::from([id(2)]));
    cluster.crash(1, 0, true);
    let ticket = cluster.propose(2, b"alone");
    cluster.settle();
    cluster.assert_applied(ticket);
}

#[test]
fn removed_node_that_starts_again_stays_quiet() {
    let mut cluster = Cluster::led(6, 3);
    cluster.change(1, &[(Remove, 3)]);
    cluster.settle();
    cluster.run(2 * HEARTBEAT_TICKS);
    assert_eq!(cluster.node(3).stop, Some(Stop::Removed));
    cluster.crash(3, usize::MAX, true);
    cluster.start(3);
    let term = cluster.view(1).term;
    cluster.run(5 * ELECTION_TICKS);
    assert_eq!(cluster.view(3).role, Role::Follower);
    assert_eq!((cluster.leader(), cluster.view(1).term), (Some(1), term));
}

#[test]
fn whole_cluster_is_replaced_in_one_joint_change() {
    let mut cluster = Cluster::led(7, 3);
    for number in 4..=6 {
        cluster.join(number);
        cluster.change(1, &[(AddLearner, number)]);
        cluster.settle();
    }
    let all = [(AddVoter, 4), (AddVoter, 5), (AddVoter, 6), (Remove, 2), (Remove, 3)];
    let ticket = cluster.change(1, &all);
    cluster.settle();
    cluster.assert_applied(ticket);
    cluster.change(1, &[(Remove, 1)]);
    cluster.settle();
    let leader = cluster.leader().expect("somebody took over");
    cluster.change(leader, &[(Remove, 1)]);
    cluster.settle();
    cluster.run(2 * ELECTION_TICKS);
    assert_eq!(cluster.view(leader).voters, (4..=6).map(id).collect());
    assert_eq!(cluster.node(2).stop, Some(Stop::Removed));
}

/// A leader that dies in a joint configuration leaves it to the next one.
#[test]
fn joint_configuration_is_left_by_the_next_leader() {
    let mut cluster = Cluster::led(8, 3);
    cluster.join(4);
    cluster.change(1, &[(AddVoter, 4), (AddLearner, 3)]);
    for _ in 0..6 {
        for number in 1..=4 {
            cluster.persist(number, usize::MAX);
        }
        cluster.deliver(|_| true);
    }
    cluster.apply(1, usize::MAX);
    assert!(cluster.view(1).joint);
    cluster.crash(1, 0, false);
    cluster.net.clear();
    for number in 2..=4 {
        cluster.apply(number, usize::MAX);
    }
    cluster.run_where(4 * ELECTION_TICKS, &[2, 3, 4], |_| true);
    let leader = cluster.leader().expect("two of three and three of four are there");
    assert!(!cluster.view(leader).joint);
    assert_eq!(cluster.view(leader).voters, BTreeSet::from([id(1), id(2), id(4)]));
    assert_eq!(cluster.view(leader).learners, BTreeSet::from([id(3)]));
}

#[test]
fn conf_state_follows_the_rules_of_joint_consensus() {
    let conf = ConfState { voters: [1, 2, 3].map(id).into(), ..ConfState::default() };
    let change = |changes: &[(pgraft_replica::ConfChangeKind, u64)]| ConfChange {
        changes: changes.iter().map(|(kind, number)| (*kind, id(*number))).collect(),
        ..ConfChange::default()
    };
    let joint = conf.changed_by(&change(&[(AddLearner, 3), (AddVoter, 4)])).unwrap();
    assert_eq!(joint.voters, [1, 2, 4].map(id).into());
    assert_eq!(joint.voters_outgoing, [1, 2, 3].map(id).into());
    assert_eq!(joint.learners_next, [3].map(id).into());
    assert!(joint.learners.is_empty() && joint.is_joint() && joint.is_valid());
    assert_eq!(joint.changed_by(&change(&[(Remove, 1)])), Err(ConfError::Joint));
    let left = joint.changed_by(&change(&[])).unwrap();
    assert_eq!((left.voters.len(), left.learners), (3, [3].map(id).into()));
    assert_eq!(conf.changed_by(&change(&[])), Err(ConfError::NotJoint));
}
