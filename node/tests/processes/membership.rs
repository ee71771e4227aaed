//! Members come and go: by snapshot, as learner, as voter, and the leader itself.

use pgraft_membership::Command;

use crate::cluster::{Cluster, wait_until};

/// More entries and bytes than the log keeps, so that a newcomer needs a snapshot.
const WRITES: usize = 6500;
const VALUE_BYTES: usize = 4096;

#[test]
fn a_newcomer_catches_up_by_snapshot_and_the_leader_can_leave() {
    let mut cluster = Cluster::start(3);
    std::thread::scope(|scope| {
        let sockets: Vec<_> = cluster.nodes.iter().map(crate::cluster::Node::socket).collect();
        for socket in sockets.into_iter().take(1) {
            scope.spawn(move || {
                let mut client =
                    pgraft_node::client::Client::connect(&socket, crate::cluster::DEADLINE)
                        .unwrap();
                for number in 0..WRITES {
                    let key = format!("key{}", number % 500);
                    let put = pgraft_kv::Put::new(key, format!("{number:0VALUE_BYTES$}"));
                    let payload = pgraft_kv::Command::Put(put).encode();
                    let op = pgraft_node::rpc::Op::Command { machine: "kv".to_owned(), payload };
                    client.ask(op).unwrap();
                }
            });
        }
    });
    wait_until("the log is truncated", || {
        let leader = &cluster.nodes[cluster.leader()];
        leader.status().is_some_and(|status| status["first_index"].as_u64().unwrap_or(0) > 1)
    });

    lose_state_of_a_follower(&mut cluster);

    let newcomer = cluster.newcomer();
    let address = cluster.nodes[newcomer].address.clone();
    let add = Command::Add { id: 4, name: "node4".to_owned(), address };
    cluster.nodes[0].change(&add).unwrap();
    wait_until("node 4 is a voter", || {
        cluster.nodes[0].role_of(4).as_deref() == Some("voter")
            && cluster.nodes[newcomer].role_of(4).as_deref() == Some("voter")
    });
    let newest = format!("{:0VALUE_BYTES$}", WRITES - 1);
    assert_eq!(cluster.nodes[newcomer].get("key499").unwrap(), Some(newest));
    assert!(cluster.nodes[newcomer].log().contains("snapshot installed"), "no snapshot was needed");

    let leader = cluster.leader();
    let id = leader as u64 + 1;
    let asked = (leader + 1) % 4;
    cluster.nodes[asked].change(&Command::Remove { id }).unwrap();
    wait_until("the old leader is gone", || {
        cluster.nodes[asked].role_of(id).as_deref() == Some("gone")
    });
    assert_eq!(cluster.nodes[leader].wait_for_end(), Some(1));
    assert!(cluster.nodes[leader].log().contains("removed from the cluster"));
    cluster.leader();
    cluster.nodes[asked].put("after", "removal").unwrap();

    let again = Command::Add { id, name: "again".to_owned(), address: "127.0.0.1:9".to_owned() };
    let refused = cluster.nodes[asked].change(&again).unwrap_err();
    assert!(refused.contains(&id.to_string()), "an id is never used twice: {refused}");
}

/// The log of a follower does not reach back to the beginning, and its state.db is spoilt: it
/// fetches the state from a peer and keeps its identity.
fn lose_state_of_a_follower(cluster: &mut Cluster) {
    use std::os::unix::fs::FileExt;
    let victim = (cluster.leader() + 1) % 3;
    wait_until("the follower's log is truncated", || {
        let status = cluster.nodes[victim].status();
        status.is_some_and(|status| status["first_index"].as_u64().unwrap_or(0) > 1)
    });
    cluster.nodes[victim].kill();
    let open = |name: &str| {
        std::fs::File::options().write(true).open(cluster.nodes[victim].dir.join(name)).unwrap()
    };
    open("state-0.db").write_all_at(&[0xff; 4096], 0).unwrap();
    // Else its write-ahead log would bring the first page back.
    open("state-0.db-wal").set_len(0).unwrap();
    cluster.boot(victim);
    cluster.leader();
    cluster.converge();
    assert!(cluster.nodes[victim].log().contains("state fetched from a peer"));
    let newest = format!("{:0VALUE_BYTES$}", WRITES - 1);
    assert_eq!(cluster.nodes[victim].get("key499").unwrap(), Some(newest));
}
