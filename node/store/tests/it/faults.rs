//! Failing disks: a fault ends the use of a store, a full disk does not, and fsyncs are counted.

use pgraft_replica::Index;
use pgraft_sim_disk::{Failure, SimDisk};
use pgraft_store::{Checkpointer, Disk, Fault, LogStore, SnapshotSink, SnapshotSource, StateStore};

use crate::world::{entries, entry, hard, identity, meta, task};

fn log_on(sim: &SimDisk) -> (Disk, LogStore) {
    let disk = Disk { dir: "/node".into(), vfs: Some(sim.vfs()) };
    LogStore::create(&disk, &identity(), b"genesis").unwrap();
    let store = LogStore::open(&disk).unwrap().0;
    (disk, store)
}

#[test]
fn steady_write_costs_one_sync_and_waiting_tasks_share_it() {
    let sim = SimDisk::new(1);
    let (_, mut store) = log_on(&sim);
    store.write(&[task(entries(1..=1, 1), Some(hard(1, 0, 0)))]).unwrap();
    for round in 0..200_u64 {
        let first = 2 + 3 * round;
        let before = sim.syncs();
        let tasks: Vec<_> = (first..first + 3)
            .map(|index| task(vec![entry(index, 1, &[7; 300])], Some(hard(1, 0, index - 1))))
            .collect();
        store.truncate_below(Index((first - 1).saturating_sub(50)));
        store.write(&tasks).unwrap();
        assert_eq!(sim.syncs() - before, 1, "round {round}");
    }
    let before = (sim.syncs(), sim.calls());
    store.write(&[task(Vec::new(), None)]).unwrap();
    assert_eq!((sim.syncs(), sim.calls()), before, "nothing to write costs nothing");
}

#[test]
fn state_commits_without_sync() {
    let sim = SimDisk::new(2);
    let disk = Disk { dir: "/node".into(), vfs: Some(sim.vfs()) };
    let mut state = StateStore::open(&disk, 0).unwrap();
    let mut checkpointer = Checkpointer::open(&disk, 0).unwrap();
    let mut before = 0;
    for applied in 1..=100 {
        if applied == 2 {
            // A WAL that starts over has its header synced, once.
            before = sim.syncs();
        }
        state.begin().unwrap();
        state.put(1, &[1], &[applied as u8]).unwrap();
        state.set_meta(meta(applied, 1));
        state.commit().unwrap();
    }
    assert_eq!(sim.syncs(), before);
    assert_eq!(checkpointer.run().unwrap(), Index(100));
    assert!((1..=3).contains(&(sim.syncs() - before)), "{} syncs", sim.syncs() - before);
}

/// Lets each call of a write fail in turn.
#[test]
fn failed_write_or_sync_ends_the_use_of_the_log() {
    for call in 0.. {
        let sim = SimDisk::new(call);
        let (disk, mut store) = log_on(&sim);
        store.write(&[task(entries(1..=2, 1), Some(hard(1, 2, 1)))]).unwrap();
        let calls = sim.calls();
        sim.fail_in(call, Failure::Io);
        let next = task(entries(3..=4, 1), Some(hard(1, 2, 2)));
        let outcome = store.write(std::slice::from_ref(&next));
        if outcome.is_ok() {
            assert!(call >= 3, "a write has a header, pages and a sync, not {call} calls");
            break;
        }
        assert!(matches!(outcome, Err(Fault::Io { .. })), "{outcome:?}");
        // Nothing of the store touches the disk again, not even when it is dropped.
        let calls_at_fault = sim.calls();
        assert!(calls_at_fault > calls);
        let again = store.write(&[next]);
        assert!(matches!(again, Err(Fault::Broken { .. })), "{again:?}");
        assert!(matches!(store.idle(), Err(Fault::Broken { .. })));
        assert!(matches!(store.tail(Index(0), 10), Err(Fault::Broken { .. })));
        drop(store);
        assert_eq!(sim.calls(), calls_at_fault, "closing wrote to a disk that failed");
        // A restart believes only what it has made durable itself.
        sim.process_crash();
        let (store, opened) = LogStore::open(&disk).unwrap();
        drop(store);
        sim.power_loss();
        let (_, later) = LogStore::open(&disk).unwrap();
        assert_eq!((opened.last, opened.hard_state), (later.last, later.hard_state));
        assert!(later.last >= Index(2));
    }
}

