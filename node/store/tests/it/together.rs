//! Writer, readers, checkpointer and a snapshot at once, on real files and in threads.

use std::sync::atomic::{AtomicBool, Ordering};

use pgraft_replica::Index;
use pgraft_store::{
    Checkpointer, Disk, ReadTables, SnapshotSink, SnapshotSource, StateReader, StateStore,
};

use crate::world::{Chance, meta};

const ROUNDS: u64 = 300;

/// Ends the other threads, also when the writer panics.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn write(store: &mut StateStore, applied: u64, chance: &mut Chance) {
    store.begin().unwrap();
    for _ in 0..10 {
        let key = [chance.below(50) as u8];
        store.put(1, &key, &vec![applied as u8; chance.below(3_000) as usize]).unwrap();
    }
    // The pair that every reader must find equal.
    store.put(2, b"left", &applied.to_le_bytes()).unwrap();
    store.put(2, b"right", &applied.to_le_bytes()).unwrap();
    store.set_meta(meta(applied, 1));
    store.commit().unwrap();
}

fn read(disk: &Disk, done: &AtomicBool) {
    let mut reader = StateReader::open(disk, 0).unwrap();
    let mut last = Index::ZERO;
    while !done.load(Ordering::Acquire) {
        let meta = reader.begin().unwrap();
        assert!(meta.applied >= last, "went back to {}", meta.applied);
        last = meta.applied;
        let (left, right) = (reader.get(2, b"left").unwrap(), reader.get(2, b"right").unwrap());
        let applied = (last > Index::ZERO).then(|| last.0.to_le_bytes().to_vec());
        assert_eq!((&left, &right), (&applied, &applied));
        reader.end().unwrap();
    }
    reader.verify().unwrap();
}

fn checkpoint(disk: &Disk, done: &AtomicBool) {
    let mut checkpointer = Checkpointer::open(disk, 0).unwrap();
    let mut last = Index::ZERO;
    while !done.load(Ordering::Acquire) {
        let durable = checkpointer.run().unwrap();
        assert!(durable >= last);
        last = durable;
        checkpointer.wal_bytes().unwrap();
        std::thread::yield_now();
    }
}

fn copy(disk: &Disk, done: &AtomicBool) {
    let mut copies = 0;
    while copies == 0 || !done.load(Ordering::Acquire) {
        let mut source = SnapshotSource::open(disk, 0).unwrap();
        let mut sink = SnapshotSink::create(disk, 1).unwrap();
        while let Some(chunk) = source.next_chunk().unwrap() {
            sink.write(&chunk).unwrap();
        }
        sink.finish(&source.meta()).unwrap();
        copies += 1;
    }
    StateStore::open(disk, 1).unwrap().verify_digests().unwrap();
}

#[test]
fn readers_checkpoints_and_snapshots_do_not_disturb_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path());
    let mut store = StateStore::open(&disk, 0).unwrap();
    let mut chance = Chance::from_seed(21);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| read(&disk, &done));
        let checkpointer = scope.spawn(|| checkpoint(&disk, &done));
        let copier = scope.spawn(|| copy(&disk, &done));
        let _done = Done(&done);
        for applied in 1..=ROUNDS {
            write(&mut store, applied, &mut chance);
            assert!(!checkpointer.is_finished() && !copier.is_finished(), "a thread gave up");
        }
    });
    store.verify_digests().unwrap();
    // Nobody holds the WAL back any more.
    let mut checkpointer = Checkpointer::open(&disk, 0).unwrap();
    assert_eq!(checkpointer.run().unwrap(), Index(ROUNDS));
}
