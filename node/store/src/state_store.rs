//! The writer of state-N.db: machines' rows, and how far the log is applied, in one transaction.
//!
//! Not durable by itself: after a power loss the file is consistent and older, and the log is
//! applied again from `Meta::applied`. See `checkpointer.rs` for what makes it durable.

use std::cell::Cell;
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension};

use crate::digest::{AllTotals, RowHasher, RowShare, Totals};
use crate::fault::Doing;
use crate::limits::{KEY_BYTES_MAX, SAVEPOINTS_MAX, VALUE_BYTES_MAX};
use crate::meta::encode_row;
use crate::savepoint::{Level, Undo};
use crate::tables::{Page, ReadTables, Scan, Tables, walk};
use crate::{Disk, Fault, Meta, OpenError, state_schema};

const GET: &str = "SELECT v FROM kv WHERE machine=?1 AND k=?2";
const PUT: &str = "INSERT INTO kv(machine,k,v) VALUES(?1,?2,?3) \
                   ON CONFLICT(machine,k) DO UPDATE SET v=excluded.v";
const DELETE: &str = "DELETE FROM kv WHERE machine=?1 AND k=?2";
const DELETE_RANGE: &str = "DELETE FROM kv WHERE machine=?1 AND k>=?2 AND k<?3";
const DELETE_REST: &str = "DELETE FROM kv WHERE machine=?1 AND k>=?2";

/// The writer of a state. Send, not Sync: it belongs to the apply thread.
#[derive(Debug)]
pub struct StateStore {
    connection: Connection,
    path: PathBuf,
    generation: u64,
    meta: Meta,
    totals: AllTotals,
    /// Empty outside a transaction; the first level is the transaction.
    levels: Vec<Level>,
    hasher: RowHasher,
    row: Vec<u8>,
    condition: Cell<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Sound,
    /// The disk was full inside a transaction, which must be rolled back.
    Failed,
    /// A fault: never used again.
    Broken,
}

impl StateStore {
    /// Opens the state of a generation; creates an empty one (nothing applied) when there is none.
    ///
    /// # Errors
    /// [`OpenError::Damaged`]: take a new generation and a snapshot from a peer.
    pub fn open(disk: &Disk, generation: u64) -> Result<StateStore, OpenError> {
        let path = disk.state_path(generation);
        let (connection, meta, totals) = state_schema::open_writer(disk, &path, generation)?;
        Ok(StateStore {
            connection,
            path,
            generation,
            meta,
            totals,
            levels: Vec::new(),
            hasher: RowHasher::default(),
            row: Vec::new(),
            condition: Cell::new(Condition::Sound),
        })
    }

    /// How far the state is, this transaction included.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The generation in the file's name.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Begins a transaction for any number of entries.
    ///
    /// # Errors
    /// When the disk fails.
    ///
    /// # Panics
    /// Inside a transaction.
    pub fn begin(&mut self) -> Result<(), Fault> {
        assert!(self.levels.is_empty(), "a transaction is open");
        self.run("BEGIN IMMEDIATE", "begin a transaction")?;
        self.levels.push(Level::transaction());
        Ok(())
    }

    /// Commits rows, meta and digests together. No fsync.
    ///
    /// # Errors
    /// After [`Fault::Full`] the transaction must be rolled back and may be done again.
    ///
    /// # Panics
    /// Outside a transaction, or when a savepoint is open.
    pub fn commit(&mut self) -> Result<(), Fault> {
        assert_eq!(self.levels.len(), 1, "commit closes the transaction and no savepoint");
        self.usable()?;
        encode_row(self.generation, &self.meta, &self.totals, &mut self.row);
        let outcome = state_schema::write_meta(&self.connection, &self.row)
            .doing("write the state's meta row", &self.path);
        self.seen(outcome)?;
        self.run("COMMIT", "commit a transaction")?;
        self.levels.clear();
        Ok(())
    }

