//! raft.db: the log and the hard state, durable before anything is said on their strength.
//!
//! One connection, one writer thread, one transaction and one fsync for all that waits. What the
//! tables look like is in `log_schema.rs`; which entries may go is decided by the replica.

use std::path::PathBuf;

use pgraft_replica::{Entry, Fetch, HardState, Index, Persist, Term};
use rusqlite::Connection;

use crate::connection::{self, Checkpoint};
use crate::fault::Doing;
use crate::limits::{LOG_PAGE_BYTES, LOG_WAL_FORCED_BYTES, LOG_WAL_IDLE_BYTES, TRUNCATE_ROWS_MAX};
use crate::log_schema::{self, Found, Identity, Position};
use crate::{Disk, Fault, OpenError, log_rows};

/// The log and hard state of a node. Send, not Sync: it belongs to the log writer's thread.
#[derive(Debug)]
pub struct LogStore {
    connection: Connection,
    path: PathBuf,
    position: Position,
    /// Entries up to here may go; they do, in steps.
    truncate_to: Index,
    /// Set by the first fault that is not a full disk. The disk is not touched after it.
    broken: bool,
}

/// What was found in raft.db. All of it is durable.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Who this node is.
    pub identity: Identity,
    /// As given to [`LogStore::create`].
    pub genesis: Vec<u8>,
    /// The last one written.
    pub hard_state: HardState,
    /// The last entry that is not in the log any more; (0, 0) when none is gone.
    pub truncated: (Index, Term),
    /// First index of each term in the log, ascending.
    pub terms: Vec<(Index, Term)>,
    /// The last entry; that of `truncated` when the log is empty.
    pub last: Index,
    /// Which state.db belongs to this log.
    pub generation: u64,
}

impl LogStore {
    /// Whether the directory holds a log, be it damaged, or the remains of one: a state.db without
    /// a log counts, because starting anew there would forget votes and entries.
    pub fn exists(disk: &Disk) -> bool {
        log_schema::completed(disk, &disk.log_path())
            || disk.generations().map_or(true, |found| !found.is_empty())
    }

    /// Creates an empty log. A crash before the end leaves nothing that [`LogStore::exists`] sees.
    ///
    /// # Errors
    /// When the disk fails.
    ///
    /// # Panics
    /// When there is a log.
    pub fn create(disk: &Disk, identity: &Identity, genesis: &[u8]) -> Result<(), Fault> {
        log_schema::create(disk, &disk.log_path(), identity, genesis)
    }

    /// Opens the log for this process alone, reads and checks all of it, and makes durable what it
    /// reports: also what a killed process had written without an fsync.
    ///
    /// # Errors
    /// Each [`OpenError`] says the way out.
    pub fn open(disk: &Disk) -> Result<(LogStore, Opened), OpenError> {
        let path = disk.log_path();
        let (connection, found) = log_schema::open(disk, &path)?;
        let Found { identity, genesis, position, terms } = found;
        let Position { hard_state, truncated, last, generation } = position;
        let truncate_to = truncated.0;
        let store = LogStore { connection, path, position, truncate_to, broken: false };
        let opened = Opened { identity, genesis, hard_state, truncated, terms, last, generation };
        Ok((store, opened))
    }

    /// The end of the log: all entries above `above`, and as many older ones as make the sum of
    /// data lengths at most `bytes_max`. Contiguous up to the last entry.
    ///
    /// # Errors
    /// When the disk fails or a row is damaged.
    pub fn tail(&mut self, above: Index, bytes_max: usize) -> Result<Vec<Entry>, Fault> {
        self.usable()?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let outcome = log_rows::read_down(&self.connection, &self.path, |entry| {
            bytes += entry.data.len();
            let wanted = entry.index > above || bytes <= bytes_max;
            if wanted {
                entries.push(entry);
            }
            Ok(wanted)
        });
        self.seen(outcome)?;
        entries.reverse();
        assert!(
            entries.last().is_none_or(|entry| entry.index == self.position.last),
            "the log in memory ends at {}",
            self.position.last
        );
        self.contiguous(&entries)?;
        Ok(entries)
    }

