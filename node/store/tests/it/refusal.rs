//! What is refused at open, and that the message says the way out.

use pgraft_replica::Index;
use pgraft_sim_disk::SimDisk;
use pgraft_store::{Disk, Fault, LogStore, OpenError, SnapshotSource, StateReader, StateStore};
use tempfile::TempDir;

use crate::world::{entries, entry, hard, identity, meta, task};

fn filled() -> (TempDir, Disk) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path());
    LogStore::create(&disk, &identity(), b"genesis").unwrap();
    let (mut store, _) = LogStore::open(&disk).unwrap();
    store.write(&[task(entries(1..=50, 1), Some(hard(1, 2, 1)))]).unwrap();
    // Opening moves the WAL into the file, which the tests then damage.
    drop(store);
    drop(LogStore::open(&disk).unwrap());
    let mut state = StateStore::open(&disk, 0).unwrap();
    state.begin().unwrap();
    for key in 0..100_u8 {
        state.put(1, &[key], &[key; 100]).unwrap();
    }
    state.set_meta(meta(1, 1));
    state.commit().unwrap();
    drop(state);
    drop(StateStore::open(&disk, 0).unwrap());
    (dir, disk)
}

fn edit(disk: &Disk, name: &str, sql: &str) {
    let connection = rusqlite::Connection::open(disk.dir.join(name)).unwrap();
    connection.execute_batch(sql).unwrap();
}

fn overwrite(disk: &Disk, name: &str, at: usize, bytes: &[u8]) {
    let path = disk.dir.join(name);
    let mut contents = std::fs::read(&path).unwrap();
    contents[at..at + bytes.len()].copy_from_slice(bytes);
    std::fs::write(&path, contents).unwrap();
}

fn refused_log(disk: &Disk) -> OpenError {
    assert!(LogStore::exists(disk));
    LogStore::open(disk).map(|_| ()).unwrap_err()
}

#[test]
fn second_process_is_told_that_the_log_is_in_use() {
    let (_dir, disk) = filled();
    let first = LogStore::open(&disk).unwrap();
    let refused = refused_log(&disk);
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused:?}");
    assert!(refused.to_string().contains("in use by another process"));
    drop(first);
    LogStore::open(&disk).unwrap();
}

#[test]
fn missing_log_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path());
    assert!(!LogStore::exists(&disk));
    assert!(matches!(LogStore::open(&disk), Err(OpenError::Missing { .. })));
    assert!(matches!(StateReader::open(&disk, 0), Err(OpenError::Missing { .. })));
    assert!(matches!(SnapshotSource::open(&disk, 0), Err(OpenError::Missing { .. })));
    std::fs::write(dir.path().join("raft.db"), b"").unwrap();
    assert!(!LogStore::exists(&disk), "a crash during creation leaves an empty file");
    LogStore::create(&disk, &identity(), b"genesis").unwrap();
}

#[test]
fn state_without_a_log_is_no_new_node() {
    let (dir, disk) = filled();
    std::fs::remove_file(dir.path().join("raft.db")).unwrap();
    let refused = refused_log(&disk);
    assert!(matches!(refused, OpenError::Missing { .. }), "{refused:?}");
}

#[test]
fn newer_formats_are_refused() {
    let (_dir, disk) = filled();
    edit(&disk, "raft.db", "PRAGMA user_version=2");
    edit(&disk, "state-0.db", "PRAGMA user_version=9");
    let refused = refused_log(&disk);
    assert!(matches!(refused, OpenError::Newer { found: 2, known: 1, .. }), "{refused:?}");
    let refused = StateStore::open(&disk, 0).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 9, known: 1, .. }), "{refused:?}");
}

#[test]
fn foreign_files_are_refused() {
    let (dir, disk) = filled();
    edit(&disk, "raft.db", "PRAGMA application_id=5");
    assert!(matches!(refused_log(&disk), OpenError::DamagedLog { .. }));
    std::fs::write(dir.path().join("raft.db"), [b'x'; 9_000]).unwrap();
    let refused = refused_log(&disk);
    assert!(matches!(refused, OpenError::DamagedLog { .. }), "{refused:?}");
    std::fs::write(dir.path().join("state-0.db"), [b'x'; 9_000]).unwrap();
    let refused = StateStore::open(&disk, 0).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
}