    /// Undoes the transaction: rows, meta and digests are as they were before `begin`.
    ///
    /// # Errors
    /// When the disk fails.
    ///
    /// # Panics
    /// Outside a transaction.
    pub fn rollback(&mut self) -> Result<(), Fault> {
        assert!(!self.levels.is_empty(), "no transaction is open");
        if self.condition.get() == Condition::Failed {
            self.condition.set(Condition::Sound);
        }
        // SQLite has undone most transactions that found the disk full by itself.
        if !self.connection.is_autocommit() {
            self.run("ROLLBACK", "undo a transaction")?;
        }
        self.usable()?;
        while let Some(level) = self.levels.pop() {
            level.restore(&mut self.totals, &mut self.meta);
        }
        Ok(())
    }

    /// Sets what `commit` writes.
    ///
    /// # Panics
    /// Outside a transaction, or when index, term or time go back.
    pub fn set_meta(&mut self, meta: Meta) {
        assert!(meta.applied >= self.meta.applied, "applied went back to {}", meta.applied);
        assert!(meta.term >= self.meta.term, "the applied term went back to {}", meta.term);
        assert!(meta.time_ms >= self.meta.time_ms, "time went back to {}", meta.time_ms);
        let top = self.levels.last_mut().expect("meta changes inside a transaction");
        top.keep_meta(&self.meta);
        self.meta = meta;
    }

