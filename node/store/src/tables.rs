//! Reading the ordered keyspaces of state.db; the same code for writer and readers.
//!
//! Rows are bytes here. What a key means, and limits of a machine, are the host's business.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, Rows, ToSql};

use crate::Fault;
use crate::digest::{AllTotals, RowHasher};
use crate::fault::Doing;

/// One page of a scan: repeat { key length u32 LE, value length u32 LE, key, value }.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The rows, packed. Keys only: the value length is 0 and no value follows.
    pub rows: Vec<u8>,
    /// How many.
    pub count: u32,
    /// Whether the range holds more rows than this page.
    pub more: bool,
}

impl Page {
    /// Adds a row; false when the page is complete without it, and there is `more`.
    ///
    /// # Panics
    /// When key or value is longer than 4 GiB.
    pub fn add(&mut self, key: &[u8], value: &[u8], limit: u32, max_bytes: u32) -> bool {
        let bytes = self.rows.len() + 8 + key.len() + value.len();
        if self.count == limit || (self.count > 0 && bytes > max_bytes as usize) {
            self.more = true;
            return false;
        }
        self.rows.extend_from_slice(&length(key).to_le_bytes());
        self.rows.extend_from_slice(&length(value).to_le_bytes());
        self.rows.extend_from_slice(key);
        self.rows.extend_from_slice(value);
        self.count += 1;
        true
    }
}

/// Reads the keyspaces of machines: the writer sees its own transaction, a reader its snapshot.
///
/// Every range is `[start, end)` in byte order; an empty `end` means no bound. Every method fails
/// only with this machine's disk.
pub trait ReadTables {
    /// The value of a key.
    ///
    /// # Errors
    /// When the disk fails.
    fn get(&self, machine: u32, key: &[u8]) -> Result<Option<Vec<u8>>, Fault>;

    /// Bytes of a key's value, without reading it.
    ///
    /// # Errors
    /// When the disk fails.
    fn size_of(&self, machine: u32, key: &[u8]) -> Result<Option<u32>, Fault>;

    /// At most `limit` rows and `max_bytes` bytes of page, but at least one row of a range that has
    /// any, unless `limit` is 0.
    ///
    /// # Errors
    /// When the disk fails.
    #[expect(clippy::too_many_arguments, reason = "the machine interface has these (WASM.md 7)")]
    fn scan(
        &self,
        machine: u32,
        start: &[u8],
        end: &[u8],
        limit: u32,
        max_bytes: u32,
        reverse: bool,
        keys_only: bool,
    ) -> Result<Page, Fault>;

    /// How many rows the range holds, counted up to `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    fn count(&self, machine: u32, start: &[u8], end: &[u8], limit: u32) -> Result<u32, Fault>;
}

/// A scan's shape; each has a prepared statement of its own.
#[derive(Clone, Copy)]
pub(crate) struct Scan {
    pub(crate) bounded: bool,
    pub(crate) reverse: bool,
    pub(crate) keys_only: bool,
}

impl Scan {
    fn sql(self) -> &'static str {
        match (self.bounded, self.reverse, self.keys_only) {
            (false, false, false) => "SELECT k,v FROM kv WHERE machine=?1 AND k>=?2 ORDER BY k",
            (false, false, true) => "SELECT k FROM kv WHERE machine=?1 AND k>=?2 ORDER BY k",
            (false, true, false) => "SELECT k,v FROM kv WHERE machine=?1 AND k>=?2 ORDER BY k DESC",
            (false, true, true) => "SELECT k FROM kv WHERE machine=?1 AND k>=?2 ORDER BY k DESC",
            (true, false, false) => {
                "SELECT k,v FROM kv WHERE machine=?1 AND k>=?2 AND k<?3 ORDER BY k"
            }
            (true, false, true) => {
                "SELECT k FROM kv WHERE machine=?1 AND k>=?2 AND k<?3 ORDER BY k"
            }
            (true, true, false) => {
                "SELECT k,v FROM kv WHERE machine=?1 AND k>=?2 AND k<?3 ORDER BY k DESC"
            }
            (true, true, true) => {
                "SELECT k FROM kv WHERE machine=?1 AND k>=?2 AND k<?3 ORDER BY k DESC"
            }
        }
    }
}

