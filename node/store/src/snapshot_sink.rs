//! Builds the state of a new generation from a peer's stream, trusting none of it.
//!
//! The file counts only once raft.db points to it; until then a crash leaves garbage that
//! [`crate::remove_other_generations`] deletes.

use std::path::PathBuf;

use pgraft_replica::SnapshotMeta;
use rusqlite::Connection;

use crate::chunk::{ChunkHead, ChunkKind, ROW_HEADER_BYTES};
use crate::chunk::{decode_head, decode_header, decode_trailer};
use crate::connection::{self, Purpose};
use crate::decode::{Fields, Malformed};
use crate::digest::{AllTotals, RowHasher};
use crate::fault::Doing;
use crate::limits::{
    CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, KEY_BYTES_MAX, MACHINES_MAX, SNAPSHOT_BYTES_MAX,
    VALUE_BYTES_MAX,
};
use crate::meta::encode_row;
use crate::{Disk, Fault, Meta, SinkError, state_schema};

/// Machine, key, value.
type RowBytes<'a> = (u32, &'a [u8], &'a [u8]);

const INSERT: &str = "INSERT INTO kv(machine,k,v) VALUES(?1,?2,?3)";

/// A state being built. Send. Dropped before `finish` succeeded, it removes its file.
#[derive(Debug)]
pub struct SnapshotSink {
    disk: Disk,
    path: PathBuf,
    generation: u64,
    /// Taken out by `finish`, so that the file is closed before it is removed.
    connection: Option<Connection>,
    /// Bytes of an incomplete chunk.
    partial: Vec<u8>,
    /// Bytes of an incomplete row.
    rows: Vec<u8>,
    /// Number of the next chunk.
    number: u64,
    meta: Option<Meta>,
    trailer: Option<AllTotals>,
    found: AllTotals,
    bytes: u64,
    last: Option<(u32, Vec<u8>)>,
    hasher: RowHasher,
    /// A stream that was wrong once stays so.
    failed: bool,
    finished: bool,
}

