//! state.db: rows, transactions, savepoints, digests, readers beside the writer.

use std::collections::BTreeMap;

use pgraft_replica::Index;
use pgraft_store::{Checkpointer, Disk, Page, ReadTables, StateReader, StateStore};
use tempfile::TempDir;

use crate::world::{Chance, meta};

fn opened() -> (TempDir, Disk, StateStore) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path());
    let store = StateStore::open(&disk, 0).unwrap();
    (dir, disk, store)
}

fn rows(page: &Page) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rest = &page.rows[..];
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let length = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
        let (key, value) = (length(0), length(4));
        rows.push((rest[8..8 + key].to_vec(), rest[8 + key..8 + key + value].to_vec()));
        rest = &rest[8 + key + value..];
    }
    assert_eq!(rows.len(), page.count as usize);
    rows
}

#[test]
fn rows_and_meta_are_found_after_reopening() {
    let (_dir, disk, mut store) = opened();
    assert_eq!(store.meta().applied, Index(0));
    store.begin().unwrap();
    store.put(1, b"a", b"1").unwrap();
    store.put(2, b"a", b"").unwrap();
    store.put(2, b"", b"empty key").unwrap();
    assert!(store.delete(1, b"a").unwrap());
    assert!(!store.delete(1, b"a").unwrap());
    store.put(1, b"b", &[5; 10_000]).unwrap();
    store.set_meta(meta(7, 3));
    store.commit().unwrap();
    let (digest, size) = (store.digest(1), store.size(1));
    drop(store);
    let store = StateStore::open(&disk, 0).unwrap();
    assert_eq!(*store.meta(), meta(7, 3));
    assert_eq!((store.digest(1), store.size(1), store.size(2)), (digest, size, 10));
    assert_eq!(size, 10_001);
    assert_eq!(store.get(2, b"a").unwrap(), Some(Vec::new()));
    assert_eq!(store.get(1, b"a").unwrap(), None);
    assert_eq!(store.size_of(1, b"b").unwrap(), Some(10_000));
    store.verify_digests().unwrap();
}

#[test]
fn digest_is_a_function_of_the_rows_alone() {
    let (_dir, _disk, mut store) = opened();
    store.begin().unwrap();
    assert_eq!(store.digest(9), 0);
    store.put(9, b"x", b"1").unwrap();
    let one = store.digest(9);
    store.put(9, b"y", b"2").unwrap();
    let both = store.digest(9);
    store.put(9, b"x", b"other").unwrap();
    store.put(9, b"x", b"1").unwrap();
    assert_eq!(store.digest(9), both);
    store.delete(9, b"y").unwrap();
    assert_eq!(store.digest(9), one);
    // The same bytes cut elsewhere, or of another machine, are another row.
    store.put(8, b"x1", b"").unwrap();
    store.put(7, b"x", b"1").unwrap();
    assert_ne!(store.digest(8), one);
    assert_ne!(store.digest(7), one);
    assert_eq!(store.delete_range(9, b"", b"").unwrap(), 1);
    assert_eq!((store.digest(9), store.size(9)), (0, 0));
    store.commit().unwrap();
}

#[test]
fn rollback_puts_back_rows_meta_and_digests() {
    let (_dir, _disk, mut store) = opened();
    store.begin().unwrap();
    store.put(1, b"k", b"old").unwrap();
    store.set_meta(meta(1, 1));
    store.commit().unwrap();
    let before = (store.digest(1), store.size(1), store.digest(2));
    store.begin().unwrap();
    store.put(1, b"k", b"new").unwrap();
    store.put(2, b"k", b"new").unwrap();
    store.set_meta(meta(2, 1));
    store.rollback().unwrap();
    assert_eq!((store.digest(1), store.size(1), store.digest(2)), before);
    assert_eq!(*store.meta(), meta(1, 1));
    assert_eq!(store.get(1, b"k").unwrap().unwrap(), b"old");
    store.verify_digests().unwrap();
}

#[test]
fn savepoints_nest_and_undo_one_by_one() {
    let (_dir, _disk, mut store) = opened();
    store.begin().unwrap();
    store.savepoint().unwrap();
    store.savepoint().unwrap();
    store.put(1, b"a", b"1").unwrap();
    store.savepoint().unwrap();
    store.put(1, b"b", b"2").unwrap();
    store.set_meta(meta(5, 5));
    store.rollback_to().unwrap();
    assert_eq!(store.meta().applied, Index(0));
    assert_eq!(store.get(1, b"b").unwrap(), None);
    store.savepoint().unwrap();
    store.put(3, b"c", b"3").unwrap();
    store.release().unwrap();
    store.release().unwrap();
    assert_eq!(store.get(3, b"c").unwrap().unwrap(), b"3");
    store.rollback_to().unwrap();
    assert_eq!(store.get(1, b"a").unwrap(), None);
    assert_eq!((store.digest(1), store.digest(3), store.size(3)), (0, 0, 0));
    store.commit().unwrap();
    store.verify_digests().unwrap();
}

