//! Three servers that form a cluster, and are killed and restarted.
#![allow(clippy::unwrap_used, reason = "a statement that fails fails the test")]

use pgraft_cluster_tests::{Cluster, Watch, Writer, until};

#[test]
fn three_servers_form_a_cluster_and_a_put_on_a_follower_is_read_everywhere() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader();
    let follower = (leader + 1) % 3;
    cluster.connect(follower).put("app/config", "{\"timeout\":30}").unwrap();
    for position in 0..3 {
        let value = cluster.connect(position).get("app/config").unwrap();
        assert_eq!(value.as_deref(), Some("{\"timeout\":30}"), "node{}", position + 1);
    }
    let leads = "SELECT pgraft_is_leader()";
    let leaders = (0..3).filter(|at| cluster.connect(*at).one::<bool>(leads).unwrap()).count();
    assert_eq!(leaders, 1, "is_leader is true on exactly one");
    let nodes =
        cluster.connect(follower).rows("SELECT * FROM pgraft_get_nodes() ORDER BY 1").unwrap();
    let leading: Vec<i32> =
        nodes.iter().filter(|row| row.get("is_leader")).map(|row| row.get("node_id")).collect();
    assert_eq!((nodes.len(), leading), (3, vec![i32::try_from(leader + 1).unwrap()]));
    cluster.assert_never_crashed();
}

/// Leader, follower and all three are killed, each with writes in flight; then each is restarted.
#[test]
fn no_acknowledged_write_is_lost_by_kills() {
    let mut cluster = Cluster::start(3);
    let watch = Watch::start(&cluster);
    let writer = Writer::start(&cluster, "kill");
    writer.wait_for(20);

    let leader = cluster.leader();
    cluster.servers[leader].kill();
    writer.wait_for(20);
    cluster.start_server(leader);
    cluster.leader();

    let follower = (cluster.leader() + 1) % 3;
    cluster.servers[follower].kill_postmaster();
    writer.wait_for(20);
    cluster.start_server(follower);
    cluster.leader();

    for position in 0..3 {
        cluster.servers[position].kill();
    }
    for position in 0..3 {
        cluster.start_server(position);
    }
    cluster.leader();
    writer.wait_for(20);

    let terms = watch.judge();
    assert!(terms >= 2, "the leader changed, yet only {terms} terms were seen");
    writer.judge(&cluster);
    cluster.assert_never_crashed();
}

#[test]
fn no_acknowledged_write_is_lost_by_clean_restarts() {
    let mut cluster = Cluster::start(3);
    let watch = Watch::start(&cluster);
    let writer = Writer::start(&cluster, "clean");
    for position in 0..3 {
        writer.wait_for(10);
        cluster.servers[position].stop();
        writer.wait_for(10);
        cluster.start_server(position);
        cluster.leader();
    }
    for position in 0..3 {
        cluster.servers[position].stop();
    }
    for position in 0..3 {
        cluster.start_server(position);
    }
    cluster.leader();
    writer.wait_for(10);
    watch.judge();
    writer.judge(&cluster);
    cluster.assert_never_crashed();
}

/// A crash of a backend makes the postmaster start everything anew, the worker too.
#[test]
fn a_crashed_backend_takes_the_worker_along_and_both_come_back() {
    let cluster = Cluster::start(1);
    let mut sql = cluster.connect(0);
    sql.put("a", "1").unwrap();
    let worker = cluster.servers[0].worker();
    let backend = sql.one::<i32>("SELECT pg_backend_pid()").unwrap();
    cluster.servers[0].signal_child(u32::try_from(backend).unwrap(), libc::SIGKILL);
    until("another worker runs", || cluster.servers[0].worker().filter(|now| Some(*now) != worker));
    cluster.leader();
    assert_eq!(cluster.connect(0).get("a").unwrap().as_deref(), Some("1"));
}
