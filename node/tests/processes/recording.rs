//! What real processes took and gave, replayed: under puts, with kill -9 in between, a fresh
//! replica gives the same; and what a file that is cut or changed is told.

use std::fs;
use std::path::PathBuf;

use pgraft_replay::{Body, Damage, Failure, Recorder, Records, Stopped, replay};

use crate::cluster::{Cluster, wait_until};

fn file(cluster: &Cluster, at: usize) -> PathBuf {
    cluster.nodes[at].dir.with_extension("record")
}

/// Puts keys through all nodes that run, until `count` are acknowledged.
fn put(cluster: &Cluster, among: &[usize], round: &str, count: usize) {
    let mut done = 0;
    let mut number = 0;
    wait_until("writes go on", || {
        let key = format!("{round}/{number}");
        number += 1;
        let node = &cluster.nodes[among[number % among.len()]];
        done += usize::from(node.put(&key, &key).is_ok());
        done == count
    });
}

/// Kills the leader and a follower in turn; all records but the last of a killed life are there.
#[test]
fn recorded_processes_replay_alike() {
    let mut cluster = Cluster::start_with(3, &["--record", "{dir}.record"]);
    put(&cluster, &[0, 1, 2], "first", 100);
    let leader = cluster.leader();
    let follower = (leader + 1 + cluster.draw(2)) % 3;
    for victim in [leader, follower] {
        cluster.nodes[victim].kill();
        let others: Vec<usize> = (0..3).filter(|at| *at != victim).collect();
        cluster.leader();
        put(&cluster, &others, &format!("without {victim}"), 50);
        cluster.boot(victim);
        cluster.leader();
        put(&cluster, &[0, 1, 2], &format!("again {victim}"), 50);
    }
    cluster.converge();
    for at in 0..3 {
        assert!(cluster.nodes[at].stop(), "{}", cluster.nodes[at].log());
    }
    for at in 0..3 {
        let recording = fs::read(file(&cluster, at)).unwrap();
        let report = replay(&recording[..]);
        let report = report.unwrap_or_else(|stopped| panic!("node {at}: {stopped}"));
        println!("node {at}: {report}");
        let lives = if at == leader || at == follower { 2 } else { 1 };
        assert_eq!((report.lives, report.ended, report.broken), (lives, 1, 0));
        assert!(report.steps > 300, "{report}");
        assert_eq!(report.bytes, recording.len() as u64);
    }
    canary_altered_files_are_noticed(&fs::read(file(&cluster, leader)).unwrap());
}

/// Cut, a byte changed, a record dropped, an output and the random numbers altered.
fn canary_altered_files_are_noticed(recording: &[u8]) {
    let why = |bytes: &[u8]| match replay(bytes) {
        Ok(report) => panic!("not noticed: {report}"),
        Err(Stopped { why, .. }) => why,
    };
    let cut = why(&recording[..recording.len() - 1]);
    assert!(matches!(cut, Failure::Damaged(Damage::Cut { .. })), "{cut}");
    let mut changed = recording.to_vec();
    changed[recording.len() / 2] ^= 1;
    let changed = why(&changed);
    assert!(matches!(changed, Failure::Damaged(Damage::Checksum { .. })), "{changed}");

    let mut records = Records::open(recording).unwrap();
    let mut all = Vec::new();
    while let Some(record) = records.read_next().unwrap() {
        all.push(record);
    }
    let (one, next) = (&all[all.len() / 2], &all[all.len() / 2 + 1]);
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let dropped = [&recording[..at(one.offset)], &recording[at(next.offset)..]].concat();
    let dropped = why(&dropped);
    assert!(matches!(dropped, Failure::Damaged(Damage::Order { .. })), "{dropped}");

    let altered = |alter: &mut dyn FnMut(&mut Body)| {
        let mut copy = Recorder::new();
        for record in &all {
            let mut body = record.body.clone();
            alter(&mut body);
            copy.repeat(&body);
        }
        let failure = why(&copy.take());
        assert!(matches!(failure, Failure::Different(_)), "{failure}");
        println!("{failure}");
    };
    let mut steps = 0;
    altered(&mut |body| {
        if let Body::Step(step) = body {
            steps += 1;
            if steps == 200 {
                let mut effects = step.effects.to_vec();
                effects[0] ^= 1;
                step.effects = effects.into();
            }
        }
    });
    altered(&mut |body| {
        if let Body::Start(start) = body {
            start.config.seed ^= 1;
        }
    });
}

/// The setting comes from the file, too. The node is killed and not started again: all that was
/// written is replayed, and a record that was cut is told.
#[test]
fn a_killed_process_is_replayed_as_far_as_it_wrote() {
    let mut cluster = Cluster::assemble(1, &["--config", "{dir}.toml"]);
    let (dir, record) = (&cluster.nodes[0].dir, file(&cluster, 0));
    fs::write(dir.with_extension("toml"), format!("record = {record:?}\n")).unwrap();
    cluster.boot(0);
    cluster.leader();
    put(&cluster, &[0], "only", 100);
    cluster.nodes[0].kill();
    let report = match replay(&fs::read(record).unwrap()[..]) {
        Ok(report) => report,
        Err(Stopped { before, why: Failure::Damaged(Damage::Cut { .. }) }) => before,
        Err(other) => panic!("{other}"),
    };
    assert_eq!((report.lives, report.ended), (1, 0));
    assert!(report.steps > 200, "{report}");
}

/// Without the flag there is no file.
#[test]
fn nothing_is_recorded_unasked() {
    let cluster = Cluster::start(1);
    cluster.nodes[0].put("key", "value").unwrap();
    let found = fs::read_dir(&cluster.nodes[0].dir).unwrap();
    let names: Vec<String> =
        found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.contains("record")), "{names:?}");
    assert!(!file(&cluster, 0).exists());
}

/// A file that is something else is refused at the start, and left alone.
#[test]
fn a_node_refuses_to_record_into_another_file() {
    let mut cluster = Cluster::assemble(1, &["--record", "{dir}.record"]);
    fs::write(file(&cluster, 0), "somebody's notes").unwrap();
    cluster.boot(0);
    assert_eq!(cluster.nodes[0].wait_for_end(), Some(1));
    let log = cluster.nodes[0].log();
    assert!(log.contains("not a recording") && log.contains("move it away"), "{log}");
    assert_eq!(fs::read_to_string(file(&cluster, 0)).unwrap(), "somebody's notes");
}
