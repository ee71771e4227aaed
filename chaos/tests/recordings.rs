//! What the nodes of simulated runs took and gave, replayed: crashes, power loss, partitions,
//! snapshots and changing members in between, and a fresh replica gives the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use pgraft_chaos::oracle::{is_recording, replay_file, replay_folder};
use pgraft_chaos::scenario::Scenario;
use pgraft_chaos::seed::Seed;
use pgraft_chaos::{sim, swarm};
use pgraft_replay::{Body, Failure, Recorder, Records, Report, Stopped};
use pgraft_replica::Input;
use tempfile::TempDir;

/// Runs a scenario with its nodes recorded, and replays them; the sum of all.
fn recorded(name: &str, seed: u64, folder: &Path) -> Report {
    println!("reproduce: pgraft-chaos run {name} --seed {seed} --record FOLDER");
    let (scenario, seed) = (Scenario::find(name).unwrap(), Seed::new(seed));
    let plan = swarm::plan(&scenario, seed);
    let case = sim::Case {
        scenario: &scenario,
        seed,
        plan: &plan,
        load: swarm::load(&scenario, seed),
        commit: String::new(),
        history: None,
        logs: false,
        record: Some(folder),
        subject: None,
    };
    sim::run(&case).unwrap();
    let mut sum = Report::default();
    for replayed in replay_folder(folder).unwrap() {
        println!("{replayed}");
        let report = replayed.outcome.unwrap_or_else(|stopped| panic!("{stopped}"));
        sum.lives += report.lives;
        sum.ended += report.ended;
        sum.steps += report.steps;
    }
    sum
}

#[test]
fn simulated_nodes_replay_alike() {
    let mut killed = 0;
    for (name, seed) in [
        ("crashes", 1),
        ("power-loss", 3),
        ("partitions", 4),
        ("membership", 5),
        ("snapshots", 6),
        ("everything", 7),
    ] {
        let folder = TempDir::new().unwrap();
        let sum = recorded(name, seed, folder.path());
        assert!(sum.ended >= 3 && sum.steps > 1000, "{name}: {sum}");
        killed += sum.lives - sum.ended;
    }
    assert!(killed > 5, "hardly any node was killed: {killed}");
}

/// One command of a client is another one than it was: the first entry of the node that proposed
/// it tells, with all checksums right.
#[test]
fn canary_an_altered_command_is_noticed() {
    let folder = TempDir::new().unwrap();
    recorded("quiet", 8, folder.path());
    let mut noticed = 0;
    for node in 1..=3 {
        let file = folder.path().join(format!("n{node}.record"));
        assert!(is_recording(&file).unwrap());
        let bytes = fs::read(&file).unwrap();
        let (mut records, mut copy) = (Records::open(&bytes[..]).unwrap(), Recorder::new());
        let mut altered = None;
        while let Some(mut record) = records.read_next().unwrap() {
            if let Body::Step(step) = &mut record.body
                && let Input::Propose(proposals) = &mut step.input
                && !step.view.is_empty()
                && altered.is_none()
            {
                proposals[0].command = b"another command".to_vec().into();
                altered = Some(record.number);
            }
            copy.repeat(&record.body);
        }
        let Some(altered) = altered else { continue };
        fs::write(&file, copy.take()).unwrap();
        let Err(stopped) = replay_file(&file).unwrap().outcome else { panic!("not noticed") };
        let Stopped { why: Failure::Different(difference), .. } = *stopped else {
            panic!("{stopped}")
        };
        println!("{difference}");
        assert_eq!(difference.record, altered);
        assert!(difference.to_string().contains("another command"));
        noticed += 1;
    }
    assert!(noticed > 0, "nobody led");
}