    /// The value of a key, this transaction included.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn get(&self, machine: u32, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        ReadTables::get(self, machine, key)
    }

    /// Sets a row.
    ///
    /// # Errors
    /// After [`Fault::Full`] the transaction must be rolled back.
    ///
    /// # Panics
    /// Outside a transaction, or when key or value exceed the store's limits: the host holds
    /// machines to smaller ones.
    pub fn put(&mut self, machine: u32, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        assert!(key.len() <= KEY_BYTES_MAX, "key of {} bytes", key.len());
        assert!(value.len() <= VALUE_BYTES_MAX, "value of {} bytes", value.len());
        let old = match self.old_row(machine, key, Some(value))? {
            OldRow::Same => return Ok(()),
            OldRow::Absent => None,
            OldRow::Differs(share) => Some(share),
        };
        let outcome = self
            .connection
            .prepare_cached(PUT)
            .and_then(|mut statement| statement.execute((machine, key, value)))
            .doing("put a row", &self.path);
        self.seen(outcome)?;
        let new = self.hasher.share(machine, key, value);
        let totals = self.change(machine);
        if let Some(old) = old {
            totals.remove(old);
        }
        totals.add(new);
        Ok(())
    }

    /// Removes a row; true when there was one.
    ///
    /// # Errors
    /// As [`StateStore::put`].
    ///
    /// # Panics
    /// Outside a transaction.
    pub fn delete(&mut self, machine: u32, key: &[u8]) -> Result<bool, Fault> {
        let old = match self.old_row(machine, key, None)? {
            OldRow::Absent => return Ok(false),
            OldRow::Differs(share) => share,
            OldRow::Same => unreachable!("there is no new value to be the same as"),
        };
        let outcome = self
            .connection
            .prepare_cached(DELETE)
            .and_then(|mut statement| statement.execute((machine, key)))
            .doing("delete a row", &self.path);
        assert_eq!(self.seen(outcome)?, 1, "the row was there a moment ago");
        self.change(machine).remove(old);
        Ok(true)
    }

    /// Removes the rows of `[start, end)`, an empty `end` meaning no bound; how many there were.
    ///
    /// # Errors
    /// As [`StateStore::put`].
    ///
    /// # Panics
    /// Outside a transaction.
    pub fn delete_range(&mut self, machine: u32, start: &[u8], end: &[u8]) -> Result<u64, Fault> {
        self.usable()?;
        assert!(!self.levels.is_empty(), "rows change inside a transaction");
        let doing = "delete a range of rows";
        let scan = Scan { bounded: !end.is_empty(), reverse: false, keys_only: false };
        let mut gone: Vec<RowShare> = Vec::new();
        let hasher = &mut self.hasher;
        let outcome = walk(&self.connection, scan, (machine, start, end), |row| {
            let (key, value) = (row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
            gone.push(hasher.share(machine, key, value));
            Ok(true)
        })
        .doing(doing, &self.path);
        self.seen(outcome)?;
        if gone.is_empty() {
            return Ok(0);
        }
        self.leave_to_sqlite()?;
        let outcome = if end.is_empty() {
            let statement = self.connection.prepare_cached(DELETE_REST);
            statement.and_then(|mut statement| statement.execute((machine, start)))
        } else {
            let statement = self.connection.prepare_cached(DELETE_RANGE);
            statement.and_then(|mut statement| statement.execute((machine, start, end)))
        };
        let deleted = self.seen(outcome.doing(doing, &self.path))?;
        assert_eq!(deleted, gone.len(), "the range was read a moment ago");
        let totals = self.change(machine);
        for share in gone {
            totals.remove(share);
        }
        Ok(deleted as u64)
    }

    /// Begins a savepoint on top of the others; free until the next write.
    ///
    /// # Errors
    /// When the store is broken.
    ///
    /// # Panics
    /// Outside a transaction, or above the limit of nested savepoints.
    pub fn savepoint(&mut self) -> Result<(), Fault> {
        assert!(!self.levels.is_empty(), "a savepoint is inside a transaction");
        assert!(self.levels.len() <= SAVEPOINTS_MAX, "{} savepoints", self.levels.len());
        self.usable()?;
        self.levels.push(Level::default());
        Ok(())
    }

    /// Ends the top savepoint and keeps what was written since.
    ///
    /// # Errors
    /// When the disk fails.
    ///
    /// # Panics
    /// When there is none.
    pub fn release(&mut self) -> Result<(), Fault> {
        let [.., below, top] = &self.levels[..] else { panic!("no savepoint is open") };
        if top.opened && below.opened {
            self.run("RELEASE s", "end a savepoint")?;
        }
        let level = self.levels.pop().expect("the savepoint looked at");
        level.merge_into(self.levels.last_mut().expect("the transaction is below"));
        Ok(())
    }

    /// Undoes what was written since the top savepoint began, and ends it.
    ///
    /// # Errors
    /// When the disk fails.
    ///
    /// # Panics
    /// When there is none.
    pub fn rollback_to(&mut self) -> Result<(), Fault> {
        self.usable()?;
        let [_, .., top] = &mut self.levels[..] else { panic!("no savepoint is open") };
        let (opened, rows) = (top.opened, top.take_rows());
        if opened {
            self.run("ROLLBACK TO s", "undo a savepoint")?;
            self.run("RELEASE s", "end a savepoint")?;
        }
        for undo in rows {
            self.put_back(&undo)?;
        }
        let level = self.levels.pop().expect("the savepoint looked at");
        level.restore(&mut self.totals, &mut self.meta);
        Ok(())
    }

    /// The digest of a machine's rows; independent of the order in which they were written.
    pub fn digest(&self, machine: u32) -> u128 {
        self.totals_of(machine).digest
    }

    /// Bytes of keys and values of a machine.
    pub fn size(&self, machine: u32) -> u64 {
        self.totals_of(machine).bytes
    }

    /// Adds up all rows anew and compares with the digests and sizes kept: finds what SQLite's own
    /// checks cannot, at the cost of reading everything.
    ///
    /// # Errors
    /// [`Fault::Damaged`] names the machine whose rows differ.
    pub fn verify_digests(&self) -> Result<(), Fault> {
        self.usable()?;
        self.seen(self.tables().verify(&self.totals))
    }

    fn tables(&self) -> Tables<'_> {
        Tables { connection: &self.connection, path: &self.path }
    }

    fn totals_of(&self, machine: u32) -> Totals {
        self.totals.get(&machine).copied().unwrap_or_default()
    }

    fn usable(&self) -> Result<(), Fault> {
        match self.condition.get() {
            Condition::Sound => Ok(()),
            Condition::Failed => Err(Fault::Full {
                doing: "go on with a transaction that must be rolled back",
                path: self.path.clone(),
                source: "the disk was full before".into(),
            }),
            Condition::Broken => Err(Fault::Broken { path: self.path.clone() }),
        }
    }

    /// Every outcome passes here: a fault ends the use of the store, a full disk the transaction.
    fn seen<T>(&self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(fault) = &outcome {
            let full = fault.is_full() && self.condition.get() != Condition::Broken;
            self.condition.set(if full { Condition::Failed } else { Condition::Broken });
        }
        outcome
    }

    fn run(&self, sql: &str, doing: &'static str) -> Result<(), Fault> {
        self.usable()?;
        let outcome = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .doing(doing, &self.path);
        self.seen(outcome).map(|_| ())
    }

    /// What stands under the key, for the digest and kept by the top level; `new` saves writing
    /// what is there already.
    fn old_row(&mut self, machine: u32, key: &[u8], new: Option<&[u8]>) -> Result<OldRow, Fault> {
        self.usable()?;
        if self.levels.last().expect("rows change inside a transaction").is_full() {
            self.leave_to_sqlite()?;
        }
        let top = self.levels.last_mut().expect("it was there");
        let hasher = &mut self.hasher;
        let found = self.connection.prepare_cached(GET).and_then(|mut statement| {
            let row = statement.query_row((machine, key), |row| {
                let value = row.get_ref(0)?.as_blob()?;
                if new == Some(value) {
                    return Ok(OldRow::Same);
                }
                top.keep_row(machine, key, Some(value));
                Ok(OldRow::Differs(hasher.share(machine, key, value)))
            });
            row.optional()
        });
        let found = self.seen(found.doing("read a row before it changes", &self.path))?;
        if found.is_none() && new.is_some() {
            self.levels.last_mut().expect("it was there").keep_row(machine, key, None);
        }
        Ok(found.unwrap_or(OldRow::Absent))
    }

    /// Has SQLite keep what changes from now on, in case the top level is undone.
    fn leave_to_sqlite(&mut self) -> Result<(), Fault> {
        if !self.levels.last().expect("rows change inside a transaction").opened {
            self.run("SAVEPOINT s", "begin a savepoint")?;
            self.levels.last_mut().expect("it was there").opened = true;
        }
        Ok(())
    }

    /// Puts a row back as it was.
    fn put_back(&self, undo: &Undo) -> Result<(), Fault> {
        let (machine, key) = (undo.machine, &*undo.key);
        let outcome = match &undo.before {
            Some(value) => {
                let statement = self.connection.prepare_cached(PUT);
                statement.and_then(|mut statement| statement.execute((machine, key, &**value)))
            }
            None => {
                let statement = self.connection.prepare_cached(DELETE);
                statement.and_then(|mut statement| statement.execute((machine, key)))
            }
        };
        self.seen(outcome.doing("put a row back", &self.path)).map(|_| ())
    }

    /// The totals of a machine, about to change.
    fn change(&mut self, machine: u32) -> &mut Totals {
        let before = self.totals.get(&machine).copied();
        let top = self.levels.last_mut().expect("rows change inside a transaction");
        top.keep_totals(machine, before);
        self.totals.entry(machine).or_default()
    }
}

enum OldRow {
    Absent,
    Same,
    Differs(RowShare),
}

impl ReadTables for StateStore {
    fn get(&self, machine: u32, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.usable()?;
        self.seen(self.tables().get(machine, key))
    }

    fn size_of(&self, machine: u32, key: &[u8]) -> Result<Option<u32>, Fault> {
        self.usable()?;
        self.seen(self.tables().size_of(machine, key))
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
        self.usable()?;
        self.seen(self.tables().scan(machine, start, end, limit, max_bytes, reverse, keys_only))
    }

    fn count(&self, machine: u32, start: &[u8], end: &[u8], limit: u32) -> Result<u32, Fault> {
        self.usable()?;
        self.seen(self.tables().count(machine, start, end, limit))
    }
}
