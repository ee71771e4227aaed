//! Power loss at every call: whatever was acknowledged is found again, the hard state never goes
//! back, and exactly one state fits the log.
//!
//! A run does the steps of a workload as a driver would, on a disk that freezes at its k-th call.
//! Then the power fails, and what a new start finds is compared with what the run was told. Bugs
//! planted here, not in the store, prove that the comparison sees.

mod node;
mod steps;
mod truth;

use pgraft_sim_disk::{Failure, SimDisk};

use node::{Bug, Node, Peer, recover};
use steps::{Step, random_workload, workload};
use truth::Truth;

/// How a run ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    PowerLoss,
    /// The process dies, a new one opens what the page cache holds, and then the power fails.
    ProcessThenPower,
    /// One call fails instead of the disk freezing; then as `ProcessThenPower`. A sync that failed
    /// has lost its pages, and no later sync says so.
    FailedCall,
}

/// What a run does.
struct Plan<'a> {
    steps: &'a [Step],
    peer: &'a Peer,
    bug: Bug,
}

/// Runs the workload on a disk that freezes at call `at`; `Err` says which promise was broken.
/// `Ok(false)` when the workload ended before that call.
fn run(seed: u64, at: u64, end: End, plan: &Plan<'_>) -> Result<bool, String> {
    let Plan { bug, .. } = *plan;
    let disk = SimDisk::new(seed ^ (at << 20));
    if bug == Bug::WalNotSynced {
        disk.defer_syncs("/node/raft.db-wal", "/node/raft.db");
    }
    match end {
        End::FailedCall => disk.fail_in(at, Failure::Io),
        End::PowerLoss | End::ProcessThenPower => disk.freeze_in(at),
    }
    let mut truth = Truth::default();
    let crashed = drive(&disk, plan, &mut truth).is_err();
    let reached = match end {
        End::FailedCall => !disk.failure_ordered(),
        End::PowerLoss | End::ProcessThenPower => disk.frozen(),
    };
    assert!(reached || !crashed, "a run ends only with the disk: {truth:?}");
    if crashed && end != End::PowerLoss {
        disk.process_crash();
        if let Some(found) = recover(&disk)? {
            truth.check(&found)?;
            // Whatever a start reports may be told to others, so it has to last.
            truth.settle(&found);
        }
    }
    disk.power_loss();
    let first = recover(&disk)?;
    match &first {
        Some(found) => truth.check(found)?,
        None if truth.created() => return Err("the log is gone".to_owned()),
        None => {}
    }
    disk.power_loss();
    let second = recover(&disk)?;
    match (&first, &second) {
        (Some(first), Some(second)) => {
            truth.settle(first);
            truth.check(second)?;
        }
        (Some(_), None) => return Err("the log is gone after a second power loss".to_owned()),
        (None, _) => {}
    }
    Ok(reached)
}

fn drive(disk: &SimDisk, plan: &Plan<'_>, truth: &mut Truth) -> Result<(), String> {
    let mut node = Node::create(disk, plan.bug, truth)?;
    for step in plan.steps {
        node.carry_out(step, plan.peer, truth)?;
    }
    Ok(())
}

/// Freezes at each call of the workload. Returns how many there are, or what went wrong.
fn explore(seed: u64, end: End, bug: Bug, steps: &[Step]) -> Result<u64, String> {
    let peer = Peer::new();
    let plan = Plan { steps, peer: &peer, bug };
    let mut at = 0;
    while run(seed, at, end, &plan)
        .map_err(|broken| format!("seed {seed}, disk ends at call {at}: {broken}"))?
    {
        at += 1;
    }
    Ok(at)
}

#[test]
fn power_loss_at_every_call_loses_nothing_acknowledged() {
    for seed in 1..=4 {
        let calls = explore(seed, End::PowerLoss, Bug::None, &workload()).unwrap();
        assert!(calls > 150, "the workload has only {calls} calls");
    }
}

#[test]
fn what_a_start_reports_lasts_even_when_only_the_page_cache_held_it() {
    for seed in 11..=12 {
        explore(seed, End::ProcessThenPower, Bug::None, &workload()).unwrap();
    }
}

#[test]
fn any_failed_call_ends_the_process_and_nothing_acknowledged_is_lost() {
    for seed in 31..=32 {
        explore(seed, End::FailedCall, Bug::None, &workload()).unwrap();
    }
}

#[test]
fn random_workloads_survive_power_loss_at_every_call() {
    for seed in 100..109 {
        let steps = random_workload(seed);
        let end = [End::PowerLoss, End::ProcessThenPower, End::FailedCall][(seed % 3) as usize];
        if let Err(broken) = explore(seed, end, Bug::None, &steps) {
            panic!("{broken}\n{steps:#?}");
        }
    }
}

#[test]
fn workload_covers_every_kind_of_call() {
    let disk = SimDisk::new(3);
    let mut truth = Truth::default();
    let (steps, peer) = (workload(), Peer::new());
    let plan = Plan { steps: &steps, peer: &peer, bug: Bug::None };
    drive(&disk, &plan, &mut truth).unwrap();
    println!("{} calls, {} syncs", disk.calls(), disk.syncs());
    assert!(disk.syncs() > 30, "{} syncs", disk.syncs());
    assert_eq!(disk.files().iter().filter(|name| name.ends_with(".db")).count(), 2);
    disk.power_loss();
    let found = recover(&disk).unwrap().unwrap();
    truth.check(&found).unwrap();
    assert_eq!(found.generation(), 1);
    assert!(found.truncated() > node::SNAPSHOT_INDEX, "the log was truncated after the snapshot");
}

fn caught(end: End, bug: Bug) -> String {
    (1..=10)
        .find_map(|seed| explore(seed, end, bug, &workload()).err())
        .expect("the planted bug is caught")
}

#[test]
fn canary_log_without_sync_at_commit_is_caught() {
    let broken = caught(End::PowerLoss, Bug::WalNotSynced);
    assert!(broken.contains("entries") || broken.contains("hard state"), "{broken}");
}

#[test]
fn canary_acknowledgement_before_commit_is_caught() {
    let broken = caught(End::PowerLoss, Bug::AcknowledgesBeforeCommit);
    assert!(broken.contains("entries") || broken.contains("hard state"), "{broken}");
}

#[test]
fn canary_truncation_above_durable_state_is_caught() {
    let broken = caught(End::PowerLoss, Bug::TruncatesAboveDurable);
    assert!(broken.contains("truncated"), "{broken}");
}