/// More than a savepoint copies: SQLite keeps the rest, and hands it down with the savepoint.
#[test]
fn savepoints_with_large_rows_nest_and_undo() {
    let (_dir, _disk, mut store) = opened();
    let large = |byte: u8| vec![byte; 600 << 10];
    store.begin().unwrap();
    for key in 0..4_u8 {
        store.put(1, &[key], &large(key)).unwrap();
    }
    let digest = store.digest(1);
    store.savepoint().unwrap();
    store.put(1, b"small", b"1").unwrap();
    store.savepoint().unwrap();
    for key in 0..4_u8 {
        store.put(1, &[key], &large(9)).unwrap();
    }
    store.savepoint().unwrap();
    assert!(store.delete(1, &[3]).unwrap());
    store.put(1, &[0], b"0").unwrap();
    store.rollback_to().unwrap();
    assert_eq!(store.get(1, &[3]).unwrap(), Some(large(9)));
    store.savepoint().unwrap();
    assert!(store.delete(1, &[2]).unwrap());
    store.release().unwrap();
    store.release().unwrap();
    store.put(1, b"small", b"2").unwrap();
    store.verify_digests().unwrap();
    store.rollback_to().unwrap();
    assert_eq!(store.digest(1), digest);
    store.verify_digests().unwrap();
    store.commit().unwrap();
    store.begin().unwrap();
    assert_eq!(store.get(1, &[2]).unwrap(), Some(large(2)));
    store.rollback().unwrap();
}

#[test]
fn scan_pages_forward_backward_and_keys_only() {
    let (_dir, _disk, mut store) = opened();
    store.begin().unwrap();
    for key in 0..20_u8 {
        store.put(4, &[b'k', key], &[key; 10]).unwrap();
    }
    store.put(5, b"k", b"other machine").unwrap();
    let page = store.scan(4, b"k\x05", b"k\x0a", 100, 10_000, false, false).unwrap();
    assert_eq!(rows(&page)[0], (b"k\x05".to_vec(), vec![5; 10]));
    assert_eq!((page.count, page.more), (5, false));
    let page = store.scan(4, b"", b"", 3, 10_000, true, true).unwrap();
    assert_eq!(rows(&page)[0], (b"k\x13".to_vec(), Vec::new()));
    assert_eq!((page.count, page.more), (3, true));
    let page = store.scan(4, b"", b"", 100, 45, false, false).unwrap();
    assert_eq!((page.count, page.rows.len(), page.more), (2, 40, true));
    let page = store.scan(4, b"k\x13", b"", 100, 1, false, false).unwrap();
    assert_eq!((page.count, page.more), (1, false), "one row, however small the page");
    let page = store.scan(4, b"", b"", 0, 100, false, false).unwrap();
    assert_eq!((page.count, page.more), (0, true));
    let page = store.scan(4, b"z", b"a", 100, 100, true, false).unwrap();
    assert_eq!(page, Page::default());
    assert_eq!(store.count(4, b"", b"", 1_000).unwrap(), 20);
    assert_eq!(store.count(4, b"k\x02", b"k\x05", 1_000).unwrap(), 3);
    assert_eq!(store.count(4, b"", b"", 7).unwrap(), 7);
    assert_eq!(store.count(4, b"", b"", 0).unwrap(), 0);
    assert_eq!(store.delete_range(4, b"k\x02", b"k\x05").unwrap(), 3);
    assert_eq!(store.delete_range(4, b"k\x02", b"k\x05").unwrap(), 0);
    assert_eq!(store.count(4, b"", b"", 1_000).unwrap(), 17);
    store.commit().unwrap();
    store.verify_digests().unwrap();
}

#[test]
fn reader_sees_what_it_pinned_while_the_writer_goes_on() {
    let (_dir, disk, mut store) = opened();
    store.begin().unwrap();
    store.put(1, b"k", b"one").unwrap();
    store.set_meta(meta(1, 1));
    store.commit().unwrap();
    let mut reader = StateReader::open(&disk, 0).unwrap();
    assert_eq!(reader.begin().unwrap(), meta(1, 1));
    store.begin().unwrap();
    store.put(1, b"k", b"two").unwrap();
    store.set_meta(meta(2, 1));
    store.commit().unwrap();
    assert_eq!(reader.get(1, b"k").unwrap().unwrap(), b"one");
    assert_eq!(reader.count(1, b"", b"", 9).unwrap(), 1);
    reader.end().unwrap();
    reader.end().unwrap();
    assert_eq!(reader.begin().unwrap(), meta(2, 1));
    assert_eq!(reader.get(1, b"k").unwrap().unwrap(), b"two");
    reader.end().unwrap();
    reader.verify().unwrap();
}

