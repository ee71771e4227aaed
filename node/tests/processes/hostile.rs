//! Every hostile module on a cluster of three processes: refused in the same words whoever is
//! asked, or rejected with the same code; and the nodes and other machines go on.

use std::path::Path;
use std::time::Duration;

use pgraft_hostile::{Fate, all};
use pgraft_node::client::Client;
use pgraft_node::rpc::{Answer, Op};

use crate::cluster::Cluster;
use crate::machines::{install, listed};

/// A command that burns all its fuel, in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the machine said, or the code of a rejection.
fn outcome(socket: &Path, op: Op) -> Result<Vec<u8>, u32> {
    let mut client = Client::connect(socket, PATIENCE).unwrap();
    match client.ask(op).unwrap() {
        Answer::Outcome { outcome, .. } => outcome.map_err(|rejection| rejection.code),
        other => panic!("{other:?}"),
    }
}

/// The words of a refusal without what names this attempt.
fn words(refused: &str) -> &str {
    refused.split_once("cannot be run: ").map_or(refused, |(_, why)| why)
}

#[test]
fn what_cannot_run_is_refused_alike_by_every_node() {
    let cluster = Cluster::start(3);
    let sockets = [0, 1, 2].map(|at| cluster.nodes[at].socket());
    for (at, module) in all().into_iter().enumerate() {
        let (Fate::Refused(expected) | Fate::NotLoaded(expected)) = module.fate else { continue };
        let refused = [0, 1].map(|more| {
            let socket = &sockets[(at + more) % 3];
            install(socket, "mine", &module.bytes, false).expect_err(module.name)
        });
        println!("{}: {}", module.name, refused[0]);
        // What is no component at all, or too large, a client does not send.
        let not_sent = ["this is no WebAssembly component", "bytes, at most"];
        let known = |words: &str| refused[0].contains(words);
        assert!(known(expected) || not_sent.iter().any(|words| known(words)), "{}", module.name);
        assert_eq!(words(&refused[0]), words(&refused[1]), "{}", module.name);
    }
    for (at, socket) in sockets.iter().enumerate() {
        assert!(listed(socket, "mine").is_none(), "node {at} has it");
        cluster.nodes[at].put("kv", "goes on").unwrap();
    }
}

#[test]
fn what_does_harm_is_rejected_alike_and_harms_nobody() {
    let cluster = Cluster::start(3);
    let sockets = [0, 1, 2].map(|at| cluster.nodes[at].socket());
    for (at, module) in all().into_iter().enumerate() {
        let (command, expected) = match module.fate {
            Fate::Rejected { command, code } => (command, Err(code)),
            Fate::Answered { command, reply } => (command, Ok(reply)),
            Fate::Refused(_) | Fate::NotLoaded(_) => continue,
        };
        let (socket, machine) = (&sockets[at % 3], module.name.to_owned());
        println!("{machine}");
        install(socket, &machine, &module.bytes, false).unwrap();
        let op = Op::Command { machine: machine.clone(), payload: command.clone() };
        assert_eq!(outcome(socket, op), expected, "{machine}");
        cluster.nodes[at % 3].put("kv", "goes on").unwrap();
        // A query does what a command does, where a failure is nobody's but this node's.
        cluster.converge();
        let answers = sockets.each_ref().map(|socket| {
            let (machine, payload) = (machine.clone(), command.clone());
            outcome(socket, Op::Query { machine, payload, stale: true })
        });
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{machine}: {answers:?}");
    }
    cluster.converge();
    let told = sockets.each_ref().map(|socket| {
        let named = all().into_iter().map(|module| listed(socket, module.name));
        named.map(|one| one.map(|one| one.to_string())).collect::<Vec<_>>()
    });
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    println!("{:?}", told[0].iter().flatten().next());
    for node in &cluster.nodes {
        node.put("kv", "goes on").unwrap();
    }
}
