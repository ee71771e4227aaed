//! Makes state.db durable off the write path, and knows up to which entry it is.
//!
//! Below that entry alone the log may be truncated. When it runs is the driver's decision.

use std::path::PathBuf;

use pgraft_replica::Index;
use rusqlite::{Connection, ErrorCode};

use crate::connection::{self, Checkpoint, Purpose};
use crate::fault::Doing;
use crate::limits::{STATE_PAGE_BYTES, STATE_WAL_RESTART_BYTES};
use crate::state_reader::open_existing;
use crate::{Disk, Fault, OpenError, state_schema};

/// A connection of its own for a thread of its own. Send, not Sync.
#[derive(Debug)]
pub struct Checkpointer {
    connection: Connection,
    path: PathBuf,
    generation: u64,
    durable: Index,
    /// After a failed fsync a later one may say all is well; it is not asked.
    broken: bool,
}

impl Checkpointer {
    /// Opens the state of a generation that a [`crate::StateStore`] has opened before.
    ///
    /// # Errors
    /// As [`crate::StateReader::open`].
    pub fn open(disk: &Disk, generation: u64) -> Result<Checkpointer, OpenError> {
        let path = disk.state_path(generation);
        let connection = open_existing(disk, &path, Purpose::StateCheckpoint)?;
        let durable = Index::ZERO;
        Ok(Checkpointer { connection, path, generation, durable, broken: false })
    }

    /// Bytes in the WAL that are not in the database file yet.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn wal_bytes(&self) -> Result<u64, Fault> {
        connection::wal_bytes(&self.connection, STATE_PAGE_BYTES)
            .doing("measure the state's WAL", &self.path)
    }

    /// Moves the WAL into the database file with fsyncs, and returns up to which entry the state
    /// is durable. That index stays where it was when a reader held the WAL; run it again later.
    ///
    /// # Errors
    /// After [`Fault::Full`] it may be run again; after any other fault it refuses.
    pub fn run(&mut self) -> Result<Index, Fault> {
        if self.broken {
            return Err(Fault::Broken { path: self.path.clone() });
        }
        let outcome = self.move_wal();
        self.broken = outcome.as_ref().is_err_and(|fault| !fault.is_full());
        outcome
    }

    fn move_wal(&mut self) -> Result<Index, Fault> {
        let doing = "checkpoint the state";
        // Read before: what the writer commits during the checkpoint may not be covered by it.
        let (meta, _) = state_schema::read_meta(&self.connection, &self.path, self.generation)?;
        let wal = connection::checkpoint(&self.connection, Checkpoint::Passive)
            .doing(doing, &self.path)?;
        // SQLite syncs the WAL before it moves a frame, and moved them all as of its start.
        if !wal.busy && wal.moved >= wal.frames {
            assert!(meta.applied >= self.durable, "applied went back to {}", meta.applied);
            self.durable = meta.applied;
            let frame_bytes = u64::from(STATE_PAGE_BYTES) + 24;
            if wal.frames * frame_bytes > STATE_WAL_RESTART_BYTES {
                self.restart()?;
            }
        }
        Ok(self.durable)
    }

    /// A WAL that only grows because some reader is always there gets its chance to start over.
    fn restart(&self) -> Result<(), Fault> {
        match connection::checkpoint(&self.connection, Checkpoint::Truncate) {
            Ok(_) => Ok(()),
            // A reader or the writer is in the way; there will be another time.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
            Err(error) => Err(Fault::sqlite("restart the state's WAL", &self.path, error)),
        }
    }
}
