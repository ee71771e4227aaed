//! The same seed gives the same bytes on the disk, salts of a WAL included. A program of its own:
//! SQLite's generator belongs to a whole process.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "it/log.rs"]
mod log;

use pgraft_sim_disk::{Image, SimDisk, seed_sqlite_randomness};

/// Two disks used in turns by one thread, as two nodes of a simulation do.
fn two_disks(seed: u64) -> [Image; 2] {
    seed_sqlite_randomness(seed);
    let sims = [SimDisk::new(seed), SimDisk::new(seed + 1)];
    let mut stores = [log::create(&sims[0]), log::create(&sims[1])];
    for index in 1..=5 {
        for store in &mut stores {
            log::append(store, index).unwrap();
        }
    }
    let before = sims.each_ref().map(SimDisk::image);
    assert!(before[0].files().iter().any(|(name, bytes)| name.ends_with("-wal") && *bytes > 0));
    for sim in &sims {
        sim.power_loss();
        assert_eq!(log::recover(sim).unwrap(), 5);
    }
    before
}

/// One test, because it must be alone in its process.
#[test]
fn same_seed_gives_the_same_bytes_and_another_seed_others() {
    let (first, again, other) = (two_disks(1), two_disks(1), two_disks(9));
    assert_eq!(first, again);
    assert_ne!(first[0], first[1], "the disks draw from one generator in turns");
    assert_ne!(first, other, "WAL salts are in the files and come from the seed");
    // Whoever names no VFS is served as before, by the copy of the default one.
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    let draw = || -> i64 {
        seed_sqlite_randomness(5);
        connection.query_row("SELECT random()", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(draw(), draw());
}
