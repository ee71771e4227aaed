//! Golden traces: a script of what happens to a cluster, and every effect that follows.
//!
//! One file per behaviour under `testscripts/<topic>/<subject_condition>`. New output comes from
//! `UPDATE_GOLDENFILES=1`, is read, and committed.

use std::error::Error;
use std::path::Path;

use pgraft_replica::{ConfChangeKind, Input, MessageKind};

use crate::cluster::{Cluster, id};

/// The words of a script. Nodes are named by number.
#[derive(goldenscript::Command)]
enum Command {
    /// A cluster of this many voters; with a leader, its election is not shown.
    Cluster {
        nodes: u64,
        #[arg(key)]
        leader: Option<u64>,
    },
    /// A node that waits to be added.
    Join(u64),
    /// Proposes commands in one turn.
    Propose(u64, Vec<String>),
    /// Reads.
    Read(u64),
    /// Changes members: change 1 voter=4 learner=5 remove=2
    Change(u64, Vec<(String, u64)>),
    /// Hands leadership over.
    Transfer {
        from: u64,
        #[arg(key)]
        to: Option<u64>,
    },
    /// Ticks of one node.
    Tick {
        node: u64,
        #[arg(key)]
        times: Option<u32>,
    },
    /// Delivers what is in the network; to one node only if given, the rest waits.
    Deliver {
        #[arg(key)]
        to: Option<u64>,
    },
    /// Loses what is in the network.
    Lose,
    /// The disk of a node finishes its writes.
    Persist(u64),
    /// The state machine of a node applies what was handed to it.
    Apply(u64),
    /// The state of a node reaches its disk.
    Checkpoint(u64),
    /// Everything happens until nothing is left to happen.
    Settle,
    /// Time passes for all, and everything happens.
    Run(u32),
    /// Power loss: what was not persisted is gone.
    Crash(u64),
    /// Starts a node again.
    Start(u64),
    /// The log writer of a node is stuck in a write.
    Stall(u64, u64),
    /// A node was suspended.
    Suspend(u64),
    /// A connection broke.
    Unreachable(u64, u64),
    /// A node hears that it was removed.
    Removed(u64),
    /// What a node shows of itself.
    Status(u64),
}

struct Runner {
    cluster: Cluster,
}

impl goldenscript::Runner for Runner {
    type Command = Command;

    fn run(
        &mut self,
        command: &Command,
        _: &goldenscript::Context,
    ) -> Result<String, Box<dyn Error>> {
        let cluster = &mut self.cluster;
        match command {
            Command::Cluster { nodes, leader } => {
                *cluster = Cluster::new(1, *nodes);
                if let Some(leader) = leader {
                    cluster.elect(*leader);
                    cluster.trace.clear();
                }
            }
            Command::Join(node) => cluster.join(*node),
            Command::Propose(node, commands) => {
                let commands: Vec<&[u8]> = commands.iter().map(|c| c.as_bytes()).collect();
                cluster.propose_together(*node, &commands);
            }
            Command::Read(node) => drop(cluster.read(*node)),
            Command::Change(node, changes) => {
                let changes: Result<Vec<_>, String> = changes.iter().map(parse_change).collect();
                cluster.change(*node, &changes?);
            }
            Command::Transfer { from, to } => drop(cluster.transfer(*from, *to)),
            Command::Tick { node, times } => {
                (0..times.unwrap_or(1)).for_each(|_| cluster.tick(*node));
            }
            Command::Deliver { to } => deliver(cluster, *to),
            Command::Lose => cluster.net.clear(),
            Command::Settle => cluster.settle(),
            Command::Run(ticks) => cluster.run(*ticks),
            Command::Status(node) => return Ok(status(cluster, *node)),
            other => run_on_node(cluster, other),
        }
        Ok(std::mem::take(&mut cluster.trace))
    }
}

/// What happens to one node from outside.
fn run_on_node(cluster: &mut Cluster, command: &Command) {
    match command {
        Command::Persist(node) => cluster.persist(*node, usize::MAX),
        Command::Apply(node) => cluster.apply(*node, usize::MAX),
        Command::Checkpoint(node) => cluster.checkpoint(*node),
        Command::Crash(node) => cluster.crash(*node, 0, true),
        Command::Start(node) => cluster.start(*node),
        Command::Stall(node, for_ms) => {
            cluster.step(*node, Input::DiskStalled { for_ms: *for_ms });
        }
        Command::Suspend(node) => cluster.step(*node, Input::TimeJumped),
        Command::Unreachable(node, peer) => cluster.step(*node, Input::Unreachable(id(*peer))),
        Command::Removed(node) => cluster.step(*node, Input::RemovedByPeers),
        _ => unreachable!("the words about the whole cluster are handled before"),
    }
}

fn parse_change(change: &(String, u64)) -> Result<(ConfChangeKind, u64), String> {
    let kind = match change.0.as_str() {
        "voter" => ConfChangeKind::AddVoter,
        "learner" => ConfChangeKind::AddLearner,
        "remove" => ConfChangeKind::Remove,
        other => return Err(format!("no such change: {other}")),
    };
    Ok((kind, change.1))
}

fn deliver(cluster: &mut Cluster, to: Option<u64>) {
    let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut cluster.net)
        .into_iter()
        .partition(|message| to.is_none_or(|to| message.to == id(to)));
    cluster.net = later;
    for message in now {
        // Who sends a snapshot also reports on it, which `arrive` does.
        let is_known = cluster.nodes.contains_key(&message.to.get());
        assert!(is_known || message.kind != MessageKind::Snapshot);
        if is_known {
            cluster.arrive(message);
        }
    }
}

fn status(cluster: &Cluster, node: u64) -> String {
    let view = cluster.view(node);
    let ids = |ids: &std::collections::BTreeSet<_>| {
        let names: Vec<String> = ids.iter().map(|id| format!("n{id}")).collect();
        names.join(" ")
    };
    let mut out = format!(
        "n{node} {:?} term {} log {}..{} committed {} applied {} voters {}",
        view.role,
        view.term,
        view.first_index,
        view.last_index,
        view.committed,
        view.applied,
        ids(&view.voters)
    );
    if !view.learners.is_empty() {
        out.push_str(&format!(" learners {}", ids(&view.learners)));
    }
    if view.joint {
        out.push_str(" joint");
    }
    for peer in &view.peers {
        out.push_str(&format!(
            "\n  n{} has {} next {} {:?}",
            peer.id, peer.match_index, peer.next_index, peer.state
        ));
    }
    out.push('\n');
    out
}

fn run_script(path: &Path) {
    let mut runner = Runner { cluster: Cluster::new(1, 3) };
    goldenscript::run(&mut runner, path).expect("the script runs");
}

test_each_file::test_each_path! { in "node/replica/testscripts" as golden => run_script }
