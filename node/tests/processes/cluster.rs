//! A cluster of processes for tests: free ports, private folders, signals, and waiting for
//! conditions instead of time.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pgraft_kv::{Command as Change, Put, Query, RangeRequest, Reply};
use pgraft_node::client::Client;
use pgraft_node::rpc::{Answer, Failure, Op};
use serde_json::Value;

/// How long a condition may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Deadline of a single request.
pub(crate) const DEADLINE: Duration = Duration::from_secs(3);

/// One cluster at a time: three nodes and their load are enough for two cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Nodes under test. Dropping it kills them.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    members: String,
    flags: Vec<String>,
    folder: tempfile::TempDir,
    chance: u64,
    _alone: MutexGuard<'static, ()>,
}

/// One process, or the files of one.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) dir: PathBuf,
    child: Option<Child>,
}

impl Cluster {
    /// Starts `count` nodes with the default settings and waits for a leader.
    pub(crate) fn start(count: usize) -> Cluster {
        Cluster::start_with(count, &[])
    }

    /// The same, with more flags for every node; `{dir}` in one is the node's data directory.
    pub(crate) fn start_with(count: usize, flags: &[&str]) -> Cluster {
        let mut cluster = Cluster::assemble(count, flags);
        (0..count).for_each(|at| cluster.boot(at));
        cluster.leader();
        cluster
    }

    /// Nodes that are not started yet.
    pub(crate) fn assemble(count: usize, flags: &[&str]) -> Cluster {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let seed = std::env::var("PGRAFT_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761);
        println!("seed: PGRAFT_SEED={seed}");
        let folder = tempfile::tempdir().unwrap();
        let ports = free_ports(count);
        let nodes: Vec<Node> = ports
            .iter()
            .enumerate()
            .map(|(at, port)| Node {
                name: format!("node{}", at + 1),
                address: format!("127.0.0.1:{port}"),
                dir: folder.path().join(format!("node{}", at + 1)),
                child: None,
            })
            .collect();
        let members: Vec<String> =
            nodes.iter().map(|node| format!("{}={}", node.name, node.address)).collect();
        let members = members.join(",");
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Cluster { nodes, members, flags, folder, chance: seed, _alone: alone }
    }

    /// Starts a node's process.
    pub(crate) fn boot(&mut self, at: usize) {
        self.nodes[at].boot(&self.members, "new", &self.flags);
    }

    /// A node that asks to join; it must be added as a member, too.
    pub(crate) fn newcomer(&mut self) -> usize {
        let name = format!("node{}", self.nodes.len() + 1);
        let address = format!("127.0.0.1:{}", free_ports(1)[0]);
        let dir = self.folder.path().join(&name);
        let members = format!("{},{name}={address}", self.members);
        let mut node = Node { name, address, dir, child: None };
        node.boot(&members, "existing", &self.flags);
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Waits until exactly one running node leads, and all running nodes know it.
    pub(crate) fn leader(&self) -> usize {
        let mut found = None;
        wait_until("one leader that everybody knows", || {
            let states: BTreeMap<usize, Value> = (0..self.nodes.len())
                .filter(|at| self.nodes[*at].child.is_some())
                .filter_map(|at| Some((at, self.nodes[at].status()?)))
                .collect();
            let leaders: Vec<usize> =
                states.iter().filter(|(_, s)| s["state"] == "leader").map(|(at, _)| *at).collect();
            let [leader] = leaders[..] else { return false };
            let id = states[&leader]["node_id"].clone();
            found = Some(leader);
            states.len() > self.nodes.len() / 2 && states.values().all(|s| s["leader_id"] == id)
        });
        found.unwrap()
    }

    /// A number below `below`, from the seed.
    pub(crate) fn draw(&mut self, below: usize) -> usize {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        usize::try_from(self.chance % below as u64).unwrap()
    }

    /// Waits until every running node has applied what the furthest one has.
    pub(crate) fn converge(&self) {
        wait_until("all nodes applied the same index", || {
            let applied: Vec<Option<u64>> = self
                .nodes
                .iter()
                .filter(|node| node.child.is_some())
                .map(|node| node.status().and_then(|status| status["applied_index"].as_u64()))
                .collect();
            applied.iter().all(|one| one.is_some() && *one == applied[0])
        });
    }
}

impl Node {
    fn boot(&mut self, members: &str, state: &str, flags: &[String]) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.with_extension("log"))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_pgraft"))
            .args(["node", "--name", &self.name, "--listen-address", &self.address])
            .args(["--initial-cluster", members, "--initial-cluster-state", state])
            .arg("--data-dir")
            .arg(&self.dir)
            .args(flags.iter().map(|flag| flag.replace("{dir}", &self.dir.display().to_string())))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("the node runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM; returns whether it ended by itself with code 0.
    pub(crate) fn stop(&mut self) -> bool {
        self.signal("TERM");
        let mut child = self.child.take().expect("the node runs");
        let mut status = None;
        wait_until("a clean end", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().success()
    }

    /// Waits until the process ended by itself; its exit code.
    pub(crate) fn wait_for_end(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("the node runs");
        let mut status = None;
        wait_until("the process to end by itself", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        let status = status.unwrap();
        assert_eq!(status.signal(), None, "{} crashed: {}", self.name, self.log());
        status.code()
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("the node runs").id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.with_extension("log")).unwrap_or_default()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("pgraft.sock")
    }

    /// Its status report; `None` while it does not answer.
    pub(crate) fn status(&self) -> Option<Value> {
        let mut client = Client::connect(&self.socket(), Duration::from_millis(500)).ok()?;
        match client.ask(Op::Status).ok()? {
            Answer::Json(text) => serde_json::from_str(&text).ok(),
            _ => None,
        }
    }

    pub(crate) fn put(&self, key: &str, value: &str) -> Result<(), Failure> {
        put(&self.socket(), key, value)
    }

    /// A linearizable read.
    pub(crate) fn get(&self, key: &str) -> Result<Option<String>, Failure> {
        get(&self.socket(), key, false)
    }

    /// A read of whatever this node has.
    pub(crate) fn get_stale(&self, key: &str) -> Result<Option<String>, Failure> {
        get(&self.socket(), key, true)
    }

    /// A membership command.
    pub(crate) fn change(&self, change: &pgraft_membership::Command) -> Result<(), String> {
        let op = Op::Command { machine: "membership".to_owned(), payload: change.encode() };
        match ask(&self.socket(), op) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(message)) => Err(message),
            Err(failure) => Err(failure.to_string()),
        }
    }

    /// The role of a member as this node's status shows it.
    pub(crate) fn role_of(&self, id: u64) -> Option<String> {
        let status = self.status()?;
        let members = status["members"].as_array()?.clone();
        let member = members.iter().find(|member| member["id"] == id)?;
        member["role"].as_str().map(str::to_owned)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take() {
                let _already_dead = child.kill();
                let _reaped = child.wait();
            }
            if std::thread::panicking() {
                println!("--- log of {}\n{}", node.name, node.log());
            }
        }
    }
}

