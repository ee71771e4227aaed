//! One test per pitfall of raft-rs 0.7 (RAFT.md 1.3), named by its letter there: each shows that
//! the replica does not fall into it.

use std::collections::BTreeSet;

use bytes::Bytes;
use pgraft_replica::ConfChangeKind::{AddLearner, AddVoter, Remove};
use pgraft_replica::limits::{SNAPSHOT_STALL_MS, TICK_MS};
use pgraft_replica::{
    Dropped, Index, Input, Message, MessageKind, PeerState, Proposal, Refusal, Role, Stop, Term,
};

use crate::cluster::{Answer, Cluster, ELECTION_TICKS, id, is_candidacy, is_from};

fn is_not(numbers: &'static [u64]) -> impl Fn(&Message) -> bool {
    move |message| !numbers.contains(&message.from.get()) && !numbers.contains(&message.to.get())
}

#[test]
fn pitfall_a_leader_asked_to_remove_itself_hands_over_first() {
    let mut cluster = Cluster::led(1, 3);
    let ticket = cluster.change(1, &[(Remove, 1)]);
    let refusal = cluster.assert_refused(ticket);
    assert!(
        matches!(&refusal, Refusal::Transfer(why) if why.contains("takes over")),
        "{refusal:?}"
    );
    cluster.settle();
    let leader = cluster.leader().expect("somebody took over");
    assert_ne!(leader, 1);
    let again = cluster.change(leader, &[(Remove, 1)]);
    cluster.settle();
    cluster.assert_applied(again);
    cluster.run(10);
    assert_eq!(cluster.node(1).stop, Some(Stop::Removed), "it hears of the commit and stops");
    let last = cluster.propose(leader, b"goes on");
    cluster.settle();
    cluster.assert_applied(last);
}

/// The same for a demotion, and inside a joint change.
#[test]
fn pitfall_a_leader_asked_to_demote_itself_hands_over_first() {
    let mut cluster = Cluster::led(1, 3);
    let ticket = cluster.change(1, &[(AddLearner, 1), (AddLearner, 4)]);
    assert!(matches!(cluster.assert_refused(ticket), Refusal::Transfer(_)));
    cluster.settle();
    assert_ne!(cluster.leader(), Some(1));
}

/// A node can come to lead with its own removal in the log, whatever it refuses to propose. It
/// must stop when it applies that, before raft-rs looks for its own progress and panics.
#[test]
fn pitfall_a2_leader_that_inherits_its_own_removal_stops() {
    let mut cluster = Cluster::led(2, 3);
    cluster.change(1, &[(Remove, 2)]);
    cluster.persist(1, usize::MAX);
    cluster.deliver(|_| true);
    cluster.persist(2, usize::MAX);
    cluster.persist(3, usize::MAX);
    cluster.net.clear();
    cluster.crash(1, 0, true);
    // Only node 2 may win.
    for _ in 0..3 * ELECTION_TICKS {
        cluster.tick(2);
        cluster.tick(3);
        cluster.persist(2, usize::MAX);
        cluster.persist(3, usize::MAX);
        cluster.deliver(|message| {
            let asks = is_candidacy(message) && is_from(message, 3);
            message.kind != MessageKind::Append && !asks
        });
        if cluster.view(2).role == Role::Leader {
            break;
        }
    }
    assert_eq!(cluster.view(2).role, Role::Leader);
    cluster.net.clear();
    for _ in 0..10 {
        cluster.tick(2);
        cluster.propose(2, b"more");
        cluster.persist(3, usize::MAX);
        cluster.deliver(|_| true);
    }
    cluster.persist(2, 1);
    cluster.settle();
    assert_eq!(cluster.node(2).stop, Some(Stop::Removed));
    cluster.start(1);
    cluster.run_where(4 * ELECTION_TICKS, &[1, 3], |_| true);
    let leader = cluster.await_leader(&[1, 3], &BTreeSet::new());
    let ticket = cluster.propose(leader, b"goes on");
    cluster.settle();
    cluster.assert_applied(ticket);
}

/// A context used twice lets late answers to the first read confirm the second (etcd #20418).
#[test]
fn pitfall_b_read_contexts_are_never_used_twice() {
    let mut cluster = Cluster::led(3, 3);
    let mut seen: BTreeSet<Bytes> = BTreeSet::new();
    for _ in 0..3 {
        cluster.read(1);
        // Long enough for several retries: each must have a context of its own.
        for _ in 0..ELECTION_TICKS / 2 {
            cluster.tick(1);
            let contexts = cluster.net.iter().map(|message| message.context.clone());
            let fresh: BTreeSet<Bytes> = contexts.filter(|context| !context.is_empty()).collect();
            seen.extend(fresh);
            cluster.net.clear();
        }
        cluster.crash(1, 0, true);
        cluster.start(1);
        cluster.elect(1);
    }
    assert!(seen.len() >= 6, "expected retries, saw {} contexts", seen.len());
    assert!(seen.iter().all(|context| context.len() == 16));
}

