//! The small bounds of every model of the store, and what the models stand on.

use pgraft_sim_disk::{Fate, Image, SimDisk};

use super::model::{Faults, Stores};
use super::node::{self, Bug};
use super::run::{Failing, Process};
use super::spec::{Found, FoundLog, Spec};
use super::words::{Op, Step};
use super::{entries, fates};
use crate::bounds::Bounds;
use crate::report::End;
use crate::search;

/// Checks a model in its small bounds.
fn small(name: &str) -> String {
    let entry = entries().into_iter().find(|entry| entry.name == name).unwrap();
    let report = (entry.check)(&entry.small);
    print!("{report}");
    report.verdict(entry.expected).unwrap_or_else(|what| panic!("{what}"));
    assert!(report.finished() || report.end == End::Refuted, "{report}");
    report.to_string()
}

#[test]
fn store_survives_every_power_loss() {
    small("store");
}

#[test]
fn store_survives_power_losses_in_its_starts() {
    small("store-starts");
}

#[test]
fn store_survives_failed_calls_full_disks_and_killed_processes() {
    small("store-errors");
}

#[test]
fn store_survives_long_walks() {
    small("store-walks");
}

#[test]
fn canary_commit_without_sync_is_refuted() {
    let shown = small("store-canary-normal");
    assert!(shown.contains("raft.db-wal"), "{shown}");
}

#[test]
fn canary_early_acknowledgement_is_refuted() {
    small("store-canary-early");
}

#[test]
fn canary_applied_index_outside_the_transaction_is_refuted() {
    let shown = small("store-canary-outside");
    assert!(shown.contains("the state says it has applied"), "{shown}");
}

#[test]
fn canary_truncation_above_durable_state_is_refuted() {
    small("store-canary-truncation");
}

#[test]
fn canary_snapshot_installed_too_early_is_refuted() {
    small("store-canary-install");
}

#[test]
fn canary_wrong_specification_is_refuted() {
    small("store-canary-spec");
}

/// A canary for the faults: where none is tried, nothing is seen.
#[test]
fn canary_without_power_losses_a_missing_sync_goes_unseen() {
    let bounds = Bounds::to_depth(1, 1);
    let faults = Faults::Power { few: true };
    let stores = Stores { faults, bug: Bug::SynchronousNormal, entries_max: 5, term_max: 3 };
    let report = search::run("", stores, &bounds);
    assert!(report.refuted.is_empty(), "{report}");
}

/// The disks between the calls of a step after some appends.
fn moments(appends: usize, bug: Bug) -> Vec<Image> {
    let sim = SimDisk::new(1);
    node::create(&sim);
    let base = sim.image().settled();
    let since = vec![Step { op: Op::Append, full_at: None }; appends];
    let process = Process { base: &base, allowed: &[Spec::new()], since: &since, bug };
    let ended = process.step(Step { op: Op::Vote, full_at: None });
    ended.moments.into_iter().map(|moment| moment.image).chain([ended.image]).collect()
}

#[test]
fn fates_are_all_subsets_of_few_writes_and_tear_pages() {
    let page = |image: &Image| image.unsynced().iter().any(|one| one.what.sectors() > 8);
    let images = moments(1, Bug::None);
    let image = images.iter().find(|image| page(image) && image.unsynced().len() < 5).unwrap();
    let unsynced = image.unsynced();
    let all: Vec<Vec<Fate>> = fates::of(image, false);
    for set in 0..1 << unsynced.len() {
        let kept = |place: usize| if set >> place & 1 == 1 { Fate::Kept } else { Fate::Lost };
        let subset: Vec<Fate> = (0..unsynced.len()).map(kept).collect();
        assert!(all.contains(&subset), "{subset:?} is not among {all:?}");
    }
    for (place, _) in unsynced.iter().enumerate().filter(|(_, one)| one.what.sectors() > 1) {
        for mask in [0x00ff, 0xff00, 0x5555] {
            let torn = |fates: &&Vec<Fate>| fates[place] == Fate::Torn(mask);
            assert!(all.iter().filter(torn).count() > 0, "write {place} is not torn {mask:#x}");
        }
    }
    assert!(fates::of(image, true).len() < all.len());
}

