//! Nothing that was acknowledged is lost, whoever is killed, and no term has two leaders.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::cluster::{Cluster, put, wait_until};

/// A client that writes ever new keys through one node and remembers what was acknowledged.
struct Writer {
    acknowledged: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(cluster: &Cluster, at: usize) -> Writer {
        let (acknowledged, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::default());
        let (log, stopped) = (Arc::clone(&acknowledged), Arc::<AtomicBool>::clone(&stop));
        let socket = cluster.nodes[at].socket();
        let thread = std::thread::spawn(move || {
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let key = format!("writer{at}/{number}");
                if put(&socket, &key, &key).is_ok() {
                    log.lock().unwrap().push(key);
                }
            }
        });
        Writer { acknowledged, stop, thread: Some(thread) }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    fn finish(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut self.acknowledged.lock().unwrap())
    }
}

/// Watches who says that it leads, term by term.
struct Observer {
    leaders: Arc<Mutex<BTreeMap<u64, Vec<u64>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    fn start(cluster: &Cluster) -> Observer {
        let (leaders, stop) =
            (Arc::new(Mutex::new(BTreeMap::<u64, Vec<u64>>::new())), Arc::default());
        let (seen, stopped) = (Arc::clone(&leaders), Arc::<AtomicBool>::clone(&stop));
        let sockets: Vec<_> = cluster.nodes.iter().map(crate::cluster::Node::socket).collect();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for socket in &sockets {
                    if let Some((term, id)) = leading(socket) {
                        let mut seen = seen.lock().unwrap();
                        let ids = seen.entry(term).or_default();
                        if !ids.contains(&id) {
                            ids.push(id);
                        }
                    }
                }
                std::thread::park_timeout(std::time::Duration::from_millis(20));
            }
        });
        Observer { leaders, stop, thread: Some(thread) }
    }

    /// Stops and checks Election Safety: at most one leader in a term (Raft paper, figure 3).
    fn judge(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        let leaders = self.leaders.lock().unwrap();
        assert!(!leaders.is_empty(), "nobody was ever seen to lead");
        for (term, ids) in leaders.iter() {
            assert_eq!(ids.len(), 1, "term {term} had the leaders {ids:?}");
        }
    }
}

fn leading(socket: &std::path::Path) -> Option<(u64, u64)> {
    let wait = std::time::Duration::from_millis(200);
    let mut client = pgraft_node::client::Client::connect(socket, wait).ok()?;
    let pgraft_node::rpc::Answer::Json(text) = client.ask(pgraft_node::rpc::Op::Status).ok()?
    else {
        return None;
    };
    let status: serde_json::Value = serde_json::from_str(&text).ok()?;
    (status["state"] == "leader")
        .then(|| Some((status["term"].as_u64()?, status["node_id"].as_u64()?)))?
}

fn everything_is_there(cluster: &Cluster, keys: &[String]) {
    cluster.converge();
    for node in &cluster.nodes {
        for key in keys {
            let value = node.get(key).unwrap_or_else(|why| panic!("{key} on {}: {why}", node.name));
            assert_eq!(value.as_deref(), Some(key.as_str()), "{key} is lost on {}", node.name);
        }
    }
}

#[test]
fn a_write_on_any_node_is_read_on_all() {
    let cluster = Cluster::start(3);
    for node in &cluster.nodes {
        node.put(&node.name, "here").unwrap();
        for reader in &cluster.nodes {
            assert_eq!(reader.get(&node.name).unwrap().as_deref(), Some("here"));
        }
    }
}

#[test]
fn kill_9_of_anybody_loses_nothing() {
    let mut cluster = Cluster::start(3);
    let observer = Observer::start(&cluster);
    let writers: Vec<Writer> = (0..3).map(|at| Writer::start(&cluster, at)).collect();
    for round in 0..6 {
        let before: usize = writers.iter().map(Writer::count).sum();
        wait_until("writes go on", || {
            writers.iter().map(Writer::count).sum::<usize>() > before + 20
        });
        let leader = cluster.leader();
        let victims: Vec<usize> = match round % 3 {
            0 => vec![leader],
            1 => vec![(leader + 1 + cluster.draw(2)) % 3],
            _ => vec![0, 1, 2],
        };
        println!("round {round}: node {leader} leads, killing {victims:?}");
        victims.iter().for_each(|at| cluster.nodes[*at].kill());
        victims.iter().for_each(|at| cluster.boot(*at));
        cluster.leader();
    }
    let keys: Vec<String> = writers.into_iter().flat_map(Writer::finish).collect();
    println!("{} acknowledged writes", keys.len());
    everything_is_there(&cluster, &keys);
    observer.judge();
}

#[test]
fn a_clean_stop_hands_over_and_comes_back() {
    let mut cluster = Cluster::start(3);
    cluster.nodes[0].put("before", "1").unwrap();
    for _ in 0..3 {
        let leader = cluster.leader();
        assert!(cluster.nodes[leader].stop(), "{}", cluster.nodes[leader].log());
        let next = cluster.leader();
        cluster.nodes[next].put("during", "2").unwrap();
        cluster.boot(leader);
        cluster.leader();
    }
    everything_is_there(&cluster, &[]);
    assert_eq!(cluster.nodes[0].get("before").unwrap().as_deref(), Some("1"));
}

/// Canary: the check that finds a lost write must find one.
#[test]
#[should_panic(expected = "is lost on")]
fn canary_a_lost_write_is_found() {
    let cluster = Cluster::start(1);
    everything_is_there(&cluster, &["never written".to_owned()]);
}

/// Canary: the check for two leaders in one term must find two.
#[test]
#[should_panic(expected = "term 5 had the leaders [1, 2]")]
fn canary_two_leaders_are_found() {
    let leaders = Arc::new(Mutex::new(BTreeMap::from([(5, vec![1, 2])])));
    let thread = Some(std::thread::spawn(|| {}));
    Observer { leaders, stop: Arc::default(), thread }.judge();
}