/// The reproduction of R-B: a deposed leader must not answer by delayed heartbeat responses.
#[test]
fn pitfall_b_delayed_answers_do_not_confirm_a_later_read() {
    let mut cluster = Cluster::led(4, 3);
    let first = cluster.read(1);
    cluster.deliver(|message| message.kind == MessageKind::Heartbeat);
    let delayed = std::mem::take(&mut cluster.net);
    assert_eq!(delayed.len(), 2, "both followers answered");
    let cut = BTreeSet::from([1]);
    let leader = cluster.await_leader(&[2, 3], &cut);
    let ticket = cluster.propose(leader, b"newer");
    cluster.settle_where(is_not(&[1]));
    cluster.assert_applied(ticket);
    let later = cluster.read(1);
    cluster.net.clear();
    for message in delayed {
        cluster.arrive(message);
    }
    assert!(matches!(cluster.answer_of(first), Some(Answer::Read(_))), "it began before");
    assert_eq!(cluster.answer_of(later), None, "a stale read");
    cluster.run_where(2 * ELECTION_TICKS, &[1], |_| false);
    assert!(matches!(cluster.assert_refused(later), Refusal::NotLeader(_) | Refusal::NoQuorum));
}

#[test]
fn pitfall_c_read_before_the_first_commit_of_a_term_waits() {
    let mut cluster = Cluster::new(5, 3);
    while cluster.view(1).role != Role::Leader {
        cluster.tick(1);
        cluster.settle_where(|message| message.kind != MessageKind::Append);
    }
    let ticket = cluster.read(1);
    cluster.settle_where(|message| message.kind != MessageKind::Append);
    assert_eq!(cluster.answer_of(ticket), None, "it does not know what is committed");
    cluster.run(10);
    assert!(matches!(cluster.answer_of(ticket), Some(Answer::Read(Index(1)))));
}

#[test]
fn pitfall_c2_reads_are_refused_at_step_down() {
    let mut cluster = Cluster::led(6, 3);
    let tickets: Vec<_> = (0..10).map(|_| cluster.read(1)).collect();
    cluster.run_where(ELECTION_TICKS, &[1], |_| false);
    assert_eq!(cluster.view(1).role, Role::Follower, "check-quorum");
    for ticket in tickets {
        let refusal = cluster.assert_refused(ticket);
        assert!(matches!(refusal, Refusal::NotLeader(None) | Refusal::NoQuorum), "{refusal:?}");
    }
}

#[test]
fn pitfall_d_second_conf_change_is_refused_while_one_is_pending() {
    let mut cluster = Cluster::led(7, 3);
    let first = cluster.change(1, &[(AddLearner, 4)]);
    let second = cluster.change(1, &[(AddLearner, 5)]);
    assert_eq!(cluster.assert_refused(second), Refusal::Busy);
    cluster.settle();
    cluster.assert_applied(first);
    let third = cluster.change(1, &[(AddLearner, 5)]);
    cluster.settle();
    cluster.assert_applied(third);
    assert_eq!(cluster.view(1).learners, BTreeSet::from([id(4), id(5)]));
}

#[test]
fn pitfall_e_commit_beyond_the_log_stops_the_node() {
    let mut cluster = Cluster::led(8, 3);
    let last = cluster.view(2).last_index;
    let mut heartbeat = Message::new(MessageKind::Heartbeat, id(1), id(2), Term(1));
    heartbeat.commit = Index(1000);
    cluster.arrive(heartbeat);
    assert_eq!(cluster.node(2).stop, Some(Stop::LogLost { commit: Index(1000), last }));
    // From a term that is over it means nothing.
    let mut stale = Message::new(MessageKind::Heartbeat, id(1), id(3), Term(1));
    stale.commit = Index(1000);
    cluster.step(3, Input::Received(Message::new(MessageKind::Vote, id(2), id(3), Term(9))));
    cluster.run_where(2 * ELECTION_TICKS, &[3], |_| false);
    cluster.step(3, Input::Received(Message::new(MessageKind::Vote, id(2), id(3), Term(9))));
    assert_eq!(cluster.view(3).term, Term(9));
    cluster.arrive(stale);
    assert_eq!(cluster.node(3).stop, None);
}

/// A lost disk under the same id, for real: the leader remembers what the node had.
#[test]
fn pitfall_e_node_with_a_lost_disk_stops() {
    let mut cluster = Cluster::led(9, 3);
    cluster.propose(1, b"a");
    cluster.settle();
    cluster.crash(3, 0, true);
    cluster.join(3);
    cluster.run(10);
    let stop = cluster.node(3).stop.clone();
    assert!(matches!(stop, Some(Stop::LogLost { last: Index(0), .. })), "{stop:?}");
}

