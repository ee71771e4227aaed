//! State machines that come through the log: installed, called, upgraded and rolled back on real
//! processes, whoever is down meanwhile. The nodes compile with `pgraft-compile`, which must be
//! built: `cargo test` at the root does, `cargo build --package pgraft-compile` otherwise.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pgraft_host::Change;
use pgraft_membership::Command as Member;
use pgraft_node::client::Client;
use pgraft_node::rpc::{Answer, Op};
use pgraft_node::staging::Module;
use serde_json::Value;

use crate::cluster::{Cluster, wait_until};

/// Every voter compiles.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a node answered, its "no" in words.
pub(crate) type Told = Result<Vec<u8>, String>;

pub(crate) fn ask(socket: &Path, op: Op) -> Told {
    let mut client = Client::connect(socket, PATIENCE).map_err(|error| error.to_string())?;
    match client.ask(op).map_err(|error| error.to_string())? {
        Answer::Outcome { outcome, .. } => outcome.map_err(|rejection| rejection.message),
        Answer::Json(text) => Ok(text.into_bytes()),
        Answer::Failed(failure) => Err(failure.to_string()),
        other => Err(format!("{other:?}")),
    }
}

fn change(socket: &Path, change: &Change, force: bool) -> Told {
    ask(socket, Op::Change { change: change.encode(), dry_run: false, force })
}

/// The example machine of the tests: version 0.1.0 counts in 32 bits, 0.2.0 in 64 and migrates.
fn module(name: &str) -> &'static [u8] {
    let found = pgraft_bundle::test_modules().iter().find(|module| module.name == name);
    found.expect("the bundle has it").component
}

fn stage(socket: &Path, component: &[u8]) -> [u8; 32] {
    let helper = PathBuf::from(env!("CARGO_BIN_EXE_pgraft")).with_file_name("pgraft-compile");
    assert!(helper.exists(), "build it: cargo build --package pgraft-compile");
    try_stage(socket, component).unwrap()
}

fn try_stage(socket: &Path, component: &[u8]) -> Result<[u8; 32], String> {
    let module = Module::new(component)?;
    for (_, op) in module.stage() {
        ask(socket, op)?;
    }
    Ok(module.sha256())
}

pub(crate) fn install(socket: &Path, machine: &str, component: &[u8], force: bool) -> Told {
    let (machine, sha256) = (machine.to_owned(), try_stage(socket, component)?);
    let (config, limits) = (Vec::new(), Vec::new());
    change(socket, &Change::Install { machine, sha256, config, limits }, force)
}

fn upgrade(socket: &Path, machine: &str, from: &[u8], to: &[u8], force: bool) -> Told {
    let expect = Module::new(from).unwrap().sha256();
    let (machine, sha256, limits) = (machine.to_owned(), stage(socket, to), Vec::new());
    let (any_version, keep_copy) = (false, true);
    let upgrade = Change::Upgrade { machine, sha256, expect, any_version, keep_copy, limits };
    change(socket, &upgrade, force)
}

fn call(socket: &Path, machine: &str, name: &str) -> Told {
    ask(socket, Op::Command { machine: machine.to_owned(), payload: name.into() })
}

pub(crate) fn query(socket: &Path, machine: &str, name: &str, stale: bool) -> Told {
    ask(socket, Op::Query { machine: machine.to_owned(), payload: name.into(), stale })
}

pub(crate) fn listed(socket: &Path, machine: &str) -> Option<Value> {
    let text = ask(socket, Op::Machines { stale: true }).ok()?;
    let machines: Vec<Value> = serde_json::from_slice(&text).ok()?;
    machines.into_iter().find(|one| one["name"] == machine)
}

