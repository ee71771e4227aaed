//! Reads a state while it is written: a connection of its own, pinned to one transaction's end.

use std::path::PathBuf;

use rusqlite::Connection;

use crate::connection::{self, Purpose};
use crate::digest::AllTotals;
use crate::fault::Doing;
use crate::state_schema::{self, check_stamp, refuse};
use crate::tables::{Page, ReadTables, Tables};
use crate::{Disk, Fault, Meta, OpenError};

/// A read-only connection. Send, not Sync. While it is pinned the WAL cannot start over, so the
/// caller limits how long that lasts.
#[derive(Debug)]
pub struct StateReader {
    connection: Connection,
    path: PathBuf,
    generation: u64,
    pinned: bool,
}

impl StateReader {
    /// Opens the state of a generation that a [`crate::StateStore`] has opened before.
    ///
    /// # Errors
    /// As [`crate::StateStore::open`]; [`OpenError::Missing`] when there is none.
    pub fn open(disk: &Disk, generation: u64) -> Result<StateReader, OpenError> {
        let path = disk.state_path(generation);
        let connection = open_existing(disk, &path, Purpose::StateReader)?;
        Ok(StateReader { connection, path, generation, pinned: false })
    }

    /// Pins what is committed and says how far it is. Everything is read from there until `end`.
    ///
    /// # Errors
    /// When the disk fails.
    ///
    /// # Panics
    /// When it is pinned already.
    pub fn begin(&mut self) -> Result<Meta, Fault> {
        self.begin_with_totals().map(|(meta, _)| meta)
    }

    /// [`StateReader::begin`], and what each keyspace comes to.
    ///
    /// # Errors
    /// When the disk fails.
    ///
    /// # Panics
    /// When it is pinned already.
    pub fn begin_with_totals(&mut self) -> Result<(Meta, AllTotals), Fault> {
        assert!(!self.pinned, "the reader is pinned already");
        self.run("BEGIN")?;
        self.pinned = true;
        state_schema::read_meta(&self.connection, &self.path, self.generation)
    }

    /// Lets go of what `begin` pinned. Nothing happens when nothing is.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn end(&mut self) -> Result<(), Fault> {
        if self.pinned {
            self.pinned = false;
            self.run("COMMIT")?;
        }
        Ok(())
    }

    /// Checks the file's structure and adds up all rows anew; for the background, after an unclean
    /// shutdown.
    ///
    /// # Errors
    /// [`Fault::Damaged`] says what differs: throw the generation away.
    ///
    /// # Panics
    /// When it is pinned.
    pub fn verify(&mut self) -> Result<(), Fault> {
        let doing = "check the state";
        let (_, totals) = self.begin_with_totals()?;
        if let Some(what) = connection::quick_check(&self.connection).doing(doing, &self.path)? {
            return Err(Fault::damaged(doing, &self.path, what));
        }
        self.tables().verify(&totals)?;
        self.end()
    }

    pub(crate) fn tables(&self) -> Tables<'_> {
        Tables { connection: &self.connection, path: &self.path }
    }

    fn run(&self, sql: &str) -> Result<(), Fault> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(|_| ())
            .doing("pin the state", &self.path)
    }
}

/// Opens a second connection to a state that exists.
pub(crate) fn open_existing(
    disk: &Disk,
    path: &std::path::Path,
    purpose: Purpose,
) -> Result<Connection, OpenError> {
    let doing = "open the state";
    if !disk.holds(path)? {
        return Err(OpenError::Missing { path: path.to_owned() });
    }
    let connection =
        connection::open(disk, path, purpose, false).doing(doing, path).map_err(refuse)?;
    let stamp = connection::stamp(&connection).doing(doing, path).map_err(refuse)?;
    check_stamp(path, stamp)?;
    Ok(connection)
}

/// Reading outside `begin` and `end` is a programming error: two reads could see two states.
impl ReadTables for StateReader {
    fn get(&self, machine: u32, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        assert!(self.pinned, "a reader reads what it pinned");
        self.tables().get(machine, key)
    }

    fn size_of(&self, machine: u32, key: &[u8]) -> Result<Option<u32>, Fault> {
        assert!(self.pinned, "a reader reads what it pinned");
        self.tables().size_of(machine, key)
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
        assert!(self.pinned, "a reader reads what it pinned");
        self.tables().scan(machine, start, end, limit, max_bytes, reverse, keys_only)
    }

    fn count(&self, machine: u32, start: &[u8], end: &[u8], limit: u32) -> Result<u32, Fault> {
        assert!(self.pinned, "a reader reads what it pinned");
        self.tables().count(machine, start, end, limit)
    }
}
