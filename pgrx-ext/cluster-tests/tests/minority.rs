//! A server that is cut off from the majority, and one that was asleep.
#![allow(clippy::unwrap_used, reason = "a statement that fails fails the test")]

use std::time::{Duration, Instant};

use pgraft_cluster_tests::{Cluster, poll};

/// The setting's default is 1 s. A leader has noticed the silence of the others within one
/// timeout, and the row in shared memory expires by itself within one.
const NOTICED_AFTER_MAX: Duration = Duration::from_secs(3);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

#[test]
fn a_minority_neither_leads_nor_writes_nor_reads_except_stale_on_request() {
    let cluster = Cluster::start(3);
    let alone = cluster.leader();
    let others = [(alone + 1) % 3, (alone + 2) % 3];
    let mut sql = cluster.connect(alone);
    sql.run("SET pgraft.request_timeout = '2s'").unwrap();
    sql.put("a", "old").unwrap();
    for other in others {
        cluster.servers[other].suspend();
    }

    let noticed = poll(NOTICED_AFTER_MAX, || {
        (!sql.one::<bool>("SELECT pgraft_is_leader()").unwrap()).then_some(())
    });
    assert!(noticed.is_some(), "it still claims to lead without a majority");
    let began = Instant::now();
    let refusal = sql.refused("SELECT pgraft_kv_put('a', 'lost')");
    assert!(["57P03", "40003"].contains(&refusal.code.as_str()), "{refusal}");
    assert!(began.elapsed() < REQUEST_TIMEOUT + Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(!refusal.hint.is_empty(), "{refusal}");
    let refusal = sql.refused("SELECT pgraft_kv_get('a')");
    assert_eq!(refusal.code, "57P03", "{refusal}");
    sql.run("SET pgraft.read_consistency = 'stale'").unwrap();
    assert_eq!(sql.get("a").unwrap().as_deref(), Some("old"), "stale reads need no majority");
    assert_eq!(sql.rows("SELECT * FROM pgraft_get_nodes()").unwrap().len(), 3);

    for other in others {
        cluster.servers[other].resume();
    }
    cluster.leader();
    cluster.connect(alone).put("a", "new").unwrap();
    for position in 0..3 {
        assert_eq!(cluster.connect(position).get("a").unwrap().as_deref(), Some("new"));
    }
    cluster.assert_never_crashed();
}

/// A leader sleeps; the others go on. When it wakes up it must not serve what it remembers.
#[test]
fn a_leader_that_slept_serves_nothing_stale() {
    let cluster = Cluster::start(3);
    for round in 0..3 {
        let asleep = cluster.leader();
        let others = [(asleep + 1) % 3, (asleep + 2) % 3];
        let mut sleeper = cluster.connect(asleep);
        sleeper.put("a", &format!("old {round}")).unwrap();
        cluster.servers[asleep].suspend();
        let successor = cluster.leader_among(&others);
        let newest = format!("new {round}");
        cluster.connect(successor).put("a", &newest).unwrap();
        cluster.servers[asleep].resume();
        // At once, in the very moment in which it wakes up.
        let leads = sleeper.one::<bool>("SELECT pgraft_is_leader()").unwrap();
        assert!(!leads, "it woke up believing that it still leads");
        let read = poll(Duration::from_secs(60), || {
            // It may refuse, but what it serves must be the newest.
            let value = sleeper.get("a").ok()?;
            assert_eq!(value.as_deref(), Some(newest.as_str()), "a stale read");
            Some(())
        });
        read.expect("it serves again");
    }
    cluster.assert_never_crashed();
}
