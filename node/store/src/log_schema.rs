//! The tables of raft.db: how they are created, and what must hold before the node may use them.
//!
//! The rows of the log are in `log_rows.rs`, writing is in `log_store.rs`.

use std::path::Path;

use pgraft_replica::{HardState, Index, NodeId, Term};
use rusqlite::{Connection, ErrorCode, OptionalExtension};

use crate::connection::{self, Checkpoint, Purpose, Stamp};
use crate::decode::Fields;
use crate::fault::Doing;
use crate::limits::GENESIS_BYTES_MAX;
use crate::log_rows::{self, signed};
use crate::rewrite::rewrite_wal;
use crate::{Disk, Fault, OpenError};

/// "pgrl" in the database header.
pub(crate) const APPLICATION_ID: i32 = 0x7067_726c;
/// The format this program writes.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// The oldest format this program reads. Version 1 is the first; who adds 2 either adds a step that
/// migrates 1, in the transaction that sets the new version, or raises this.
pub(crate) const FORMAT_VERSION_MIN: u32 = 1;

const TABLES: &str = "
CREATE TABLE log(idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, kind INTEGER NOT NULL,
    crc INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE meta(k INTEGER PRIMARY KEY, a INTEGER NOT NULL, b INTEGER NOT NULL,
    c INTEGER NOT NULL, d BLOB NOT NULL, crc INTEGER NOT NULL) STRICT;";

/// The rows of `meta`.
const IDENTITY: i64 = 1;
const GENESIS: i64 = 2;
const HARD_STATE: i64 = 3;
const TRUNCATED: i64 = 4;
const GENERATION: i64 = 5;

/// Who this node is; never changes in the life of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Id of the cluster.
    pub cluster: u64,
    /// sha256 of the genesis.
    pub genesis_hash: [u8; 32],
    /// This node.
    pub node: NodeId,
    /// Chance drawn when the directory was created; tells a copy or a second life from this one.
    pub incarnation: u128,
}

/// What the store keeps in memory of raft.db; changed only after a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) hard_state: HardState,
    /// The last entry that is not in the log any more.
    pub(crate) truncated: (Index, Term),
    /// The last entry; equal to `truncated` when the log is empty.
    pub(crate) last: Index,
    pub(crate) generation: u64,
}

/// Everything read and checked at open.
pub(crate) struct Found {
    pub(crate) identity: Identity,
    pub(crate) genesis: Vec<u8>,
    pub(crate) position: Position,
    pub(crate) terms: Vec<(Index, Term)>,
}

struct MetaRow {
    key: i64,
    numbers: [i64; 3],
    data: Vec<u8>,
}

impl MetaRow {
    /// crc32c over key and numbers as i64 LE, and data.
    fn crc(&self) -> u32 {
        let mut head = self.key.to_le_bytes().to_vec();
        head.extend(self.numbers.iter().flat_map(|number| number.to_le_bytes()));
        crc32c::crc32c_append(crc32c::crc32c(&head), &self.data)
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        const SQL: &str = "INSERT OR REPLACE INTO meta(k,a,b,c,d,crc) VALUES(?1,?2,?3,?4,?5,?6)";
        let [a, b, c] = self.numbers;
        let row = (self.key, a, b, c, &self.data, self.crc());
        connection.prepare_cached(SQL)?.execute(row)?;
        Ok(())
    }

    fn read(connection: &Connection, path: &Path, key: i64) -> Result<MetaRow, Fault> {
        const SQL: &str = "SELECT a,b,c,d,crc FROM meta WHERE k=?1";
        let doing = "read the meta rows";
        let found = connection
            .query_row(SQL, [key], |row| {
                let numbers = [row.get(0)?, row.get(1)?, row.get(2)?];
                Ok((MetaRow { key, numbers, data: row.get(3)? }, row.get::<_, i64>(4)?))
            })
            .optional()
            .doing(doing, path)?;
        let damaged = |what| Fault::damaged(doing, path, format!("meta row {key} {what}"));
        let (row, crc) = found.ok_or_else(|| damaged("is missing"))?;
        if i64::from(row.crc()) == crc { Ok(row) } else { Err(damaged("has a wrong checksum")) }
    }

