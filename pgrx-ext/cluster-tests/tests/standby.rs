//! PostgreSQL's own replication beside ours: a standby is a node like any other, and a base backup
//! must not clone one.
#![allow(clippy::unwrap_used, reason = "a statement that fails fails the test")]

use pgraft_cluster_tests::{Cluster, Module, Server, free_ports, until};

/// A base backup takes the folder of the node along. It would vote twice: it must refuse.
#[test]
fn a_copied_node_is_refused_with_the_way_out() {
    let mut cluster = Cluster::start(1);
    cluster.connect(0).put("a", "1").unwrap();
    cluster.servers[0].stop();
    let mut copy = Server::copy_of(&cluster.tree, &cluster.servers[0], "copy");
    cluster.start_server(0);
    cluster.leader();
    copy.start(&cluster.tree);
    copy.wait_logged("is a copy");
    let mut sql = copy.connect();
    assert!(!sql.one::<bool>("SELECT pgraft_is_leader()").unwrap());
    let refusal = sql.refused("SELECT pgraft_kv_put('a', '2')");
    assert_eq!(refusal.code, "57P03", "{refusal}");
    assert_eq!(cluster.connect(0).get("a").unwrap().as_deref(), Some("1"));
    copy.stop();
    copy.assert_never_crashed();
    cluster.assert_never_crashed();
}

/// A hot standby cannot write to PostgreSQL, but its node is a full member.
#[test]
fn a_hot_standby_works_as_a_node() {
    let settings = [("wal_level", "replica"), ("max_wal_senders", "4"), ("hot_standby", "on")];
    let tree = pgraft_cluster_tests::Tree::default_major();
    let mut cluster = Cluster::start_with(tree, 1, &settings);
    let primary_folder = cluster.servers[0].data().parent().unwrap().display().to_string();
    cluster.connect(0).put("a", "1").unwrap();
    cluster.servers[0].stop();
    let mut standby = Server::copy_of(&cluster.tree, &cluster.servers[0], "standby");
    cluster.start_server(0);

    std::fs::remove_dir_all(standby.data().join("pgraft")).unwrap();
    std::fs::write(standby.data().join("standby.signal"), "").unwrap();
    let (host, port) = ("127.0.0.1", free_ports(1)[0]);
    let address = format!("{host}:{port}");
    let (first_host, first_port) = cluster.address(0);
    let members = format!("node1={first_host}:{first_port},node2={address}");
    standby.configure(&[
        ("primary_conninfo", &format!("host={primary_folder} port=5432 user=postgres")),
        ("pgraft.name", "node2"),
        ("pgraft.listen_address", &address),
        ("pgraft.initial_cluster", &members),
        ("pgraft.initial_cluster_state", "existing"),
    ]);
    standby.start(&cluster.tree);
    let mut sql = standby.connect();
    assert!(sql.one::<bool>("SELECT pg_is_in_recovery()").unwrap());
    cluster.leader();
    let add = format!("SELECT pgraft_add_node(2, '{host}', {port})");
    assert!(cluster.connect(0).one::<bool>(&add).unwrap());
    until("the standby's node has joined", || sql.get("a").ok().flatten());
    until("the standby writes to the cluster", || sql.put("b", "from the standby").ok());
    let value = cluster.connect(0).get("b").unwrap();
    assert_eq!(value.as_deref(), Some("from the standby"));
    let module = Module::build("examples/counter", &[]).literal();
    sql.run(&format!("SELECT pgraft_machine_install('fruit', {module})")).unwrap();
    let add = "SELECT pgraft_call('fruit', '{\"add\":\"apples\"}')::text";
    assert_eq!(sql.one::<String>(add).unwrap(), "1", "a machine, from the standby");
    let get = "SELECT pgraft_query('fruit', '{\"get\":\"apples\"}')::text";
    assert_eq!(cluster.connect(0).one::<String>(get).unwrap(), "1");
    assert_eq!(sql.refused("CREATE TABLE t ()").code, "25006", "PostgreSQL itself stays read-only");
    standby.stop();
    standby.assert_never_crashed();
    cluster.assert_never_crashed();
}
