//! Images, costs and counters.

use pgraft_sim_disk::{Call, Change, Cost, Fate, SimDisk};
use pgraft_store::LogStore;

use crate::log;

#[test]
fn older_disk_comes_back_as_it_was() {
    let sim = SimDisk::new(1);
    let mut store = log::appended(&sim, 3);
    let older = sim.image();
    (4..=6).for_each(|index| log::append(&mut store, index).unwrap());
    sim.restore(&older);
    assert!(log::append(&mut store, 7).is_err(), "a process does not survive its disk");
    drop(store);
    assert_eq!(sim.image(), older);
    assert_eq!(log::recover(&sim).unwrap(), 3);
}

/// Exactly what a commit promises: before its sync all fates are allowed, after it none.
#[test]
fn every_fate_of_every_write_of_a_commit_is_recovered_from() {
    let sim = SimDisk::new(1);
    drop(log::appended(&sim, 2));
    let before = sim.image().settled();
    let (mut images, mut third) = (0, 0);
    for calls in 0.. {
        sim.restore(&before);
        let mut store = LogStore::open(&log::on(&sim)).unwrap().0;
        sim.freeze_in(calls);
        let told = log::append(&mut store, 3).is_ok();
        let reached = sim.frozen();
        sim.freeze();
        drop(store);
        let image = sim.image();
        let unsynced = image.unsynced();
        assert!(unsynced.len() <= 8, "{unsynced:?}");
        if told {
            assert!(unsynced.iter().all(|one| one.what == Change::Create), "{unsynced:?}");
        }
        for mask in 0..1_u32 << unsynced.len() {
            let fates: Vec<Fate> = (0..unsynced.len())
                .map(|place| if mask >> place & 1 == 1 { Fate::Kept } else { Fate::Lost })
                .collect();
            sim.restore(&image.after_power_loss(&fates));
            let found = log::recover(&sim).unwrap();
            assert!(found == 3 || !told && found == 2, "call {calls}, {fates:?}: {found}");
            images += 1;
            third += u32::from(found == 3);
        }
        if !reached {
            break;
        }
    }
    println!("{images} images, the entry under way was in {third}");
    assert!(images > 20 && third > 1 && third < images);
}

#[test]
fn cost_of_a_commit_is_a_few_writes_and_one_sync() {
    let sim = SimDisk::new(1);
    let mut store = log::appended(&sim, 3);
    let all = sim.take_cost();
    assert!(all.syncs > 3 && all.writes > all.syncs && all.write_bytes > 20_000, "{all:?}");
    assert_eq!(sim.take_cost(), Cost::default());
    log::append(&mut store, 4).unwrap();
    let one = sim.take_cost();
    assert_eq!(one.syncs, 1, "{one:?}");
    assert!(one.writes >= 2 && one.write_bytes > 8_192, "{one:?}");
    let counters = sim.counters();
    assert_eq!((counters.writes, counters.syncs), (all.writes + one.writes, sim.syncs()));
}

/// One run shows what freezing at each call would.
#[test]
fn recorded_moments_are_the_disks_that_a_freeze_leaves() {
    let sim = SimDisk::new(1);
    drop(log::appended(&sim, 2));
    let before = sim.image().settled();
    let open = |sim: &SimDisk| {
        sim.restore(&before);
        LogStore::open(&log::on(sim)).unwrap().0
    };
    let mut store = open(&sim);
    sim.record_moments();
    log::append(&mut store, 3).unwrap();
    let moments = sim.take_moments();
    assert_eq!(moments.last().unwrap().call, Call::Sync);
    for (at, moment) in moments.iter().enumerate() {
        let mut store = open(&sim);
        sim.freeze_in(at as u64);
        log::append(&mut store, 3).unwrap_err();
        sim.freeze();
        // Only the salts of the WAL differ.
        assert_eq!(sim.image().unsynced(), moment.image.unsynced(), "call {at}");
        assert_eq!(sim.image().files(), moment.image.files(), "call {at}");
    }
    assert!(sim.take_moments().is_empty());
}
