//! raft.db: what is written is found again, and nothing else.

use pgraft_replica::{Entry, Fetch, Index, Persist, SnapshotMeta, Term};
use pgraft_store::{Disk, LogStore, Opened};
use tempfile::TempDir;

use crate::world::{conf, entries, entry, hard, identity, task};

fn created() -> (TempDir, Disk) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path());
    assert!(!LogStore::exists(&disk));
    LogStore::create(&disk, &identity(), b"the genesis").unwrap();
    assert!(LogStore::exists(&disk));
    (dir, disk)
}

fn reopened(disk: &Disk, store: LogStore) -> (LogStore, Opened) {
    drop(store);
    LogStore::open(disk).unwrap()
}

fn fetch(low: u64, high: u64, bytes_max: u64) -> Fetch {
    Fetch { low: Index(low), high: Index(high), bytes_max }
}

fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.index.0).collect()
}

#[test]
fn new_log_knows_its_identity_and_is_empty() {
    let (_dir, disk) = created();
    let (_, opened) = LogStore::open(&disk).unwrap();
    assert_eq!(opened.identity, identity());
    assert_eq!(opened.genesis, b"the genesis");
    assert_eq!(opened.hard_state, hard(0, 0, 0));
    assert_eq!((opened.truncated, opened.last), ((Index(0), Term(0)), Index(0)));
    assert_eq!((opened.terms.len(), opened.generation), (0, 0));
}

#[test]
fn written_entries_and_hard_state_are_found_after_reopening() {
    let (_dir, disk) = created();
    let (mut store, _) = LogStore::open(&disk).unwrap();
    let all = [entries(1..=4, 1), entries(5..=6, 3)].concat();
    let tasks = [
        task(all[..2].to_vec(), Some(hard(1, 2, 0))),
        task(all[2..].to_vec(), Some(hard(3, u64::MAX, 2))),
        task(Vec::new(), None),
    ];
    store.write(&tasks).unwrap();
    let (mut store, opened) = reopened(&disk, store);
    assert_eq!(opened.hard_state, hard(3, u64::MAX, 2));
    assert_eq!(opened.terms, [(Index(1), Term(1)), (Index(5), Term(3))]);
    assert_eq!(opened.last, Index(6));
    assert_eq!(store.tail(Index(0), 0).unwrap(), all);
    assert_eq!(store.read(fetch(1, 100, u64::MAX)).unwrap(), all);
}

#[test]
fn conflicting_entries_replace_the_end_of_the_log() {
    let (_dir, disk) = created();
    let (mut store, _) = LogStore::open(&disk).unwrap();
    store.write(&[task(entries(1..=9, 1), Some(hard(1, 0, 3)))]).unwrap();
    store.write(&[task(entries(5..=6, 2), Some(hard(2, 0, 3)))]).unwrap();
    let (mut store, opened) = reopened(&disk, store);
    assert_eq!(opened.last, Index(6));
    assert_eq!(opened.terms, [(Index(1), Term(1)), (Index(5), Term(2))]);
    let found = store.tail(Index(0), 0).unwrap();
    assert_eq!(found, [entries(1..=4, 1), entries(5..=6, 2)].concat());
}

#[test]
fn tail_and_read_respect_their_bounds() {
    let (_dir, disk) = created();
    let (mut store, _) = LogStore::open(&disk).unwrap();
    let all: Vec<Entry> = (1..=10).map(|index| entry(index, 1, &[0; 100])).collect();
    store.write(&[task(all, Some(hard(1, 0, 10)))]).unwrap();
    assert_eq!(indexes(&store.tail(Index(7), 0).unwrap()), [8, 9, 10]);
    assert_eq!(indexes(&store.tail(Index(7), 500).unwrap()), [6, 7, 8, 9, 10]);
    assert_eq!(indexes(&store.tail(Index(10), 99).unwrap()), [0; 0]);
    assert_eq!(indexes(&store.read(fetch(3, 6, 1 << 20)).unwrap()), [3, 4, 5]);
    assert_eq!(indexes(&store.read(fetch(3, 9, 250)).unwrap()), [3, 4]);
    assert_eq!(indexes(&store.read(fetch(3, 9, 0)).unwrap()), [3]);
    assert_eq!(indexes(&store.read(fetch(11, 20, 1 << 20)).unwrap()), [0; 0]);
    assert_eq!(indexes(&store.read(fetch(10, u64::MAX, 1 << 20)).unwrap()), [10]);
}