    /// Makes all tasks durable, in order, in one transaction with one fsync.
    ///
    /// # Errors
    /// [`Fault::Full`] leaves the log as it was and may be tried again; every other fault ends the
    /// use of this store.
    ///
    /// # Panics
    /// If a task holds a snapshot, leaves a gap, replaces truncated entries, or takes term, vote or
    /// commit index back: consensus itself is broken then.
    pub fn write(&mut self, tasks: &[Persist]) -> Result<(), Fault> {
        self.usable()?;
        if tasks.iter().all(|task| task.hard_state.is_none() && task.entries.is_empty()) {
            assert!(tasks.iter().all(|task| task.snapshot.is_none()), "snapshots are installed");
            return Ok(());
        }
        let truncate_to = self.truncate_to;
        self.transaction("append to the log", |writer| {
            for task in tasks {
                assert!(task.snapshot.is_none(), "snapshots are installed");
                writer.append(&task.entries)?;
                writer.adopt(task.hard_state);
            }
            if tasks.iter().any(|task| task.hard_state.is_some()) {
                writer.write_hard_state()?;
            }
            writer.truncate(truncate_to)
        })?;
        self.move_large_wal()
    }

    /// Replaces log and state by a received snapshot whose state-`generation`.db is complete and
    /// synced: one transaction sets the generation, the truncated entry and the hard state, and
    /// empties the log. Entries of the same task follow the snapshot.
    ///
    /// # Errors
    /// As [`LogStore::write`].
    ///
    /// # Panics
    /// If the task holds no snapshot, or the generation is not new.
    pub fn install(&mut self, task: &Persist, generation: u64) -> Result<(), Fault> {
        self.usable()?;
        let snapshot = task.snapshot.as_ref().expect("only a snapshot is installed");
        let (index, term) = (snapshot.index, snapshot.term);
        assert!(generation > self.position.generation, "generation {generation} is not new");
        assert!(index > self.position.truncated.0, "snapshot {index} is older than the log");
        self.transaction("install a snapshot", |writer| {
            log_rows::delete_all(writer.connection).doing(writer.doing, writer.path)?;
            writer.next.last = index;
            writer.next.truncated = (index, term);
            writer.next.generation = generation;
            log_schema::write_truncated(writer.connection, (index, term))
                .and_then(|()| log_schema::write_generation(writer.connection, generation))
                .doing(writer.doing, writer.path)?;
            writer.append(&task.entries)?;
            let held = writer.next.hard_state;
            // What a snapshot includes is committed, whether or not the replica says so here.
            let after = task.hard_state.unwrap_or(held);
            writer.adopt(Some(HardState { commit: after.commit.max(index), ..after }));
            assert!(writer.next.hard_state.term >= term, "snapshot of a term not yet adopted");
            writer.write_hard_state()
        })?;
        self.truncate_to = self.truncate_to.max(index);
        Ok(())
    }

    /// Points to another, empty state.db because the present one is damaged.
    ///
    /// # Errors
    /// As [`LogStore::write`].
    ///
    /// # Panics
    /// If the generation is not new.
    pub fn set_generation(&mut self, generation: u64) -> Result<(), Fault> {
        self.usable()?;
        assert!(generation > self.position.generation, "generation {generation} is not new");
        self.transaction("set the generation", |writer| {
            writer.next.generation = generation;
            log_schema::write_generation(writer.connection, generation)
                .doing(writer.doing, writer.path)
        })
    }

