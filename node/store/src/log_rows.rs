//! Rows of the table `log`: one entry each, with a checksum that is checked at every read.

use std::path::Path;

use bytes::Bytes;
use pgraft_replica::{Entry, EntryKind, Index, Term};
use rusqlite::{Connection, Row};

use crate::Fault;
use crate::fault::Doing;
use crate::limits::ENTRY_BYTES_MAX;

const INSERT: &str = "INSERT INTO log(idx,term,kind,crc,data) VALUES(?1,?2,?3,?4,?5)";
const READ_UP: &str =
    "SELECT idx,term,kind,crc,data FROM log WHERE idx>=?1 AND idx<?2 ORDER BY idx";
const READ_DOWN: &str = "SELECT idx,term,kind,crc,data FROM log ORDER BY idx DESC";
const DELETE_FROM: &str = "DELETE FROM log WHERE idx>=?1";
const DELETE_UP_TO: &str = "DELETE FROM log WHERE idx<=?1";
const DELETE_ALL: &str = "DELETE FROM log";

/// SQLite's integers are signed.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("indexes and terms stay below 2^63")
}

fn kind_code(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Normal => 0,
        EntryKind::ConfChange => 1,
    }
}

/// crc32c over index u64 LE, term u64 LE, kind u8, data.
fn row_crc(index: u64, term: u64, kind: u8, data: &[u8]) -> u32 {
    let mut head = [0; 17];
    head[..8].copy_from_slice(&index.to_le_bytes());
    head[8..16].copy_from_slice(&term.to_le_bytes());
    head[16] = kind;
    crc32c::crc32c_append(crc32c::crc32c(&head), data)
}

pub(crate) fn insert(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    assert!(entry.data.len() <= ENTRY_BYTES_MAX, "entry of {} bytes", entry.data.len());
    let kind = kind_code(entry.kind);
    let crc = row_crc(entry.index.0, entry.term.0, kind, &entry.data);
    let row = (signed(entry.index.0), signed(entry.term.0), kind, crc, &entry.data[..]);
    connection.prepare_cached(INSERT)?.execute(row)?;
    Ok(())
}

pub(crate) fn delete_from(connection: &Connection, first: Index) -> rusqlite::Result<usize> {
    connection.prepare_cached(DELETE_FROM)?.execute([signed(first.0)])
}

pub(crate) fn delete_up_to(connection: &Connection, last: Index) -> rusqlite::Result<usize> {
    connection.prepare_cached(DELETE_UP_TO)?.execute([signed(last.0)])
}

pub(crate) fn delete_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(DELETE_ALL)
}

/// Calls `each` with the entries of `[low, high)` in order until it says false.
///
/// # Errors
/// A row whose checksum differs or whose fields are no entry's is [`Fault::Damaged`].
pub(crate) fn read_up(
    connection: &Connection,
    path: &Path,
    (low, high): (Index, Index),
    each: impl FnMut(Entry) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let doing = "read log entries";
    let mut statement = connection.prepare_cached(READ_UP).doing(doing, path)?;
    // Bounds come from requests; what lies beyond SQLite's integers is not in the log either.
    let bounds = [low, high].map(|index| i64::try_from(index.0).unwrap_or(i64::MAX));
    let rows = statement.query(bounds).doing(doing, path)?;
    walk(rows, path, each)
}

/// Calls `each` with the entries from the last one backwards until it says false.
pub(crate) fn read_down(
    connection: &Connection,
    path: &Path,
    each: impl FnMut(Entry) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let doing = "read the end of the log";
    let mut statement = connection.prepare_cached(READ_DOWN).doing(doing, path)?;
    let rows = statement.query([]).doing(doing, path)?;
    walk(rows, path, each)
}

fn walk(
    mut rows: rusqlite::Rows<'_>,
    path: &Path,
    mut each: impl FnMut(Entry) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let doing = "read log entries";
    while let Some(row) = rows.next().doing(doing, path)? {
        if !each(entry(row, path)?)? {
            break;
        }
    }
    Ok(())
}

fn entry(row: &Row<'_>, path: &Path) -> Result<Entry, Fault> {
    let doing = "read a log entry";
    let index: i64 = row.get(0).doing(doing, path)?;
    let term: i64 = row.get(1).doing(doing, path)?;
    let kind: i64 = row.get(2).doing(doing, path)?;
    let crc: i64 = row.get(3).doing(doing, path)?;
    let damaged = |what: &str| Fault::damaged(doing, path, format!("entry {index}: {what}"));
    let data = row.get_ref(4).doing(doing, path)?;
    let data = data.as_blob().map_err(|_| damaged("data is no blob"))?;
    let (index, term) = match (u64::try_from(index), u64::try_from(term)) {
        (Ok(index), Ok(term)) => (index, term),
        _ => return Err(damaged("negative index or term")),
    };
    let (kind, code) = match kind {
        0 => (EntryKind::Normal, 0),
        1 => (EntryKind::ConfChange, 1),
        _ => return Err(damaged("unknown kind")),
    };
    if i64::from(row_crc(index, term, code, data)) != crc {
        return Err(damaged("checksum differs"));
    }
    Ok(Entry { index: Index(index), term: Term(term), kind, data: Bytes::copy_from_slice(data) })
}