#[test]
fn failed_call_ends_the_use_of_the_state() {
    for call in 0..40 {
        let sim = SimDisk::new(call);
        let disk = Disk { dir: "/node".into(), vfs: Some(sim.vfs()) };
        let mut state = StateStore::open(&disk, 0).unwrap();
        sim.fail_in(call, Failure::Io);
        let mut apply = || -> Result<(), Fault> {
            state.begin()?;
            state.put(1, b"key", &[5; 9_000])?;
            state.set_meta(meta(1, 1));
            state.commit()
        };
        let Err(fault) = apply() else {
            assert!(call > 3, "a commit has more than {call} calls");
            return;
        };
        assert!(matches!(fault, Fault::Io { .. }), "{fault:?}");
        assert!(matches!(state.get(1, b"key"), Err(Fault::Broken { .. })));
    }
    panic!("the workload has more than 40 calls");
}

#[test]
fn full_disk_leaves_the_log_usable_once_there_is_space() {
    let sim = SimDisk::new(4);
    let (disk, mut store) = log_on(&sim);
    store.write(&[task(entries(1..=2, 1), Some(hard(1, 2, 1)))]).unwrap();
    sim.set_capacity(Some(120_000));
    let big = task(vec![entry(3, 1, &[1; 500_000])], Some(hard(1, 2, 2)));
    for _ in 0..3 {
        let outcome = store.write(std::slice::from_ref(&big));
        assert!(outcome.as_ref().is_err_and(Fault::is_full), "{outcome:?}");
    }
    assert_eq!(store.tail(Index(0), 0).unwrap().len(), 2);
    sim.set_capacity(None);
    store.write(&[big]).unwrap();
    drop(store);
    sim.power_loss();
    let (_, opened) = LogStore::open(&disk).unwrap();
    assert_eq!((opened.last, opened.hard_state), (Index(3), hard(1, 2, 2)));
}

#[test]
fn full_disk_undoes_a_transaction_of_the_state() {
    let sim = SimDisk::new(5);
    let disk = Disk { dir: "/node".into(), vfs: Some(sim.vfs()) };
    let mut state = StateStore::open(&disk, 0).unwrap();
    state.begin().unwrap();
    state.put(1, b"small", b"1").unwrap();
    state.set_meta(meta(1, 1));
    state.commit().unwrap();
    let digest = state.digest(1);
    // More than the page cache holds, so that space is missing before the commit.
    sim.set_capacity(Some(4 << 20));
    let apply = |state: &mut StateStore| -> Result<(), Fault> {
        state.begin()?;
        for key in 0..20_u8 {
            state.savepoint()?;
            state.put(1, &[key], &vec![key; 1 << 20])?;
            state.release()?;
        }
        state.set_meta(meta(2, 1));
        state.commit()
    };
    for _ in 0..2 {
        let outcome = apply(&mut state);
        assert!(outcome.as_ref().is_err_and(Fault::is_full), "{outcome:?}");
        // Only undoing all of it is left; a savepoint cannot be undone alone any more.
        assert!(state.get(1, b"small").is_err_and(|fault| fault.is_full()));
        assert!(state.rollback_to().is_err_and(|fault| fault.is_full()));
        state.rollback().unwrap();
        assert_eq!((state.digest(1), state.meta().applied), (digest, Index(1)));
        state.verify_digests().unwrap();
    }
    sim.set_capacity(None);
    apply(&mut state).unwrap();
    state.verify_digests().unwrap();
    assert_eq!(state.meta().applied, Index(2));
}

/// Each call of a checkpoint fails in turn; what was vouched for, by whomever, is found again.
#[test]
fn failed_checkpoint_vouches_for_nothing() {
    for call in 0..40 {
        let sim = SimDisk::new(call);
        let disk = Disk { dir: "/node".into(), vfs: Some(sim.vfs()) };
        let mut state = StateStore::open(&disk, 0).unwrap();
        let mut checkpointer = Checkpointer::open(&disk, 0).unwrap();
        state.begin().unwrap();
        state.put(1, b"key", &[5; 9_000]).unwrap();
        state.set_meta(meta(1, 1));
        state.commit().unwrap();
        sim.fail_in(call, Failure::Io);
        let Err(fault) = checkpointer.run() else {
            assert!(call >= 4, "a checkpoint has more than {call} calls");
            return;
        };
        assert!(matches!(fault, Fault::Io { .. }), "{fault:?}");
        assert!(matches!(checkpointer.run(), Err(Fault::Broken { .. })));
        sim.process_crash();
        let state = StateStore::open(&disk, 0).unwrap();
        let durable = Checkpointer::open(&disk, 0).unwrap().run().unwrap();
        assert_eq!(durable, state.meta().applied);
        sim.power_loss();
        assert!(StateStore::open(&disk, 0).unwrap().meta().applied >= durable);
    }
    panic!("a checkpoint has more than 40 calls");
}