    fn number(&self, path: &Path, place: usize) -> Result<u64, Fault> {
        u64::try_from(self.numbers[place])
            .map_err(|_| Fault::damaged("read the meta rows", path, "negative number"))
    }
}

pub(crate) fn write_hard_state(
    connection: &Connection,
    hard_state: &HardState,
) -> rusqlite::Result<()> {
    let HardState { term, vote, commit } = *hard_state;
    let vote = vote.map_or(0, NodeId::get);
    // Node ids use all 64 bits; the sign means nothing in that place.
    let numbers = [signed(term.0), vote.cast_signed(), signed(commit.0)];
    MetaRow { key: HARD_STATE, numbers, data: Vec::new() }.write(connection)
}

pub(crate) fn write_truncated(
    connection: &Connection,
    (index, term): (Index, Term),
) -> rusqlite::Result<()> {
    let numbers = [signed(index.0), signed(term.0), 0];
    MetaRow { key: TRUNCATED, numbers, data: Vec::new() }.write(connection)
}

pub(crate) fn write_generation(connection: &Connection, generation: u64) -> rusqlite::Result<()> {
    let numbers = [signed(generation), 0, 0];
    MetaRow { key: GENERATION, numbers, data: Vec::new() }.write(connection)
}

/// Whether raft.db was completed. When that cannot be told, it was: opening it says what is wrong.
pub(crate) fn completed(disk: &Disk, path: &Path) -> bool {
    match disk.holds(path) {
        Ok(false) => return false,
        Err(_) => return true,
        Ok(true) => {}
    }
    let stamp = connection::open(disk, path, Purpose::Log, false)
        .and_then(|connection| connection::stamp(&connection));
    stamp != Ok(Stamp { application: 0, version: 0 })
}

/// Creates tables and first rows in one transaction; a crash before leaves an empty file.
pub(crate) fn create(
    disk: &Disk,
    path: &Path,
    identity: &Identity,
    genesis: &[u8],
) -> Result<(), Fault> {
    assert!(genesis.len() <= GENESIS_BYTES_MAX, "genesis of {} bytes", genesis.len());
    let doing = "create the log";
    let connection = connection::open(disk, path, Purpose::Log, true).doing(doing, path)?;
    let stamp = connection::stamp(&connection).doing(doing, path)?;
    assert_eq!(stamp.version, 0, "an existing log is never created again");
    connection::use_wal(&connection).doing(doing, path)?;
    let write = || {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        connection.execute_batch(TABLES)?;
        let mut data = identity.genesis_hash.to_vec();
        data.extend_from_slice(&identity.incarnation.to_le_bytes());
        let numbers = [identity.cluster.cast_signed(), identity.node.get().cast_signed(), 0];
        MetaRow { key: IDENTITY, numbers, data }.write(&connection)?;
        MetaRow { key: GENESIS, numbers: [0; 3], data: genesis.to_vec() }.write(&connection)?;
        write_hard_state(&connection, &HardState::default())?;
        write_truncated(&connection, (Index::ZERO, Term(0)))?;
        write_generation(&connection, 0)?;
        connection.execute_batch(&format!(
            "PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FORMAT_VERSION}; COMMIT"
        ))?;
        connection::checkpoint(&connection, Checkpoint::Truncate)
    };
    write().doing(doing, path)?;
    drop(connection);
    disk.sync_directory()
}

/// Opens, checks the version, makes durable what will be read, and checks it all.
pub(crate) fn open(disk: &Disk, path: &Path) -> Result<(Connection, Found), OpenError> {
    let refuse = |fault: Fault| match fault {
        Fault::Damaged { path, what, .. } => OpenError::DamagedLog { path, what },
        other => OpenError::Fault(other),
    };
    let doing = "open the log";
    if !disk.holds(path)? {
        return Err(OpenError::Missing { path: path.to_owned() });
    }
    let opened = connection::open(disk, path, Purpose::Log, false)
        .and_then(|connection| Ok((connection::stamp(&connection)?, connection)));
    let (stamp, connection) = match opened {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            return Err(OpenError::InUse { path: path.to_owned() });
        }
        other => other.doing(doing, path).map_err(refuse)?,
    };
    check_stamp(path, stamp)?;
    prepare(disk, &connection, path).map_err(refuse)?;
    let found = read_all(&connection, path).map_err(refuse)?;
    Ok((connection, found))
}