impl SnapshotSink {
    /// Begins the state of a generation nobody uses; what an earlier attempt left is removed.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn create(disk: &Disk, generation: u64) -> Result<SnapshotSink, Fault> {
        let path = disk.state_path(generation);
        disk.remove_database(&path)?;
        let doing = "create a state for a snapshot";
        let connection =
            connection::open(disk, &path, Purpose::SnapshotBuild, true).doing(doing, &path)?;
        let sink = SnapshotSink {
            disk: disk.clone(),
            path,
            generation,
            connection: Some(connection),
            partial: Vec::new(),
            rows: Vec::new(),
            number: 0,
            meta: None,
            trailer: None,
            found: AllTotals::new(),
            bytes: 0,
            last: None,
            hasher: RowHasher::default(),
            failed: false,
            finished: false,
        };
        // No journal: a file that was not finished is thrown away whole.
        sink.run("PRAGMA journal_mode=OFF; BEGIN IMMEDIATE", doing)?;
        state_schema::create_tables(sink.open_connection()).doing(doing, &sink.path)?;
        Ok(sink)
    }

    /// Takes the next bytes of the stream, cut in any way.
    ///
    /// # Errors
    /// [`SinkError::Malformed`] for anything a [`crate::SnapshotSource`] does not write, found
    /// before memory is taken for it. Every later call fails as well.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        if self.failed {
            return Err(SinkError::Malformed("the stream was refused before".to_owned()));
        }
        let outcome = self.take(bytes);
        self.failed = outcome.is_err();
        outcome
    }

    /// Verifies that the whole stream came and is what was announced, and makes the file durable.
    /// Costs a check of the file's structure and two fsyncs.
    ///
    /// # Errors
    /// [`SinkError::Malformed`] when something is missing, [`SinkError::Mismatch`] when rows and
    /// totals, or meta and `expected` differ. The file is removed then.
    pub fn finish(mut self, expected: &SnapshotMeta) -> Result<(), SinkError> {
        let meta = self.verified(expected)?;
        let doing = "finish the state of a snapshot";
        self.run("COMMIT", doing)?;
        let connection = self.open_connection();
        if let Some(what) = connection::quick_check(connection).doing(doing, &self.path)? {
            return Err(Fault::damaged(doing, &self.path, what).into());
        }
        let mut row = Vec::new();
        encode_row(self.generation, &meta, &self.found, &mut row);
        // The last commit alone is synced; its fsync covers all that was written before.
        self.run("PRAGMA synchronous=FULL; BEGIN IMMEDIATE", doing)?;
        state_schema::write_meta(connection, &row)
            .and_then(|()| state_schema::complete(connection))
            .doing(doing, &self.path)?;
        self.run("COMMIT", doing)?;
        self.connection = None;
        self.disk.sync_directory()?;
        self.finished = true;
        Ok(())
    }

    fn open_connection(&self) -> &Connection {
        self.connection.as_ref().expect("open until finish is done")
    }

    fn run(&self, sql: &str, doing: &'static str) -> Result<(), Fault> {
        self.open_connection().execute_batch(sql).doing(doing, &self.path)
    }

    fn malformed(&self, malformed: Malformed) -> SinkError {
        SinkError::Malformed(format!("chunk {}: {malformed}", self.number))
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), SinkError> {
        while !bytes.is_empty() {
            let wanted = self.wanted()?;
            let taken = wanted.min(bytes.len());
            self.partial.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            assert!(self.partial.len() <= CHUNK_BYTES_MAX, "a chunk is bounded by its header");
            if self.wanted()? == 0 {
                let chunk = std::mem::take(&mut self.partial);
                self.take_chunk(&chunk)?;
                self.partial = chunk;
                self.partial.clear();
            }
        }
        Ok(())
    }

    /// Bytes missing from the chunk in `partial`: first its header, then what that says.
    fn wanted(&self) -> Result<usize, SinkError> {
        if self.trailer.is_some() {
            return Err(SinkError::Malformed("bytes after the trailer".to_owned()));
        }
        if self.partial.len() < CHUNK_HEADER_BYTES {
            return Ok(CHUNK_HEADER_BYTES - self.partial.len());
        }
        let head = self.head(&self.partial)?;
        Ok(CHUNK_HEADER_BYTES + head.body_bytes - self.partial.len())
    }

    fn head(&self, chunk: &[u8]) -> Result<ChunkHead, SinkError> {
        decode_head(&chunk[..CHUNK_HEADER_BYTES], self.number).map_err(|bad| self.malformed(bad))
    }

    fn take_chunk(&mut self, chunk: &[u8]) -> Result<(), SinkError> {
        let head = self.head(chunk)?;
        let body = &chunk[CHUNK_HEADER_BYTES..];
        head.check(self.number, body).map_err(|bad| self.malformed(bad))?;
        match (head.kind, self.meta.is_some()) {
            (ChunkKind::Header, false) => {
                self.meta = Some(decode_header(body).map_err(|bad| self.malformed(bad))?);
            }
            (ChunkKind::Rows, true) => self.take_rows(body)?,
            (ChunkKind::Trailer, true) => {
                if !self.rows.is_empty() {
                    return Err(SinkError::Malformed("the last row is cut short".to_owned()));
                }
                self.trailer = Some(decode_trailer(body).map_err(|bad| self.malformed(bad))?);
            }
            (ChunkKind::Header, true) | (ChunkKind::Rows | ChunkKind::Trailer, false) => {
                let what = format!("chunk {}: out of its place", self.number);
                return Err(SinkError::Malformed(what));
            }
        }
        self.number += 1;
        Ok(())
    }

    fn take_rows(&mut self, body: &[u8]) -> Result<(), SinkError> {
        let mut rows = std::mem::take(&mut self.rows);
        rows.extend_from_slice(body);
        let mut at = 0;
        while let Some(row) = self.next_row(&rows[at..])? {
            self.insert(row)?;
            at += ROW_HEADER_BYTES + row.1.len() + row.2.len();
        }
        rows.drain(..at);
        self.rows = rows;
        Ok(())
    }

    /// The row at the front, `None` when it is incomplete. Lengths are checked before the rest of
    /// the row is waited for, so what is kept in memory is bounded.
    fn next_row<'a>(&self, rows: &'a [u8]) -> Result<Option<RowBytes<'a>>, SinkError> {
        if rows.len() < ROW_HEADER_BYTES {
            return Ok(None);
        }
        let parse = || {
            let mut fields = Fields::new(rows);
            let machine = fields.u32()?;
            let key_bytes = fields.count(KEY_BYTES_MAX)?;
            let value_bytes = fields.count(VALUE_BYTES_MAX)?;
            if rows.len() < ROW_HEADER_BYTES + key_bytes + value_bytes {
                return Ok(None);
            }
            Ok(Some((machine, fields.bytes(key_bytes)?, fields.bytes(value_bytes)?)))
        };
        parse().map_err(|bad| self.malformed(bad))
    }

    fn insert(&mut self, (machine, key, value): RowBytes<'_>) -> Result<(), SinkError> {
        let ascending = match &self.last {
            Some((last_machine, last_key)) => (*last_machine, &last_key[..]) < (machine, key),
            None => true,
        };
        if !ascending {
            return Err(SinkError::Malformed("rows out of order".to_owned()));
        }
        self.bytes += (key.len() + value.len()) as u64;
        if self.bytes > SNAPSHOT_BYTES_MAX {
            return Err(SinkError::Malformed(format!("more than {SNAPSHOT_BYTES_MAX} bytes")));
        }
        let share = self.hasher.share(machine, key, value);
        self.found.entry(machine).or_default().add(share);
        if self.found.len() > MACHINES_MAX {
            return Err(SinkError::Malformed(format!("more than {MACHINES_MAX} keyspaces")));
        }
        self.open_connection()
            .prepare_cached(INSERT)
            .and_then(|mut statement| statement.execute((machine, key, value)))
            .doing("insert a row of a snapshot", &self.path)?;
        let (last_machine, last_key) = self.last.get_or_insert_default();
        *last_machine = machine;
        last_key.clear();
        last_key.extend_from_slice(key);
        Ok(())
    }

    fn verified(&mut self, expected: &SnapshotMeta) -> Result<Meta, SinkError> {
        let cut = || SinkError::Malformed("the stream ended before its trailer".to_owned());
        if self.failed {
            return Err(SinkError::Malformed("the stream was refused before".to_owned()));
        }
        let trailer = self.trailer.take().ok_or_else(cut)?;
        let meta = self.meta.take().ok_or_else(cut)?;
        for (machine, announced) in &trailer {
            // The digest of a keyspace that was emptied is that of no rows.
            let found = self.found.entry(*machine).or_default();
            if found != announced {
                let what = format!("machine {machine}: {found:?} came of {announced:?}");
                return Err(SinkError::Mismatch(what));
            }
        }
        if let Some(machine) = self.found.keys().find(|machine| !trailer.contains_key(machine)) {
            return Err(SinkError::Mismatch(format!("machine {machine} was not announced")));
        }
        let came = meta.snapshot();
        if came != *expected {
            return Err(SinkError::Mismatch(format!("{came:?} came instead of {expected:?}")));
        }
        Ok(meta)
    }
}

impl Drop for SnapshotSink {
    fn drop(&mut self) {
        self.connection = None;
        if !self.finished {
            // Garbage that stays because the disk fails is removed at the next start.
            if let Err(fault) = self.disk.remove_database(&self.path) {
                tracing::warn!(%fault, "cannot remove an unfinished snapshot");
            }
        }
    }
}
