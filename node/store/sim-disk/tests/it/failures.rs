//! A disk that says that it failed, one that does not say so, and one that is full.

use pgraft_sim_disk::{Failure, SimDisk};
use pgraft_store::{Fault, LogStore};
use rusqlite::{Connection, OpenFlags};

use crate::log;

#[test]
fn power_loss_at_every_call_takes_nothing_acknowledged_and_every_kind_of_loss_happens() {
    let (mut torn, mut reordered, mut lost, mut kept) = (0, 0, 0, 0);
    for at in 0.. {
        let sim = SimDisk::new(at);
        let mut store = log::create(&sim);
        sim.freeze_in(at);
        let told = (1..=6).take_while(|index| log::append(&mut store, *index).is_ok()).count();
        if !sim.frozen() {
            assert!(at > 15, "six commits have only {at} calls");
            break;
        }
        sim.power_loss();
        let loss = sim.counters().last_loss;
        torn += loss.torn;
        reordered += loss.reordered;
        lost += loss.lost;
        kept += loss.kept;
        let found = log::recover(&sim).unwrap();
        let told = told as u64;
        assert!(found == told || found == told + 1, "call {at}: {found} found, {told} told");
    }
    println!("{lost} writes lost, {kept} kept, {torn} torn, {reordered} reordered");
    assert!(lost > 0 && kept > 0 && torn > 0 && reordered > 0);
}

/// A failed write or sync, by its own count; then the machine needs memory, and then power.
#[test]
fn failed_writes_and_syncs_are_faults_and_lose_nothing_acknowledged() {
    let order = |sim: &SimDisk, sync: bool, at| match sync {
        true => sim.fail_sync_in(at),
        false => sim.fail_write_in(at, Failure::Io),
    };
    let mut faults = [0, 0];
    for (sync, at) in (0..40).flat_map(|at| [(false, at), (true, at)]) {
        let sim = SimDisk::new(at);
        let mut store = log::create(&sim);
        order(&sim, sync, at);
        let outcomes: Vec<_> = (1..=6).map(|index| log::append(&mut store, index)).collect();
        let told = outcomes.iter().take_while(|outcome| outcome.is_ok()).count() as u64;
        if sim.failure_ordered() {
            continue;
        }
        faults[usize::from(sync)] += 1;
        assert_eq!(sim.counters().failures, 1);
        assert!(matches!(outcomes[told as usize], Err(Fault::Io { .. })), "{outcomes:?}");
        drop(store);
        sim.process_crash();
        sim.drop_caches();
        let found = log::recover(&sim).unwrap();
        assert!(found == told || found == told + 1, "call {at}: {found} found, {told} told");
        sim.power_loss();
        assert_eq!(log::recover(&sim).unwrap(), found, "what a start reports lasts");
    }
    println!("{} failed writes, {} failed syncs", faults[0], faults[1]);
    assert!(faults[0] > 10 && faults[1] >= 6, "{faults:?}");
}

/// The planted bug: a start that takes for durable what the page cache shows after a failed sync.
/// The real store writes its WAL again first.
#[test]
fn canary_start_that_trusts_the_page_cache_reports_what_does_not_last() {
    const READ: &str = "SELECT a FROM meta WHERE k=3";
    let forgets = |seed: &u64| {
        let sim = SimDisk::new(*seed);
        drop(log::appended(&sim, 2));
        let vfs = std::ffi::CString::new(sim.vfs()).unwrap();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let open = || {
            sim.process_crash();
            let name = "/node/raft.db";
            Connection::open_with_flags_and_vfs(name, flags, vfs.as_c_str()).unwrap()
        };
        let connection = open();
        connection.execute_batch("PRAGMA synchronous=FULL").unwrap();
        sim.fail_sync_in(0);
        connection.execute_batch("UPDATE meta SET a=7 WHERE k=3").unwrap_err();
        sim.freeze();
        drop(connection);
        let reported: i64 = open().query_row(READ, [], |row| row.get(0)).unwrap();
        sim.power_loss();
        let after: i64 = open().query_row(READ, [], |row| row.get(0)).unwrap();
        after != reported
    };
    let seeds = (1..=40).filter(forgets).count();
    println!("a report did not last in {seeds} of 40 seeds");
    assert!(seeds > 10, "{seeds}");
}

#[test]
fn lying_syncs_lose_what_was_acknowledged_until_an_honest_one() {
    let (mut lied, mut honest) = (0, 0);
    for seed in 1..=40 {
        let sim = SimDisk::new(seed);
        let mut store = log::appended(&sim, 2);
        sim.set_lying(true);
        (3..=5).for_each(|index| log::append(&mut store, index).unwrap());
        assert!(sim.counters().lies >= 3);
        let image = sim.image();
        sim.power_loss();
        lied += u64::from(log::recover(&sim).is_ok_and(|found| found < 5));
        // The same moment once more, and the disk stops lying just in time.
        let other = SimDisk::new(seed);
        other.restore(&image);
        let (mut store, _) = LogStore::open(&log::on(&other)).unwrap();
        log::append(&mut store, 6).unwrap();
        other.power_loss();
        honest += u64::from(log::recover(&other).unwrap() < 6);
    }
    println!("acknowledged entries were lost in {lied} of 40 seeds");
    assert!(lied > 10, "{lied}");
    assert_eq!(honest, 0);
}

#[test]
fn full_disk_is_a_fault_of_its_own_and_passes() {
    let sim = SimDisk::new(1);
    let mut store = log::appended(&sim, 3);
    sim.set_capacity(Some(sim.used() + 10_000));
    let mut index = 3;
    let fault = loop {
        match log::append(&mut store, index + 1) {
            Ok(()) => index += 1,
            Err(fault) => break fault,
        }
        assert!(index < 20, "10 kB hold no more");
    };
    assert!(fault.is_full(), "{fault}");
    assert!(sim.counters().full > 0);
    sim.set_capacity(None);
    log::append(&mut store, index + 1).unwrap();
    sim.power_loss();
    assert_eq!(log::recover(&sim).unwrap(), index + 1);
}
