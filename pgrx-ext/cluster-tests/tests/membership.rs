//! Adding and removing servers while the cluster works.
#![allow(clippy::unwrap_used, reason = "a statement that fails fails the test")]

use pgraft_cluster_tests::{Cluster, until};

fn nodes(cluster: &Cluster, position: usize) -> Vec<i32> {
    let mut sql = cluster.connect(position);
    let rows = sql.rows("SELECT node_id FROM pgraft_get_nodes() ORDER BY 1");
    rows.map(|rows| rows.iter().map(|row| row.get(0)).collect()).unwrap_or_default()
}

/// Whether a node has entries that are no longer in its log, but in its state only.
fn log_is_truncated(cluster: &Cluster, position: usize) -> bool {
    let query = "SELECT log_size < last_index FROM pgraft_log_get_stats()";
    cluster.connect(position).one(query).unwrap()
}

/// By snapshot, because nobody has the first entries any more.
#[test]
fn a_fourth_server_joins_catches_up_and_votes() {
    let mut cluster = Cluster::start(3);
    let mut sql = cluster.connect(0);
    // More than the 16 MiB that a node keeps of its log.
    let mut round = 0;
    until("the log is truncated on all nodes", || {
        round += 1;
        sql.run(&format!("SELECT pgraft_kv_put('big/{round}', repeat('x', 1000000))")).unwrap();
        (0..3).all(|at| log_is_truncated(&cluster, at)).then_some(())
    });
    let fourth = cluster.start_joining();
    let (host, port) = cluster.address(fourth);
    // From a follower, to show that any node will do.
    let follower = (cluster.leader_among(&[0, 1, 2]) + 1) % 3;
    let add = format!("SELECT pgraft_add_node(4, '{host}', {port})");
    assert!(cluster.connect(follower).one::<bool>(&add).unwrap());
    until("the new node knows all members", || (nodes(&cluster, fourth).len() == 4).then_some(()));
    sql.put("after", "joined").unwrap();
    cluster.wait_has(fourth, "after", "joined");
    // A status is published every few ticks, so it may lag behind what a read just saw.
    until("the new node's log begins after a snapshot", || {
        log_is_truncated(&cluster, fourth).then_some(())
    });
    for position in [0, fourth] {
        let value = cluster.connect(position).get("big/1").unwrap();
        let length = value.map(|text| text.len());
        assert_eq!(length, Some(1_000_000), "node{} has what was before", position + 1);
    }

    // A voter: four need three, so with one of the old ones dead its vote is needed.
    cluster.leader();
    let refusal = cluster.connect(0).refused(&add);
    assert_eq!(refusal.code, "42710", "{refusal}");
    let victim = (0..3).find(|at| *at != cluster.leader()).expect("two of them follow");
    cluster.servers[victim].stop();
    let second = (0..3).find(|at| *at != victim).expect("two are left");
    cluster.connect(second).put("three of four", "yes").unwrap();
    let mut sql = cluster.connect(second);
    sql.run("SET pgraft.request_timeout = '1s'").unwrap();
    until("two of the old ones are no majority without the new one", || {
        cluster.servers[fourth].suspend();
        let written = sql.put("two of four", "perhaps");
        cluster.servers[fourth].resume();
        written.is_err().then_some(())
    });
    cluster.start_server(victim);
    cluster.leader();
    cluster.assert_never_crashed();
}

#[test]
fn a_follower_and_then_the_leader_are_removed() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader();
    let (removed, left) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.connect(leader).put("a", "1").unwrap();
    let remove = |at: usize| format!("SELECT pgraft_remove_node({})", at + 1);

    assert!(cluster.connect(left).one::<bool>(&remove(removed)).unwrap());
    until("two are left", || (nodes(&cluster, leader).len() == 2).then_some(()));
    cluster.servers[removed].wait_logged("this node was removed from its cluster");
    let refusal = cluster.connect(removed).refused("SELECT pgraft_kv_put('a', '2')");
    assert_eq!(refusal.code, "57P03", "{refusal}");
    let refusal = cluster.connect(leader).refused(&remove(removed));
    assert_eq!(refusal.code, "42704", "{refusal}");

    // The leader removes itself: it hands over first.
    assert_eq!(cluster.leader_among(&[leader, left]), leader);
    let mut sql = cluster.connect(leader);
    until("the change before is finished", || sql.one::<bool>(&remove(leader)).ok());
    assert_eq!(cluster.leader_among(&[left]), left);
    until("one is left", || (nodes(&cluster, left).len() == 1).then_some(()));
    let mut sql = cluster.connect(left);
    sql.put("a", "3").unwrap();
    assert_eq!(sql.get("a").unwrap().as_deref(), Some("3"));
    assert_eq!(sql.refused(&remove(left)).code, "55000", "the last voter stays");
    cluster.assert_never_crashed();
}
