//! Opens SQLite connections with the settings of each file, and reads and runs checkpoints.
//!
//! All pragmas of the crate stand here (RAFT.md 2.3). No table is known here.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Result};

use crate::Disk;
use crate::limits::{
    LOG_CACHE_KIB, LOG_PAGE_BYTES, READER_CACHE_KIB, STATE_CACHE_KIB, STATE_PAGE_BYTES,
    WAL_KEEP_BYTES, WRITER_BUSY_MS,
};

/// Prepared statements kept per connection; more than any store here has.
const STATEMENTS_MAX: usize = 64;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The one connection of raft.db.
    Log,
    /// The writer of state.db.
    StateWriter,
    /// Reads state.db.
    StateReader,
    /// Checkpoints state.db.
    StateCheckpoint,
    /// Fills a state.db nobody uses yet.
    SnapshotBuild,
}

/// Opens `path`; nothing is read from it yet except by SQLite itself.
pub(crate) fn open(disk: &Disk, path: &Path, purpose: Purpose, create: bool) -> Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags |= match purpose {
        Purpose::StateReader => OpenFlags::SQLITE_OPEN_READ_ONLY,
        _ => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    if create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = match disk.vfs_name() {
        None => Connection::open_with_flags(path, flags)?,
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_c_str())?,
    };
    // Closing must not write: what a stop leaves in the WAL, the next open moves over, and a
    // connection that saw a fault must never touch the disk again.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.execute_batch(&settings(purpose))?;
    let busy_ms = if purpose == Purpose::StateWriter { WRITER_BUSY_MS } else { 0 };
    connection.busy_timeout(Duration::from_millis(busy_ms))?;
    Ok(connection)
}

/// Settings that do not touch the file.
fn settings(purpose: Purpose) -> String {
    let (page_bytes, cache_kib, synchronous, locking) = match purpose {
        Purpose::Log => (LOG_PAGE_BYTES, LOG_CACHE_KIB, "FULL", "EXCLUSIVE"),
        Purpose::StateWriter => (STATE_PAGE_BYTES, STATE_CACHE_KIB, "NORMAL", "NORMAL"),
        Purpose::StateReader | Purpose::StateCheckpoint => {
            (STATE_PAGE_BYTES, READER_CACHE_KIB, "NORMAL", "NORMAL")
        }
        Purpose::SnapshotBuild => (STATE_PAGE_BYTES, STATE_CACHE_KIB, "OFF", "EXCLUSIVE"),
    };
    format!(
        "PRAGMA page_size={page_bytes}; PRAGMA locking_mode={locking};
         PRAGMA synchronous={synchronous}; PRAGMA cache_size=-{cache_kib};
         PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit={WAL_KEEP_BYTES};
         PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY; PRAGMA cell_size_check=ON;
         PRAGMA trusted_schema=OFF;"
    )
}

/// Puts the file into WAL mode; a file that cannot be is an error of SQLite's.
///
/// The switch writes the first page under a rollback journal. Below FULL, SQLite syncs journal and
/// record count at once, and a journal torn by a power loss would be played back into the file.
pub(crate) fn use_wal(connection: &Connection) -> Result<()> {
    let before: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    connection.execute_batch("PRAGMA synchronous=FULL")?;
    let mut statement = connection.prepare("PRAGMA journal_mode=WAL")?;
    let mut rows = statement.query([])?;
    let mode: String = rows.next()?.expect("the mode is the answer").get(0)?;
    // It is committed when the statement ends: whoever reads the answer alone never learns that
    // the disk failed.
    assert!(rows.next()?.is_none(), "one mode is one row");
    assert_eq!(mode, "wal", "every VFS in use offers WAL");
    connection.pragma_update(None, "synchronous", before)
}

/// What identifies a file before its tables are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// `PRAGMA application_id`.
    pub(crate) application: i32,
    /// `PRAGMA user_version`: the format version, 0 when the file was never completed.
    pub(crate) version: u32,
}

/// Reads the stamp; the first read of the file, so it also takes the lock of raft.db.
pub(crate) fn stamp(connection: &Connection) -> Result<Stamp> {
    let application = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(Stamp { application, version })
}

/// SQLite's structural check. `None` means all is well.
pub(crate) fn quick_check(connection: &Connection) -> Result<Option<String>> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((verdict != "ok").then_some(verdict))
}

/// How a checkpoint treats those who use the WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checkpoint {
    /// Only looks.
    Look,
    /// Moves what nobody's snapshot needs in place.
    Passive,
    /// Also makes the WAL empty; busy when a reader or writer is in the way.
    Truncate,
}

/// The WAL after a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wal {
    /// A lock was in the way, nothing is said about the rest.
    pub(crate) busy: bool,
    /// Frames in the WAL.
    pub(crate) frames: u64,
    /// Frames of it that are in the database file.
    pub(crate) moved: u64,
}

/// Runs or looks at a checkpoint.
pub(crate) fn checkpoint(connection: &Connection, mode: Checkpoint) -> Result<Wal> {
    let sql = match mode {
        Checkpoint::Look => "PRAGMA wal_checkpoint(NOOP)",
        Checkpoint::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Checkpoint::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    connection.prepare_cached(sql)?.query_row([], |row| {
        let frames: i64 = row.get(1)?;
        let moved: i64 = row.get(2)?;
        // -1 stands for "no WAL yet".
        Ok(Wal {
            busy: row.get(0)?,
            frames: u64::try_from(frames).unwrap_or(0),
            moved: u64::try_from(moved).unwrap_or(0),
        })
    })
}

/// Bytes in the WAL that are not yet in the database file.
pub(crate) fn wal_bytes(connection: &Connection, page_bytes: u32) -> Result<u64> {
    /// SQLite's header of a WAL frame.
    const FRAME_HEADER_BYTES: u64 = 24;
    let wal = checkpoint(connection, Checkpoint::Look)?;
    Ok(wal.frames.saturating_sub(wal.moved) * (u64::from(page_bytes) + FRAME_HEADER_BYTES))
}