#[test]
fn write_is_acknowledged_when_only_the_checkpoint_finds_no_space() {
    let sim = SimDisk::new(6);
    let (disk, mut store) = log_on(&sim);
    sim.set_capacity(Some(40 << 20));
    let big = |index| task(vec![entry(index, 1, &vec![9; 1 << 20])], Some(hard(1, 0, index)));
    // The last one makes the WAL larger than 32 MiB.
    for index in 1..=32 {
        store.write(&[big(index)]).unwrap();
    }
    assert!(store.idle().is_err_and(|fault| fault.is_full()));
    sim.set_capacity(None);
    store.write(&[big(33)]).unwrap();
    assert!(!store.idle().unwrap());
    drop(store);
    sim.power_loss();
    assert_eq!(LogStore::open(&disk).unwrap().1.last, Index(33));
}

/// The disk is full at each call in turn; the same write goes through the second time.
#[test]
fn write_that_found_no_space_may_be_repeated() {
    for call in 0..200 {
        let sim = SimDisk::new(call);
        let (disk, mut store) = log_on(&sim);
        sim.fail_in(call, Failure::Full);
        let mut refused = 0;
        for index in 1..=12 {
            let next = task(vec![entry(index, 1, &[3; 2_000])], Some(hard(1, 0, index - 1)));
            store.truncate_below(Index(index.saturating_sub(6)));
            while let Err(fault) = store.write(std::slice::from_ref(&next)) {
                assert!(fault.is_full(), "{fault:?}");
                refused += 1;
            }
        }
        assert!(refused <= 1);
        drop(store);
        if sim.failure_ordered() {
            assert!(call > 40, "twelve writes have more than {call} calls");
            return;
        }
        sim.power_loss();
        let (mut store, opened) = LogStore::open(&disk).unwrap();
        assert_eq!((opened.last, opened.hard_state), (Index(12), hard(1, 0, 11)));
        let tail = store.tail(Index(0), 0).unwrap();
        assert_eq!(tail.len() as u64, 12 - opened.truncated.0.0, "call {call}");
    }
    panic!("twelve writes have more than 200 calls");
}

/// A disk with the state of a received snapshot that nobody has opened yet.
fn received(seed: u64) -> (SimDisk, Disk) {
    let sim = SimDisk::new(seed);
    let disk = Disk { dir: "/node".into(), vfs: Some(sim.vfs()) };
    let mut state = StateStore::open(&disk, 0).unwrap();
    state.begin().unwrap();
    state.put(1, b"key", b"value").unwrap();
    state.set_meta(meta(1, 1));
    state.commit().unwrap();
    let mut source = SnapshotSource::open(&disk, 0).unwrap();
    let mut sink = SnapshotSink::create(&disk, 1).unwrap();
    while let Some(chunk) = source.next_chunk().unwrap() {
        sink.write(&chunk).unwrap();
    }
    sink.finish(&meta(1, 1).snapshot()).unwrap();
    (sim, disk)
}

/// The first open of a received state makes it one with a WAL. Each write and sync of that fails in
/// turn: it is noticed, and the next start finds the state whole.
#[test]
fn failed_first_open_of_a_received_state_is_noticed() {
    let mut noticed = [0, 0];
    for (sync, at) in (0..20).flat_map(|at| [(false, at), (true, at)]) {
        let (sim, disk) = received(at);
        if sync {
            sim.fail_sync_in(at);
        } else {
            sim.fail_write_in(at, Failure::Io);
        }
        let outcome = StateStore::open(&disk, 1);
        if sim.failure_ordered() {
            continue;
        }
        assert!(outcome.is_err(), "sync {sync}, number {at}: failed, and nobody noticed");
        noticed[usize::from(sync)] += 1;
        sim.process_crash();
        drop(StateStore::open(&disk, 1).unwrap());
        sim.power_loss();
        let state = StateStore::open(&disk, 1).unwrap();
        state.verify_digests().unwrap();
        assert_eq!(state.get(1, b"key").unwrap().as_deref(), Some(&b"value"[..]));
    }
    assert!(noticed[0] > 4 && noticed[1] > 1, "{noticed:?}");
}