#[test]
fn a_machine_comes_changes_and_goes_while_nodes_do() {
    let mut cluster = Cluster::start(3);
    let (old, new) = (module("counter-v1"), module("counter"));
    let leader = cluster.leader();
    let follower = (leader + 1) % 3;
    let socket = cluster.nodes[follower].socket();
    install(&socket, "mine", old, false).unwrap();
    for at in 0..3 {
        call(&cluster.nodes[at].socket(), "mine", "apples").unwrap();
    }
    assert_eq!(query(&socket, "mine", "apples", false).unwrap(), 3_u32.to_le_bytes());

    // A follower is away: nobody waits for ever, and a majority is enough when that is wanted.
    let away = (leader + 2) % 3;
    cluster.nodes[away].kill();
    let refused = upgrade(&socket, "mine", old, new, false).unwrap_err();
    assert!(refused.contains(&format!("node {} is not ready", away + 1)), "{refused}");
    upgrade(&socket, "mine", old, new, true).unwrap();
    call(&socket, "mine", "apples").unwrap();
    assert_eq!(query(&socket, "mine", "apples", false).unwrap(), 4_u64.to_le_bytes());
    cluster.boot(away);
    cluster.converge();
    let back = cluster.nodes[away].socket();
    assert_eq!(query(&back, "mine", "apples", true).unwrap(), 4_u64.to_le_bytes());

    // The kept copy brings the rows of the old module back; a restart finds all as it was.
    let (expect, restore) = (Module::new(new).unwrap().sha256(), true);
    let back_to_old = Change::Rollback { machine: "mine".to_owned(), expect, restore };
    change(&socket, &back_to_old, false).unwrap();
    assert!(cluster.nodes[leader].stop());
    cluster.boot(leader);
    cluster.leader();
    cluster.converge();
    for at in 0..3 {
        let socket = cluster.nodes[at].socket();
        assert_eq!(query(&socket, "mine", "apples", true).unwrap(), 3_u32.to_le_bytes());
        assert_eq!(listed(&socket, "mine").unwrap()["version"], "0.1.0");
    }

    // Who joins later has the module, too, though nobody gave it a file.
    let newcomer = cluster.newcomer();
    let address = cluster.nodes[newcomer].address.clone();
    cluster.nodes[follower]
        .change(&Member::Add { id: 4, name: "node4".to_owned(), address })
        .unwrap();
    wait_until("node 4 is a voter", || {
        cluster.nodes[follower].role_of(4).as_deref() == Some("voter")
    });
    let late = cluster.nodes[newcomer].socket();
    wait_until("node 4 has the machine", || {
        query(&late, "mine", "apples", true) == Ok(3_u32.to_le_bytes().to_vec())
    });
    call(&late, "mine", "apples").unwrap();
    let expect = Module::new(old).unwrap().sha256();
    change(&late, &Change::Remove { machine: "mine".to_owned(), expect }, false).unwrap();
    let gone = call(&late, "mine", "apples").unwrap_err();
    assert!(gone.contains("no machine of that name"), "{gone}");
    cluster.nodes[follower].put("kv", "goes on").unwrap();
}

#[test]
fn what_cannot_run_is_refused_by_name_and_the_others_go_on() {
    let cluster = Cluster::start(3);
    let socket = cluster.nodes[0].socket();
    // The first bytes of a component, and then nothing that makes sense.
    let nonsense = [&b"\0asm\x0d\0\x01\0"[..], &[0xff; 64]].concat();
    let refused = install(&socket, "mine", &nonsense, false).unwrap_err();
    assert!(refused.contains("cannot be run"), "{refused}");
    let direct = Op::Command { machine: "machines".to_owned(), payload: vec![1, 4] };
    let refused = ask(&socket, direct).unwrap_err();
    assert!(refused.contains("a request of its own"), "{refused}");
    let step = Change::Migrate { machine: "kv".to_owned(), step: 0 };
    let refused = change(&socket, &step, false).unwrap_err();
    assert!(refused.contains("by itself"), "{refused}");
    let refused = install(&socket, "kv", module("counter"), false).unwrap_err();
    assert!(refused.contains("already, which runs module"), "{refused}");
    cluster.nodes[1].put("kv", "goes on").unwrap();
}
