//! A node whose majority is frozen: it says so, and never serves what is old as if it were new.

use std::time::{Duration, Instant};

use pgraft_node::rpc::FailureKind;

use crate::cluster::{Cluster, DEADLINE, wait_until};

#[test]
fn a_minority_refuses_and_recovers() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader();
    let alone = &cluster.nodes[leader];
    alone.put("key", "old").unwrap();
    let others: Vec<_> = (0..3).filter(|at| *at != leader).collect();
    others.iter().for_each(|at| cluster.nodes[*at].signal("STOP"));

    wait_until("the cut-off leader steps down", || {
        alone.status().is_some_and(|status| status["state"] != "leader")
    });
    let began = Instant::now();
    let failure = alone.put("key", "lost?").unwrap_err();
    assert!(began.elapsed() < DEADLINE + Duration::from_millis(500), "{failure}");
    assert!(
        matches!(
            failure.kind,
            FailureKind::NoLeader | FailureKind::NoQuorum | FailureKind::Unknown
        ),
        "{failure:?}"
    );
    let failure = alone.get("key").unwrap_err();
    assert!(matches!(failure.kind, FailureKind::NoLeader | FailureKind::NoQuorum), "{failure:?}");
    assert_eq!(alone.get_stale("key").unwrap().as_deref(), Some("old"));

    others.iter().for_each(|at| cluster.nodes[*at].signal("CONT"));
    cluster.leader();
    cluster.nodes[others[0]].put("key", "new").unwrap();
    for node in &cluster.nodes {
        assert_eq!(node.get("key").unwrap().as_deref(), Some("new"), "{}", node.name);
    }
}

#[test]
fn a_frozen_leader_serves_nothing_stale_when_it_wakes() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader();
    let old = &cluster.nodes[leader];
    old.put("key", "old").unwrap();
    old.signal("STOP");
    let other = &cluster.nodes[(leader + 1) % 3];
    wait_until("somebody else leads and writes", || other.put("key", "new").is_ok());
    old.signal("CONT");
    // The very first answer already counts: either a refusal or the new value.
    for _ in 0..50 {
        if let Ok(value) = old.get("key") {
            assert_eq!(value.as_deref(), Some("new"));
        }
    }
    cluster.leader();
    assert_eq!(old.get("key").unwrap().as_deref(), Some("new"));
}