/// Writes a key through a node's socket.
pub(crate) fn put(socket: &Path, key: &str, value: &str) -> Result<(), Failure> {
    let payload = Change::Put(Put::new(key, value)).encode();
    let outcome = ask(socket, Op::Command { machine: "kv".to_owned(), payload })?;
    outcome.map(|_| ()).map_err(|why| panic!("put {key} was rejected: {why}"))
}

fn get(socket: &Path, key: &str, stale: bool) -> Result<Option<String>, Failure> {
    let payload = Query::Range(RangeRequest::key(key)).encode();
    let reply = ask(socket, Op::Query { machine: "kv".to_owned(), payload, stale })?.unwrap();
    let Reply::Range(range) = Reply::decode(&reply).unwrap() else { panic!("not a range") };
    Ok(range.kvs.first().map(|kv| String::from_utf8(kv.value.clone()).unwrap()))
}

/// A machine's answer; its "no" is the inner error, a connection that broke is an unknown outcome.
fn ask(socket: &Path, op: Op) -> Result<Result<Vec<u8>, String>, Failure> {
    let unknown = |error: pgraft_node::client::ClientError| {
        Failure::new(pgraft_node::rpc::FailureKind::Unknown, error.to_string())
    };
    let mut client = Client::connect(socket, DEADLINE).map_err(unknown)?;
    match client.ask(op).map_err(unknown)? {
        Answer::Outcome { outcome, .. } => Ok(outcome.map_err(|rejection| rejection.message)),
        Answer::Failed(failure) => Err(failure),
        other => panic!("unexpected answer {other:?}"),
    }
}

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> Vec<u16> {
    let taken: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    taken.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// Polls a condition.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