    /// Entries from `fetch.low` on, in order and without gap, at most `fetch.bytes_max` of data but
    /// at least one. Empty when `low` is truncated or beyond the end.
    ///
    /// # Errors
    /// When the disk fails or a row is damaged.
    pub fn read(&mut self, fetch: Fetch) -> Result<Vec<Entry>, Fault> {
        self.usable()?;
        if fetch.low <= self.position.truncated.0 || fetch.low > self.position.last {
            return Ok(Vec::new());
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let bounds = (fetch.low, fetch.high);
        let outcome = log_rows::read_up(&self.connection, &self.path, bounds, |entry| {
            bytes += entry.data.len() as u64;
            let fits = entries.is_empty() || bytes <= fetch.bytes_max;
            if fits {
                entries.push(entry);
            }
            Ok(fits)
        });
        self.seen(outcome)?;
        self.contiguous(&entries)?;
        assert!(entries.first().is_none_or(|entry| entry.index == fetch.low), "read elsewhere");
        Ok(entries)
    }

    /// Entries up to and including `index` may go. Only remembered here; deleted in steps by later
    /// writes and by [`LogStore::idle`].
    ///
    /// # Panics
    /// If the log does not reach `index`: what is durable in state.db came through this log.
    pub fn truncate_below(&mut self, index: Index) {
        let last = self.position.last;
        assert!(index <= last, "truncation at {index} above the last entry {last}");
        self.truncate_to = self.truncate_to.max(index);
    }

    /// Does one step of work that no write waits for: truncation, or a checkpoint. True when there
    /// is more to do.
    ///
    /// # Errors
    /// As [`LogStore::write`].
    pub fn idle(&mut self) -> Result<bool, Fault> {
        self.usable()?;
        if self.truncate_to.min(self.position.hard_state.commit) > self.position.truncated.0 {
            let truncate_to = self.truncate_to;
            self.transaction("truncate the log", |writer| writer.truncate(truncate_to))?;
            return Ok(true);
        }
        if self.wal_bytes()? > LOG_WAL_IDLE_BYTES {
            self.checkpoint()?;
        }
        Ok(false)
    }

    fn usable(&self) -> Result<(), Fault> {
        if self.broken { Err(Fault::Broken { path: self.path.clone() }) } else { Ok(()) }
    }

    /// Every outcome passes here: the first fault but a full disk ends the use of the store.
    fn seen<T>(&mut self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        self.broken |= outcome.as_ref().is_err_and(|fault| !fault.is_full());
        outcome
    }

    fn contiguous(&mut self, entries: &[Entry]) -> Result<(), Fault> {
        let gap = entries.windows(2).find(|pair| pair[0].index.next() != pair[1].index);
        let outcome = gap.map_or(Ok(()), |pair| {
            let what = format!("entry {} follows {}", pair[1].index, pair[0].index);
            Err(Fault::damaged("read log entries", &self.path, what))
        });
        self.seen(outcome)
    }

    /// Keeps the WAL from growing without end while the writer never has nothing to do.
    fn move_large_wal(&mut self) -> Result<(), Fault> {
        if self.wal_bytes()? <= LOG_WAL_FORCED_BYTES {
            return Ok(());
        }
        match self.checkpoint() {
            // What was asked for is durable; only the moving has to wait for space.
            Err(fault) if fault.is_full() => {
                tracing::warn!(%fault, "the log's WAL grows");
                Ok(())
            }
            other => other,
        }
    }

    fn wal_bytes(&mut self) -> Result<u64, Fault> {
        let outcome = connection::wal_bytes(&self.connection, LOG_PAGE_BYTES)
            .doing("measure the log's WAL", &self.path);
        self.seen(outcome)
    }

    fn checkpoint(&mut self) -> Result<(), Fault> {
        let outcome = connection::checkpoint(&self.connection, Checkpoint::Passive)
            .doing("checkpoint the log", &self.path);
        let wal = self.seen(outcome)?;
        assert_eq!(wal.moved, wal.frames, "nobody else uses the log, so nothing is in the way");
        Ok(())
    }

    fn transaction(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&mut Writer<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let execute = |sql| {
            let statement = self.connection.prepare_cached(sql);
            statement.and_then(|mut statement| statement.execute([])).doing(doing, &self.path)
        };
        let mut writer =
            Writer { connection: &self.connection, path: &self.path, doing, next: self.position };
        let outcome = execute("BEGIN IMMEDIATE")
            .and_then(|_| work(&mut writer))
            .and_then(|()| execute("COMMIT"));
        let next = writer.next;
        if outcome.as_ref().is_err_and(Fault::is_full) && !self.connection.is_autocommit() {
            // SQLite undoes most failed transactions itself, not all.
            let undone = execute("ROLLBACK");
            self.seen(undone)?;
        }
        self.seen(outcome)?;
        self.position = next;
        Ok(())
    }
}

/// One transaction: what it wrote is in `next`, which counts only once it is committed.
struct Writer<'a> {
    connection: &'a Connection,
    path: &'a std::path::Path,
    doing: &'static str,
    next: Position,
}

