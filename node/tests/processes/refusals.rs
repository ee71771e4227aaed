//! What a node refuses: another disk under its id, a copy of its disk, a wrong token.

use crate::cluster::{Cluster, wait_until};

#[test]
fn a_wiped_disk_does_not_come_back_under_the_same_id() {
    let mut cluster = Cluster::start(3);
    let victim = (cluster.leader() + 1) % 3;
    wait_until("all members announced their incarnation", || {
        cluster.nodes[victim].log().contains("announced")
    });
    cluster.nodes[0].put("key", "value").unwrap();
    cluster.nodes[victim].kill();
    std::fs::remove_dir_all(&cluster.nodes[victim].dir).unwrap();
    cluster.boot(victim);
    assert_eq!(cluster.nodes[victim].wait_for_end(), Some(1));
    let log = cluster.nodes[victim].log();
    assert!(log.contains("remove the member and add it again"), "{log}");
    let leader = cluster.leader();
    assert_eq!(cluster.nodes[leader].get("key").unwrap().as_deref(), Some("value"));
}

#[test]
fn a_copied_data_directory_is_refused() {
    let mut cluster = Cluster::start(1);
    cluster.nodes[0].put("key", "value").unwrap();
    assert!(cluster.nodes[0].stop());
    let (original, copy) = (cluster.nodes[0].dir.clone(), cluster.nodes[0].dir.with_extension("c"));
    let copied = std::process::Command::new("cp").arg("-a").args([&original, &copy]).status();
    assert!(copied.unwrap().success());
    std::fs::remove_dir_all(&original).unwrap();
    std::fs::rename(&copy, &original).unwrap();
    cluster.boot(0);
    assert_eq!(cluster.nodes[0].wait_for_end(), Some(1));
    assert!(cluster.nodes[0].log().contains("is a copy"), "{}", cluster.nodes[0].log());
}

#[test]
fn a_node_alone_can_be_restarted_before_the_cluster_forms() {
    let mut cluster = Cluster::assemble(3, &[]);
    cluster.boot(0);
    for _ in 0..2 {
        wait_until("the node answers", || cluster.nodes[0].status().is_some());
        cluster.nodes[0].kill();
        cluster.boot(0);
    }
    cluster.boot(1);
    cluster.boot(2);
    cluster.leader();
    cluster.nodes[0].put("key", "value").unwrap();
}

#[test]
fn an_idle_client_does_not_hold_up_the_end() {
    let mut cluster = Cluster::start(1);
    let wait = crate::cluster::DEADLINE;
    let idle = pgraft_node::client::Client::connect(&cluster.nodes[0].socket(), wait).unwrap();
    assert!(cluster.nodes[0].stop(), "{}", cluster.nodes[0].log());
    drop(idle);
}

#[test]
fn bad_settings_name_the_value_and_the_limit() {
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_pgraft"))
            .args(["node", "--name", "a", "--listen-address", "127.0.0.1:1"])
            .args(["--initial-cluster", "a=127.0.0.1:1", "--data-dir", "/nonexistent/x"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(&["--election-timeout", "5"]).contains("5 ms, allowed are 200 to 60000 ms"));
    assert!(run(&["--heartbeat-interval", "900"]).contains("at most a fifth"));
    assert!(run(&["--initial-cluster-state", "old"]).contains("new, existing"));
}