#[test]
fn fates_of_many_writes_are_some_of_each_kind() {
    let images = moments(4, Bug::SynchronousNormal);
    let image = images.last().unwrap();
    let count = image.unsynced().len();
    let found = fates::of(image, false);
    println!("{} fates of {count} writes", found.len());
    assert!(count > 15 && (60..400).contains(&found.len()));
    assert!(found.iter().all(|fates| fates.len() == count));
    for fate in [Fate::Lost, Fate::Kept] {
        assert!(found.contains(&vec![fate; count]));
    }
}

#[test]
fn every_failed_call_of_every_operation_ends_the_process() {
    let sim = SimDisk::new(1);
    node::create(&sim);
    let base = sim.image().settled();
    let since = [Op::Extend, Op::Append].map(|op| Step { op, full_at: None });
    let allowed = [Spec::new()];
    let process = Process { base: &base, allowed: &allowed, since: &since, bug: Bug::None };
    for op in [Op::Vote, Op::Apply, Op::Install, Op::Restart] {
        let count = |failing: fn(u64) -> Failing| {
            let dead = |at: &u64| {
                let dead = process.fail(op, failing(*at));
                dead.map(|dead| dead.map(|_| ()).unwrap_or_else(|what| panic!("{what}"))).is_some()
            };
            (0..).take_while(dead).count()
        };
        let (writes, syncs) = (count(Failing::Write), count(Failing::Sync));
        println!("{op:?}: {writes} writes, {syncs} syncs");
        assert!(writes > 0 && (syncs > 0 || op == Op::Apply));
    }
}

type Change<'a> = &'a dyn Fn(&mut Found, &mut FoundLog);

fn found(spec: &Spec) -> Found {
    let log = FoundLog {
        term: spec.term,
        vote: spec.vote,
        commit: spec.commit,
        generation: spec.generation,
        truncated: (spec.floor, spec.term_at(spec.floor)),
    };
    let tail = (spec.floor + 1..=spec.last()).map(|index| (index, spec.term_at(index))).collect();
    Found { log: Some(log), tail, applied: (spec.applied, spec.term_at(spec.applied)) }
}

#[test]
fn specification_takes_what_it_says_and_nothing_else() {
    let ops = [Op::Extend, Op::Append, Op::Apply, Op::Vote, Op::Overwrite, Op::Checkpoint];
    let spec = ops.iter().fold(Spec::new(), |spec, op| spec.after(*op));
    assert_eq!(format!("{spec:?}"), "t3 v0 c2 log [1, 1, 3] cut 0..=2 applied 2..=2 gen 0");
    let good = found(&spec);
    assert_eq!(spec.check(&good).unwrap().asked, 0);
    let changed = |change: Change<'_>| {
        let (mut found, mut log) = (good.clone(), good.log.unwrap());
        change(&mut found, &mut log);
        found.log = Some(log);
        spec.check(&found)
    };
    // The log may be cut up to what was asked, and only there.
    let cut = changed(&|found, log| {
        found.tail.drain(..2);
        log.truncated = (2, 1);
    });
    assert_eq!(cut.unwrap().floor, 2);
    let wrong: [Change<'_>; 8] = [
        &|_, log| log.vote = 1,
        &|_, log| log.term = 2,
        &|_, log| log.commit = 3,
        &|_, log| log.generation = 1,
        &|_, log| log.truncated = (3, 3),
        &|found, _| found.tail.truncate(2),
        &|found, _| found.tail[2].1 = 1,
        &|found, _| found.applied = (1, 1),
    ];
    for (case, change) in wrong.iter().enumerate() {
        assert!(changed(change).is_err(), "case {case}");
    }
}