impl Writer<'_> {
    fn append(&mut self, entries: &[Entry]) -> Result<(), Fault> {
        let Some(first) = entries.first() else {
            return Ok(());
        };
        let Position { truncated, last, .. } = self.next;
        assert!(first.index > truncated.0, "entry {} is truncated already", first.index);
        assert!(first.index <= last.next(), "gap between {last} and {}", first.index);
        if first.index <= last {
            // Another leader's entries take the place of ours (Raft paper, section 5.3).
            let commit = self.next.hard_state.commit;
            assert!(first.index > commit, "entry {} is committed at {commit}", first.index);
            log_rows::delete_from(self.connection, first.index).doing(self.doing, self.path)?;
        }
        let mut expected = first.index;
        for entry in entries {
            assert_eq!(entry.index, expected, "gap in the entries of one task");
            log_rows::insert(self.connection, entry).doing(self.doing, self.path)?;
            expected = expected.next();
        }
        self.next.last = entries.last().expect("not empty").index;
        Ok(())
    }

    fn adopt(&mut self, hard_state: Option<HardState>) {
        let Some(new) = hard_state else {
            return;
        };
        let old = self.next.hard_state;
        assert!(new.term >= old.term, "term went back from {} to {}", old.term, new.term);
        assert!(new.commit >= old.commit, "commit went back: {} to {}", old.commit, new.commit);
        assert!(
            new.term > old.term || old.vote.is_none() || new.vote == old.vote,
            "a second vote in term {}: {:?} after {:?}",
            new.term,
            new.vote,
            old.vote
        );
        self.next.hard_state = new;
    }

    fn write_hard_state(&mut self) -> Result<(), Fault> {
        let Position { hard_state, last, .. } = self.next;
        assert!(hard_state.commit <= last, "commit {} beyond {last}", hard_state.commit);
        log_schema::write_hard_state(self.connection, &hard_state).doing(self.doing, self.path)
    }

    /// Deletes up to `target`, at most [`TRUNCATE_ROWS_MAX`] rows.
    fn truncate(&mut self, target: Index) -> Result<(), Fault> {
        let from = self.next.truncated.0;
        // A commit index may lag in the hard state; what lies above it must stay replaceable.
        let target = target.min(self.next.hard_state.commit);
        if target <= from {
            return Ok(());
        }
        let upto = target.min(Index(from.0 + TRUNCATE_ROWS_MAX));
        let term = self.term_of(upto)?;
        let deleted = log_rows::delete_up_to(self.connection, upto).doing(self.doing, self.path)?;
        assert_eq!(deleted as u64, from.distance_to(upto), "the log has no gaps");
        self.next.truncated = (upto, term);
        log_schema::write_truncated(self.connection, (upto, term)).doing(self.doing, self.path)
    }

    fn term_of(&self, index: Index) -> Result<Term, Fault> {
        let mut term = None;
        log_rows::read_up(self.connection, self.path, (index, index.next()), |entry| {
            term = Some(entry.term);
            Ok(true)
        })?;
        term.ok_or_else(|| Fault::damaged(self.doing, self.path, format!("no entry {index}")))
    }
}