#[test]
fn truncation_goes_in_steps_with_writes_and_when_idle() {
    let (_dir, disk) = created();
    let (mut store, _) = LogStore::open(&disk).unwrap();
    store.write(&[task(entries(1..=7_000, 4), Some(hard(4, 0, 6_500)))]).unwrap();
    store.truncate_below(Index(6_600));
    store.write(&[task(entries(7_001..=7_001, 4), None)]).unwrap();
    let (mut store, opened) = reopened(&disk, store);
    assert_eq!(opened.truncated, (Index(2_000), Term(4)));
    assert_eq!(indexes(&store.read(fetch(2_000, 2_002, 1 << 20)).unwrap()), [0; 0]);
    assert_eq!(indexes(&store.read(fetch(2_001, 2_002, 1 << 20)).unwrap()), [2_001]);
    store.truncate_below(Index(6_600));
    let mut steps = 0;
    while store.idle().unwrap() {
        steps += 1;
    }
    // What is not known to be committed stays replaceable: 6,500 and not 6,600.
    let (_, opened) = reopened(&disk, store);
    assert_eq!((steps, opened.truncated), (3, (Index(6_500), Term(4))));
    assert_eq!((opened.last, opened.terms), (Index(7_001), vec![(Index(6_501), Term(4))]));
}

#[test]
fn truncation_of_everything_keeps_the_last_index_and_term() {
    let (_dir, disk) = created();
    let (mut store, _) = LogStore::open(&disk).unwrap();
    store.write(&[task(entries(1..=3, 2), Some(hard(2, 1, 3)))]).unwrap();
    store.truncate_below(Index(3));
    while store.idle().unwrap() {}
    let (mut store, opened) = reopened(&disk, store);
    assert_eq!((opened.truncated, opened.last), ((Index(3), Term(2)), Index(3)));
    assert!(store.tail(Index(0), 1_000).unwrap().is_empty());
    store.write(&[task(entries(4..=4, 2), None)]).unwrap();
    assert_eq!(reopened(&disk, store).1.last, Index(4));
}

fn snapshot_task(index: u64, term: u64) -> Persist {
    let snapshot = SnapshotMeta { index: Index(index), term: Term(term), conf: conf(&[1, 2]) };
    Persist { snapshot: Some(snapshot), ..task(Vec::new(), Some(hard(term, 0, index))) }
}

#[test]
fn installed_snapshot_empties_the_log_and_sets_the_generation() {
    let (_dir, disk) = created();
    let (mut store, _) = LogStore::open(&disk).unwrap();
    store.write(&[task(entries(1..=300, 1), Some(hard(1, 3, 20)))]).unwrap();
    store.install(&snapshot_task(200, 5), 1).unwrap();
    store.write(&[task(entries(201..=202, 5), None)]).unwrap();
    let (mut store, opened) = reopened(&disk, store);
    assert_eq!((opened.generation, opened.truncated), (1, (Index(200), Term(5))));
    assert_eq!((opened.hard_state, opened.last), (hard(5, 0, 200), Index(202)));
    store.set_generation(2).unwrap();
    assert_eq!(reopened(&disk, store).1.generation, 2);
}

#[test]
fn large_wal_is_moved_inside_a_write_and_when_idle() {
    let (dir, disk) = created();
    let (mut store, _) = LogStore::open(&disk).unwrap();
    let wal = || std::fs::metadata(dir.path().join("raft.db-wal")).unwrap().len();
    let file = || std::fs::metadata(dir.path().join("raft.db")).unwrap().len();
    let big = |index| task(vec![entry(index, 1, &vec![9; 1 << 20])], Some(hard(1, 0, index)));
    for index in 1..=6 {
        store.write(&[big(index)]).unwrap();
    }
    assert!(file() < 1 << 20, "nothing forces 6 MiB into the file");
    assert!(!store.idle().unwrap());
    assert!(file() > 6 << 20, "idle() moved them");
    for index in 7..=80 {
        store.write(&[big(index)]).unwrap();
    }
    assert!(wal() < 40 << 20, "the WAL has {} bytes", wal());
    let (mut store, opened) = reopened(&disk, store);
    assert_eq!(opened.last, Index(80));
    assert_eq!(store.tail(Index(0), 0).unwrap().len(), 80);
}

#[test]
#[should_panic(expected = "gap between 2 and 4")]
fn gap_is_a_panic() {
    let (_dir, disk) = created();
    let (mut store, _) = LogStore::open(&disk).unwrap();
    store.write(&[task(entries(1..=2, 1), Some(hard(1, 0, 0)))]).unwrap();
    let _ = store.write(&[task(entries(4..=4, 1), None)]);
}

#[test]
#[should_panic(expected = "a second vote in term 3")]
fn second_vote_in_a_term_is_a_panic() {
    let (_dir, disk) = created();
    let (mut store, _) = LogStore::open(&disk).unwrap();
    store.write(&[task(Vec::new(), Some(hard(3, 1, 0)))]).unwrap();
    let _ = store.write(&[task(Vec::new(), Some(hard(3, 2, 0)))]);
}

#[test]
#[should_panic(expected = "entry 2 is committed at 2")]
fn replacing_a_committed_entry_is_a_panic() {
    let (_dir, disk) = created();
    let (mut store, _) = LogStore::open(&disk).unwrap();
    store.write(&[task(entries(1..=3, 1), Some(hard(1, 1, 2)))]).unwrap();
    let _ = store.write(&[task(entries(2..=2, 2), None)]);
}
