//! The two traps in which a simulation with SQLite sees nothing, and the canaries that prove that
//! they are closed: `synchronous=NORMAL`, and an acknowledgement before the write.

use pgraft_sim_disk::SimDisk;
use pgraft_store::LogStore;
use rusqlite::{Connection, OpenFlags};

use crate::log;

const SEEDS: u64 = 40;

/// How a node's life ends in a simulation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The host is dropped, and its connection with it; then the power fails. The trap.
    DropThenPowerLoss,
    /// The power fails while the connection is open.
    PowerLossThenDrop,
    /// The disk is frozen, the host dropped, and then the power fails.
    FreezeDropPowerLoss,
}

fn open(sim: &SimDisk, synchronous: &str) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let vfs = std::ffi::CString::new(sim.vfs()).unwrap();
    let connection = Connection::open_with_flags_and_vfs("/db", flags, vfs.as_c_str()).unwrap();
    let settings = format!(
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous};
         CREATE TABLE IF NOT EXISTS t(i INTEGER PRIMARY KEY);"
    );
    connection.execute_batch(&settings).unwrap();
    connection
}

/// Of how many seeds acknowledged rows were lost.
fn losses(synchronous: &str, end: End) -> usize {
    let loses = |seed: &u64| {
        let sim = SimDisk::new(*seed);
        // What creates the database is synced by a first, clean shutdown.
        drop(open(&sim, "FULL"));
        let connection = open(&sim, synchronous);
        for row in 1..=5 {
            connection.execute("INSERT INTO t VALUES(?1)", [row]).unwrap();
        }
        match end {
            End::DropThenPowerLoss => drop(connection),
            End::PowerLossThenDrop => {
                sim.power_loss();
                drop(connection);
            }
            End::FreezeDropPowerLoss => {
                sim.freeze();
                drop(connection);
            }
        }
        if end != End::PowerLossThenDrop {
            sim.power_loss();
        }
        let count = "SELECT count(*) FROM t";
        let found: i64 = open(&sim, "FULL").query_row(count, [], |row| row.get(0)).unwrap();
        found < 5
    };
    (1..=SEEDS).filter(loses).count()
}

#[test]
fn canary_synchronous_normal_is_seen_when_the_disk_dies_before_the_connection() {
    for end in [End::PowerLossThenDrop, End::FreezeDropPowerLoss] {
        let (full, normal) = (losses("FULL", end), losses("NORMAL", end));
        println!("{end:?}: FULL loses in {full} of {SEEDS} seeds, NORMAL in {normal}");
        assert_eq!(full, 0);
        assert!(normal > SEEDS as usize / 2, "{normal}");
    }
}

/// The trap itself: a dropped connection is a clean shutdown, which syncs all.
#[test]
fn dropping_the_connection_first_would_hide_the_loss() {
    assert_eq!(losses("NORMAL", End::DropThenPowerLoss), 0);
}

/// A driver with a planted bug, which tells its client before it writes: what it told last.
fn acknowledges_early(mut store: LogStore, last: u64) -> u64 {
    let mut told = 0;
    for index in 1..=last {
        told = index;
        if log::append(&mut store, index).is_err() {
            break;
        }
    }
    told
}

#[test]
fn canary_acknowledgement_before_the_write_is_seen_inside_a_commit() {
    let mut seen = 0;
    for at in 0.. {
        let sim = SimDisk::new(at);
        let store = log::create(&sim);
        sim.freeze_in(at);
        let told = acknowledges_early(store, 5);
        if !sim.frozen() {
            println!("seen at {seen} of {at} calls");
            break;
        }
        sim.power_loss();
        seen += u64::from(log::recover(&sim).unwrap() < told);
    }
    assert!(seen > 3, "{seen}");
}

/// The trap itself: between two calls of the driver nothing is under way.
#[test]
fn dying_between_two_commits_only_would_hide_the_early_acknowledgement() {
    for seed in 0..SEEDS {
        let sim = SimDisk::new(seed);
        let told = acknowledges_early(log::create(&sim), 1 + seed % 5);
        sim.power_loss();
        assert_eq!(log::recover(&sim).unwrap(), told);
    }
}