fn check_stamp(path: &Path, stamp: Stamp) -> Result<(), OpenError> {
    let path = path.to_owned();
    if stamp == (Stamp { application: 0, version: 0 }) {
        return Err(OpenError::Missing { path });
    }
    if stamp.application != APPLICATION_ID {
        let what = format!("application id {:#x} is not that of a log", stamp.application);
        return Err(OpenError::DamagedLog { path, what });
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
    let doing = "recover the log";
    // What a killed process wrote and never synced is in the WAL's page cache, and recovery takes
    // it for committed. It must be durable before anything is said on its strength, and before a
    // page of it is in the database file: a WAL that lost its end would mix old pages with new.
    rewrite_wal(disk, path)?;
    connection::use_wal(connection).doing(doing, path)?;
    let wal = connection::checkpoint(connection, Checkpoint::Truncate).doing(doing, path)?;
    assert!(!wal.busy, "nobody else can have {} open", path.display());
    match connection::quick_check(connection).doing("check the log", path)? {
        None => Ok(()),
        Some(what) => Err(Fault::damaged("check the log", path, what)),
    }
}

fn read_all(connection: &Connection, path: &Path) -> Result<Found, Fault> {
    let row = |key| MetaRow::read(connection, path, key);
    let identity = identity(&row(IDENTITY)?, path)?;
    let hard = row(HARD_STATE)?;
    let hard_state = HardState {
        term: Term(hard.number(path, 0)?),
        vote: NodeId::new(hard.numbers[1].cast_unsigned()),
        commit: Index(hard.number(path, 2)?),
    };
    let cut = row(TRUNCATED)?;
    let truncated = (Index(cut.number(path, 0)?), Term(cut.number(path, 1)?));
    let generation = row(GENERATION)?.number(path, 0)?;
    let (terms, last) = terms(connection, path, truncated)?;
    let last_term = terms.last().map_or(truncated.1, |(_, term)| *term);
    let inconsistent = |what: &str| Err(Fault::damaged("check the log", path, what));
    if hard_state.commit > last {
        return inconsistent("the commit index is beyond the end of the log");
    }
    if hard_state.commit < truncated.0 {
        return inconsistent("the commit index is before the truncated entry");
    }
    if hard_state.term < last_term {
        return inconsistent("the term is below that of the last entry");
    }
    let position = Position { hard_state, truncated, last, generation };
    Ok(Found { identity, genesis: row(GENESIS)?.data, position, terms })
}

fn identity(row: &MetaRow, path: &Path) -> Result<Identity, Fault> {
    let doing = "read the identity";
    let mut fields = Fields::new(&row.data);
    let genesis_hash = fields.bytes(32).doing(doing, path)?;
    let genesis_hash = genesis_hash.try_into().expect("bytes() returns exactly 32");
    let incarnation = fields.u128().doing(doing, path)?;
    fields.end().doing(doing, path)?;
    let node = NodeId::new(row.numbers[1].cast_unsigned())
        .ok_or_else(|| Fault::damaged(doing, path, "node id 0"))?;
    Ok(Identity { cluster: row.numbers[0].cast_unsigned(), genesis_hash, node, incarnation })
}

/// Reads every row: checksums, no gap after `truncated`, terms that never go back.
fn terms(
    connection: &Connection,
    path: &Path,
    truncated: (Index, Term),
) -> Result<(Vec<(Index, Term)>, Index), Fault> {
    let mut terms: Vec<(Index, Term)> = Vec::new();
    let mut last = truncated;
    let damaged = |what: String| Err(Fault::damaged("check the log", path, what));
    log_rows::read_up(connection, path, (Index::ZERO, Index(u64::MAX)), |entry| {
        if entry.index != last.0.next() {
            return damaged(format!("entry {} follows {}", entry.index, last.0));
        }
        if entry.term < last.1 {
            return damaged(format!("entry {}: its term {} went back", entry.index, entry.term));
        }
        if terms.last().is_none_or(|(_, term)| *term < entry.term) {
            terms.push((entry.index, entry.term));
        }
        last = (entry.index, entry.term);
        Ok(true)
    })?;
    Ok((terms, last.0))
}