#[test]
fn checkpointer_vouches_only_for_what_it_moved() {
    let (_dir, disk, mut store) = opened();
    let write = |store: &mut StateStore, applied: u64| {
        store.begin().unwrap();
        store.put(1, b"k", &applied.to_le_bytes()).unwrap();
        store.set_meta(meta(applied, 1));
        store.commit().unwrap();
    };
    let mut checkpointer = Checkpointer::open(&disk, 0).unwrap();
    write(&mut store, 5);
    assert!(checkpointer.wal_bytes().unwrap() > 0);
    assert_eq!(checkpointer.run().unwrap(), Index(5));
    assert_eq!(checkpointer.wal_bytes().unwrap(), 0);
    let mut reader = StateReader::open(&disk, 0).unwrap();
    write(&mut store, 6);
    reader.begin().unwrap();
    write(&mut store, 7);
    assert_eq!(checkpointer.run().unwrap(), Index(5), "the reader holds frames of the WAL back");
    reader.end().unwrap();
    assert_eq!(checkpointer.run().unwrap(), Index(7));
    // An open transaction of the writer is no obstacle, and is not vouched for.
    store.begin().unwrap();
    store.put(1, b"k", b"8").unwrap();
    store.set_meta(meta(8, 1));
    assert_eq!(checkpointer.run().unwrap(), Index(7));
    store.commit().unwrap();
    assert_eq!(checkpointer.run().unwrap(), Index(8));
}

/// The store against a map with a stack of copies, by random operations.
#[test]
fn random_operations_agree_with_a_map() {
    type Rows = BTreeMap<(u32, Vec<u8>), Vec<u8>>;
    for seed in 0..20 {
        let mut chance = Chance::from_seed(seed);
        let (_dir, disk, mut store) = opened();
        let mut model: Rows = Rows::new();
        for _ in 0..6 {
            let mut stack = vec![model.clone()];
            store.begin().unwrap();
            for _ in 0..40 {
                let top = stack.last_mut().unwrap();
                let (machine, key) = (chance.below(3) as u32, vec![chance.below(6) as u8]);
                match chance.below(10) {
                    0..=3 => {
                        let value = vec![chance.below(4) as u8; chance.below(3) as usize];
                        store.put(machine, &key, &value).unwrap();
                        top.insert((machine, key), value);
                    }
                    4 => {
                        let was = store.delete(machine, &key).unwrap();
                        assert_eq!(was, top.remove(&(machine, key)).is_some());
                    }
                    5 => {
                        let end = [key[0] + 2];
                        let gone = store.delete_range(machine, &key, &end).unwrap();
                        let before = top.len();
                        let range = (machine, key)..(machine, end.to_vec());
                        top.retain(|row, _| !range.contains(row));
                        assert_eq!(gone, (before - top.len()) as u64);
                    }
                    6 | 7 => {
                        let copy = top.clone();
                        stack.push(copy);
                        store.savepoint().unwrap();
                    }
                    8 if stack.len() > 1 => {
                        let kept = stack.pop().unwrap();
                        *stack.last_mut().unwrap() = kept;
                        store.release().unwrap();
                    }
                    9 if stack.len() > 1 => {
                        stack.pop();
                        store.rollback_to().unwrap();
                    }
                    _ => {}
                }
            }
            while stack.len() > 1 {
                let kept = stack.pop().unwrap();
                *stack.last_mut().unwrap() = kept;
                store.release().unwrap();
            }
            if chance.below(4) == 0 {
                store.rollback().unwrap();
            } else {
                store.commit().unwrap();
                model = stack.pop().unwrap();
            }
            store.verify_digests().unwrap();
            for machine in 0..3 {
                let page = store.scan(machine, b"", b"", 100, 1 << 20, false, false).unwrap();
                let of_model = model.iter().filter(|((owner, _), _)| *owner == machine);
                let of_model: Vec<_> =
                    of_model.map(|((_, key), value)| (key.clone(), value.clone())).collect();
                assert_eq!(rows(&page), of_model);
            }
        }
        drop(store);
        StateStore::open(&disk, 0).unwrap().verify_digests().unwrap();
    }
}

#[test]
#[should_panic(expected = "a transaction is open")]
fn begin_inside_a_transaction_is_a_panic() {
    let (_dir, _disk, mut store) = opened();
    store.begin().unwrap();
    let _ = store.begin();
}

#[test]
#[should_panic(expected = "rows change inside a transaction")]
fn put_outside_a_transaction_is_a_panic() {
    let (_dir, _disk, mut store) = opened();
    let _ = store.put(1, b"k", b"v");
}