#[test]
fn damaged_log_says_the_way_out() {
    let damages = [
        "UPDATE log SET data=x'00' WHERE idx=17",
        "UPDATE log SET term=2 WHERE idx=50",
        "UPDATE log SET kind=1 WHERE idx=11",
        "UPDATE log SET crc=crc+1 WHERE idx=50",
        "DELETE FROM log WHERE idx=30",
        "DELETE FROM log WHERE idx=1",
        "DELETE FROM log",
        "DELETE FROM meta WHERE k=3",
        "UPDATE meta SET b=1 WHERE k=3",
        "UPDATE meta SET a=3 WHERE k=4",
        "UPDATE meta SET d=x'00' WHERE k=2",
        "DROP TABLE log",
    ];
    for damage in damages {
        let (_dir, disk) = filled();
        edit(&disk, "raft.db", damage);
        let refused = refused_log(&disk);
        assert!(matches!(refused, OpenError::DamagedLog { .. }), "{damage}: {refused:?}");
        let said = refused.to_string();
        for way in ["move the data directory away", "remove the member", "add it again"] {
            assert!(said.contains(way), "{said}");
        }
    }
}

/// Every page of raft.db, overwritten with zeros or with noise.
#[test]
fn no_damaged_page_of_the_log_goes_unseen() {
    let (dir, disk) = filled();
    let good = std::fs::read(dir.path().join("raft.db")).unwrap();
    for page in 0..good.len() / 8_192 {
        for byte in [0_u8, 0xa5] {
            std::fs::write(dir.path().join("raft.db"), &good).unwrap();
            overwrite(&disk, "raft.db", page * 8_192, &[byte; 8_192]);
            let refused = LogStore::open(&disk);
            assert!(refused.is_err(), "page {page} full of {byte}");
        }
    }
}

#[test]
fn entry_damaged_after_open_is_a_fault_at_the_read() {
    let sim = SimDisk::new(8);
    let disk = Disk { dir: "/node".into(), vfs: Some(sim.vfs()) };
    LogStore::create(&disk, &identity(), b"genesis").unwrap();
    let (mut store, _) = LogStore::open(&disk).unwrap();
    // More than the page cache holds, so that reading goes to the disk.
    for index in 1..=8 {
        let data = [index as u8; 1 << 20];
        store.write(&[task(vec![entry(index, 1, &data)], Some(hard(1, 0, index)))]).unwrap();
    }
    assert_eq!(store.tail(Index(0), 0).unwrap().len(), 8);
    assert!(!store.idle().unwrap());
    // SQLite may read a page from the WAL for as long as that has not started over.
    for file in ["/node/raft.db", "/node/raft.db-wal"] {
        let contents = sim.contents(file).unwrap();
        let place = contents.windows(4_000).position(|bytes| bytes == [1; 4_000]).unwrap();
        sim.flip(file, place + 2_000, 4);
    }
    let outcome = store.tail(Index(0), 0);
    assert!(matches!(outcome, Err(Fault::Damaged { .. })), "{:?}", outcome.map(|all| all.len()));
    assert!(matches!(store.idle(), Err(Fault::Broken { .. })));
}

#[test]
fn flipped_bit_in_a_row_of_the_state_is_found_by_verifying() {
    let (_dir, disk) = filled();
    let contents = std::fs::read(disk.dir.join("state-0.db")).unwrap();
    let place = contents.windows(50).position(|bytes| bytes == [77; 50]).unwrap();
    overwrite(&disk, "state-0.db", place + 9, &[76]);
    let store = StateStore::open(&disk, 0).unwrap();
    let found = store.verify_digests();
    assert!(matches!(found, Err(Fault::Damaged { .. })), "{found:?}");
    let found = StateReader::open(&disk, 0).unwrap().verify();
    assert!(matches!(found, Err(Fault::Damaged { .. })), "{found:?}");
}

#[test]
fn state_of_another_generation_is_refused() {
    let (dir, disk) = filled();
    std::fs::rename(dir.path().join("state-0.db"), dir.path().join("state-3.db")).unwrap();
    let refused = StateStore::open(&disk, 3).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
}