/// Runs `each` over the rows of a range until it says false.
pub(crate) fn walk(
    connection: &Connection,
    scan: Scan,
    (machine, start, end): (u32, &[u8], &[u8]),
    mut each: impl FnMut(&Row<'_>) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(scan.sql())?;
    let bounds: [&dyn ToSql; 3] = [&machine, &start, &end];
    let mut rows: Rows<'_> =
        statement.query(if scan.bounded { &bounds[..] } else { &bounds[..2] })?;
    while let Some(row) = rows.next()? {
        if !each(row)? {
            break;
        }
    }
    Ok(())
}

/// A borrowed connection to state.db with the file's name for faults.
#[derive(Clone, Copy)]
pub(crate) struct Tables<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) path: &'a Path,
}

impl ReadTables for Tables<'_> {
    fn get(&self, machine: u32, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        const SQL: &str = "SELECT v FROM kv WHERE machine=?1 AND k=?2";
        let read = || {
            let mut statement = self.connection.prepare_cached(SQL)?;
            statement.query_row((machine, key), |row| row.get(0)).optional()
        };
        read().doing("get a row", self.path)
    }

    fn size_of(&self, machine: u32, key: &[u8]) -> Result<Option<u32>, Fault> {
        const SQL: &str = "SELECT length(v) FROM kv WHERE machine=?1 AND k=?2";
        let read = || {
            let mut statement = self.connection.prepare_cached(SQL)?;
            statement.query_row((machine, key), |row| row.get(0)).optional()
        };
        read().doing("get the size of a row", self.path)
    }

    fn scan(
        &self,
        machine: u32,
        start: &[u8],
        end: &[u8],
        limit: u32,
        max_bytes: u32,
        reverse: bool,
        keys_only: bool,
    ) -> Result<Page, Fault> {
        let scan = Scan { bounded: !end.is_empty(), reverse, keys_only };
        let mut page = Page::default();
        walk(self.connection, scan, (machine, start, end), |row| {
            let key = row.get_ref(0)?.as_blob()?;
            let value = if keys_only { &[][..] } else { row.get_ref(1)?.as_blob()? };
            Ok(page.add(key, value, limit, max_bytes))
        })
        .doing("scan rows", self.path)?;
        Ok(page)
    }

    fn count(&self, machine: u32, start: &[u8], end: &[u8], limit: u32) -> Result<u32, Fault> {
        let scan = Scan { bounded: !end.is_empty(), reverse: false, keys_only: true };
        let mut count = 0;
        if limit == 0 {
            return Ok(0);
        }
        walk(self.connection, scan, (machine, start, end), |_| {
            count += 1;
            Ok(count < limit)
        })
        .doing("count rows", self.path)?;
        Ok(count)
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("SQLite's blobs are below 2 GiB")
}

impl Tables<'_> {
    /// Adds up all rows anew and compares with `expected`: finds bit flips SQLite cannot see.
    pub(crate) fn verify(&self, expected: &AllTotals) -> Result<(), Fault> {
        const SQL: &str = "SELECT machine,k,v FROM kv";
        let doing = "verify the rows";
        let mut found = AllTotals::new();
        let mut hasher = RowHasher::default();
        let mut add = || -> rusqlite::Result<()> {
            let mut statement = self.connection.prepare_cached(SQL)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let machine: u32 = row.get(0)?;
                let (key, value) = (row.get_ref(1)?.as_blob()?, row.get_ref(2)?.as_blob()?);
                let share = hasher.share(machine, key, value);
                found.entry(machine).or_default().add(share);
            }
            Ok(())
        };
        add().doing(doing, self.path)?;
        // A keyspace that was emptied is remembered with zeros and has no rows.
        for machine in expected.keys().chain(&found.keys().copied().collect::<Vec<_>>()) {
            let of = |totals: &AllTotals| totals.get(machine).copied().unwrap_or_default();
            let (expected, found) = (of(expected), of(&found));
            if expected != found {
                let what = format!("machine {machine} should be {expected:?} and is {found:?}");
                return Err(Fault::damaged(doing, self.path, what));
            }
        }
        Ok(())
    }
}
