//! The tables of state-N.db: how they are created, found and checked at open.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension};

use crate::connection::{self, Checkpoint, Purpose, Stamp};
use crate::digest::AllTotals;
use crate::fault::Doing;
use crate::meta::{decode_row, encode_row};
use crate::rewrite::rewrite_wal;
use crate::{Disk, Fault, Meta, OpenError};

/// "pgst" in the database header.
pub(crate) const APPLICATION_ID: i32 = 0x7067_7374;
/// The format this program writes.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// The oldest format this program reads; anything older is rebuilt from a peer.
pub(crate) const FORMAT_VERSION_MIN: u32 = 1;

const TABLES: &str = "
CREATE TABLE kv(machine INTEGER NOT NULL, k BLOB NOT NULL, v BLOB NOT NULL,
    PRIMARY KEY(machine, k)) STRICT, WITHOUT ROWID;
CREATE TABLE meta(k INTEGER PRIMARY KEY, v BLOB NOT NULL) STRICT;";
const WRITE_META: &str =
    "INSERT INTO meta(k,v) VALUES(1,?1) ON CONFLICT(k) DO UPDATE SET v=excluded.v";
const READ_META: &str = "SELECT v FROM meta WHERE k=1";

/// Creates the tables inside the caller's transaction.
pub(crate) fn create_tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)
}

/// Marks the file as complete inside the caller's transaction.
pub(crate) fn complete(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FORMAT_VERSION}"
    ))
}

pub(crate) fn write_meta(connection: &Connection, row: &[u8]) -> rusqlite::Result<()> {
    connection.prepare_cached(WRITE_META)?.execute([row])?;
    Ok(())
}

/// Reads the meta row; opens the snapshot of a transaction that has not read yet.
pub(crate) fn read_meta(
    connection: &Connection,
    path: &Path,
    generation: u64,
) -> Result<(Meta, AllTotals), Fault> {
    let doing = "read the state's meta row";
    let read = || {
        let mut statement = connection.prepare_cached(READ_META)?;
        statement.query_row([], |row| row.get::<_, Vec<u8>>(0)).optional()
    };
    let row = read().doing(doing, path)?;
    let row = row.ok_or_else(|| Fault::damaged(doing, path, "the meta row is missing"))?;
    decode_row(generation, &row).doing(doing, path)
}

/// Turns damage, which a peer's snapshot repairs, apart from a failing disk, which nothing does.
pub(crate) fn refuse(fault: Fault) -> OpenError {
    match fault {
        Fault::Damaged { path, what, .. } => OpenError::Damaged { path, what },
        other => OpenError::Fault(other),
    }
}

/// Opens the writer's connection; creates the file when it is absent or was never completed.
pub(crate) fn open_writer(
    disk: &Disk,
    path: &Path,
    generation: u64,
) -> Result<(Connection, Meta, AllTotals), OpenError> {
    let doing = "open the state";
    let fresh = !disk.holds(path)?;
    let connection = connection::open(disk, path, Purpose::StateWriter, true)
        .doing(doing, path)
        .map_err(refuse)?;
    let stamp = connection::stamp(&connection).doing(doing, path).map_err(refuse)?;
    if stamp == (Stamp { application: 0, version: 0 }) {
        create(&connection, path, generation).map_err(refuse)?;
    } else {
        check_stamp(path, stamp)?;
    }
    if fresh {
        disk.sync_directory()?;
    }
    prepare(disk, &connection, path).map_err(refuse)?;
    let (meta, totals) = read_meta(&connection, path, generation).map_err(refuse)?;
    Ok((connection, meta, totals))
}

fn create(connection: &Connection, path: &Path, generation: u64) -> Result<(), Fault> {
    let mut row = Vec::new();
    encode_row(generation, &Meta::default(), &AllTotals::new(), &mut row);
    connection::use_wal(connection)
        .and_then(|()| connection.execute_batch("BEGIN IMMEDIATE"))
        .and_then(|()| create_tables(connection))
        .and_then(|()| write_meta(connection, &row))
        .and_then(|()| complete(connection))
        .and_then(|()| connection.execute_batch("COMMIT"))
        .doing("create the state", path)
}

pub(crate) fn check_stamp(path: &Path, stamp: Stamp) -> Result<(), OpenError> {
    let path = path.to_owned();
    if stamp.application != APPLICATION_ID {
        let what = format!("application id {:#x} is not that of a state", stamp.application);
        return Err(OpenError::Damaged { path, what });
    }
    let found = stamp.version;
    if found > FORMAT_VERSION {
        return Err(OpenError::Newer { path, found, known: FORMAT_VERSION });
    }
    if found < FORMAT_VERSION_MIN {
        return Err(OpenError::Older { path, found, oldest: FORMAT_VERSION_MIN });
    }
    Ok(())
}

fn prepare(disk: &Disk, connection: &Connection, path: &Path) -> Result<(), Fault> {
    let doing = "recover the state";
    // As for the log, or the checkpointer would later vouch for pages that an earlier, failed
    // fsync has lost. The lock of raft.db keeps other processes away.
    rewrite_wal(disk, path)?;
    connection::use_wal(connection).doing(doing, path)?;
    match connection::checkpoint(connection, Checkpoint::Truncate) {
        Ok(_) => Ok(()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
        Err(error) => Err(Fault::sqlite(doing, path, error)),
    }
}