#[test]
fn pitfall_e2_proposals_never_cross_the_wire() {
    let mut cluster = Cluster::led(10, 3);
    let ticket = cluster.propose(2, b"a");
    assert_eq!(cluster.assert_refused(ticket), Refusal::NotLeader(Some(id(1))));
    assert!(cluster.net.is_empty(), "a follower forwards nothing: {:?}", cluster.net);
    cluster.step(1, Input::Propose(Vec::new()));
    assert!(cluster.net.is_empty(), "and a leader proposes nothing without commands");
}

#[test]
fn pitfall_e3_reads_never_cross_the_wire() {
    let mut cluster = Cluster::led(11, 3);
    let ticket = cluster.read(2);
    assert_eq!(cluster.assert_refused(ticket), Refusal::NotLeader(Some(id(1))));
    cluster.step(1, Input::Read(Vec::new()));
    assert!(cluster.net.is_empty(), "{:?}", cluster.net);
}

#[test]
fn pitfall_e4_followers_cannot_move_leadership() {
    let mut cluster = Cluster::led(12, 3);
    let ticket = cluster.transfer(2, Some(2));
    assert_eq!(cluster.assert_refused(ticket), Refusal::NotLeader(Some(id(1))));
    cluster.settle();
    assert_eq!(cluster.leader(), Some(1));
}

#[test]
fn pitfall_e5_timeout_now_counts_only_from_the_leader() {
    let mut cluster = Cluster::led(13, 3);
    let term = cluster.view(2).term;
    cluster.arrive(Message::new(MessageKind::TimeoutNow, id(3), id(2), term));
    cluster.arrive(Message::new(MessageKind::TimeoutNow, id(3), id(2), Term(term.0 + 1)));
    assert_eq!((cluster.view(2).role, cluster.view(2).term), (Role::Follower, term));
    assert_eq!(cluster.view(2).last_dropped, Some((id(3), Dropped::NotOurLeader)));
    cluster.arrive(Message::new(MessageKind::TimeoutNow, id(1), id(2), term));
    assert_eq!(cluster.view(2).role, Role::Candidate);
}

#[test]
fn pitfall_f_lost_snapshot_is_sent_again() {
    let mut cluster = Cluster::led(14, 3);
    cluster.crash(3, 0, true);
    for _ in 0..10 {
        cluster.propose(1, b"a");
        cluster.settle();
    }
    truncate_everywhere(&mut cluster, &[1, 2]);
    cluster.start(3);
    // The message is lost and nobody says so.
    cluster.run_where(100, &[1, 2, 3], |message| message.kind != MessageKind::Snapshot);
    let peer = cluster.view(1).peers.into_iter().find(|peer| peer.id == id(3));
    assert_eq!(peer.map(|peer| peer.state), Some(PeerState::Snapshot));
    let patience = u32::try_from(SNAPSHOT_STALL_MS / TICK_MS).expect("it fits");
    cluster.run(patience);
    assert_eq!(cluster.view(3).applied, cluster.view(1).applied);
    cluster.check_logs();
}

/// Restarts nodes with everything applied truncated; node 1 leads again.
fn truncate_everywhere(cluster: &mut Cluster, numbers: &[u64]) {
    for number in numbers {
        cluster.checkpoint(*number);
        cluster.crash(*number, 0, true);
        let applied = cluster.node(*number).disk.durable.applied;
        cluster.node(*number).disk.truncate(applied);
        cluster.start(*number);
    }
    cluster.elect(1);
}

#[test]
fn pitfall_g_joint_configuration_is_left_without_waiting_for_anything() {
    let mut cluster = Cluster::led(15, 3);
    cluster.join(4);
    cluster.join(5);
    let ticket = cluster.change(1, &[(AddLearner, 4), (AddLearner, 5)]);
    // No tick: what must happen happens at rest.
    cluster.settle();
    cluster.assert_applied(ticket);
    for number in 1..=5 {
        assert!(!cluster.view(number).joint, "node {number} is still joint");
    }
    assert_eq!(cluster.view(5).learners, BTreeSet::from([id(4), id(5)]));
}

#[test]
fn pitfall_j_commands_of_one_turn_share_entries_and_messages() {
    let mut cluster = Cluster::led(16, 3);
    let last = cluster.view(1).last_index;
    let proposals: Vec<Proposal> = (0..600)
        .map(|_| Proposal { ticket: cluster.ticket(), command: Bytes::from_static(b"command") })
        .collect();
    let tickets: Vec<_> = proposals.iter().map(|proposal| proposal.ticket).collect();
    cluster.step(1, Input::Propose(proposals));
    assert_eq!(cluster.view(1).last_index, Index(last.0 + 3), "256 commands per entry");
    assert_eq!(cluster.net.len(), 2, "one message per follower");
    cluster.settle();
    for ticket in tickets {
        cluster.assert_applied(ticket);
    }
}

#[test]
fn pitfall_k_sole_voter_does_not_campaign_before_its_log_is_durable() {
    let mut cluster = Cluster::led(17, 1);
    cluster.propose(1, b"a");
    assert_eq!(cluster.node(1).writes.len(), 1);
    // A stray leader of a higher term takes its place while the write is on its way.
    let term = cluster.view(1).term;
    cluster.arrive(Message::new(MessageKind::Heartbeat, id(9), id(1), Term(term.0 + 5)));
    assert_eq!(cluster.view(1).role, Role::Follower);
    for _ in 0..3 * ELECTION_TICKS {
        cluster.tick(1);
    }
    assert_eq!(cluster.view(1).role, Role::Follower, "it waits for its disk");
    cluster.persist(1, usize::MAX);
    cluster.elect(1);
    let ticket = cluster.propose(1, b"b");
    cluster.settle();
    cluster.assert_applied(ticket);
}

/// raft-rs lets a leader's messages leave at once; a sole voter leads before its term is durable.
#[test]
fn pitfall_k_sole_voter_with_a_learner_says_nothing_in_a_term_that_is_not_durable() {
    let mut cluster = Cluster::led(18, 1);
    cluster.join(2);
    cluster.change(1, &[(AddLearner, 2)]);
    cluster.settle();
    cluster.run(10);
    assert_eq!(cluster.view(2).applied, cluster.view(1).applied);
    cluster.crash(1, 0, true);
    cluster.start(1);
    while cluster.view(1).role != Role::Leader {
        cluster.tick(1);
    }
    cluster.propose(1, b"a");
    assert!(cluster.net.is_empty(), "{:?}", cluster.net);
    // It crashes, and leads the same term again with another log.
    let term = cluster.view(1).term;
    cluster.crash(1, 0, true);
    cluster.start(1);
    while cluster.view(1).role != Role::Leader {
        cluster.tick(1);
    }
    assert_eq!(cluster.view(1).term, term);
    cluster.propose(1, b"b");
    cluster.settle();
    cluster.run(10);
    assert_eq!(cluster.view(2).applied, cluster.view(1).applied);
}

#[test]
fn pitfall_m_conf_changes_take_effect_before_the_applied_index() {
    let mut cluster = Cluster::led(19, 3);
    let ticket = cluster.change(1, &[(AddVoter, 4), (AddVoter, 5)]);
    for _ in 0..5 {
        cluster.propose(1, b"behind it");
    }
    cluster.join(4);
    cluster.join(5);
    // All in one batch: the change and what stands behind it.
    cluster.settle();
    cluster.assert_applied(ticket);
    assert!(!cluster.view(1).joint);
    assert_eq!(cluster.view(1).voters.len(), 5);
    cluster.run(10);
    let next = cluster.change(1, &[(AddLearner, 5)]);
    cluster.settle();
    cluster.assert_applied(next);
}

#[test]
fn pitfall_n_every_proposal_beyond_the_limit_is_refused() {
    let mut cluster = Cluster::led(20, 3);
    let command = vec![7; 1 << 20];
    let tickets: Vec<_> = (0..20).map(|_| cluster.propose(1, &command)).collect();
    let refused = |cluster: &Cluster, ticket| {
        matches!(cluster.answer_of(ticket), Some(Answer::Refused(Refusal::Busy)))
    };
    let busy = tickets.iter().filter(|ticket| refused(&cluster, **ticket)).count();
    assert_eq!(busy, 13, "8 MiB may be uncommitted");
    cluster.settle();
    for ticket in &tickets {
        assert!(cluster.answer_of(*ticket).is_some(), "request {} vanished", ticket.0);
    }
    let after = cluster.propose(1, &command);
    cluster.settle();
    cluster.assert_applied(after);
}

#[test]
fn pitfall_o_removed_node_does_not_disturb() {
    let mut cluster = Cluster::led(21, 3);
    // Node 3 never learns that it is removed.
    let ticket = cluster.change(1, &[(Remove, 3)]);
    cluster.settle_where(is_not(&[3]));
    cluster.assert_applied(ticket);
    let term = cluster.view(1).term;
    cluster.run(10 * ELECTION_TICKS);
    assert_eq!((cluster.leader(), cluster.view(1).term), (Some(1), term));
    assert_eq!(cluster.view(3).role, Role::PreCandidate);
    assert_eq!(cluster.view(3).term, term);
    cluster.step(3, Input::RemovedByPeers);
    assert_eq!(cluster.node(3).stop, Some(Stop::Removed));
}
