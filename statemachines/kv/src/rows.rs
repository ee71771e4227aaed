//! How the machine lies in its keyspace. Schema 1.
//!
//! | key | value |
//! |---|---|
//! | `c` key | the key's current state: [`Current`] |
//! | `r` main (8 bytes) sub (4 bytes) | one change, in order: [`Change`]; stays until compacted |
//! | `l` lease (8 bytes) | [`Lease`] |
//! | `k` lease (8 bytes) key | empty: the key is attached to the lease |
//! | `x` time (8 bytes) lease (8 bytes) | empty: look at the lease at this time, unix ms |
//! | `m` | [`Compaction`]; absent before the first one |
//! | `t` | [`TermStart`]; absent before the first lease |
//!
//! Numbers in keys are big endian, so that they sort. A value lives only in its change row, and
//! `c` points there: the rows a put overwrites at random stay small (about 10 bytes and the key),
//! so that many of them share a page. Holding the value in `c` too would save a read one look-up
//! of 1.6 µs in 24, and cost a put with 256-byte values 60 % more (RAFT.md 4.2: M3b against M3).
//!
//! There is no row for the revision: it is the main number of the last change row, which a
//! compaction never deletes. One truth cannot contradict itself.

use pgraft_sdk::codec::{CodecError, Reader, Writer};

use crate::limits::KEY_BYTES_MAX;

pub(crate) const CURRENT: u8 = b'c';
pub(crate) const CHANGE: u8 = b'r';
pub(crate) const LEASE: u8 = b'l';
pub(crate) const LEASE_KEY: u8 = b'k';
pub(crate) const LEASE_TIME: u8 = b'x';
pub(crate) const COMPACTION: &[u8] = b"m";
pub(crate) const TERM_START: &[u8] = b"t";

/// Why rows are taken apart with `expect`.
pub(crate) const OURS: &str = "only this machine writes its rows";

/// Place of a change: the revision, and the operation within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChangeId {
    pub(crate) main: u64,
    pub(crate) sub: u32,
}

/// What a key is now. `version` 0 = deleted, kept until compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) change: ChangeId,
    pub(crate) create: u64,
    pub(crate) version: u64,
    pub(crate) lease: i64,
}

/// One change of one key. `version` 0 = it was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change<'a> {
    /// The change of the same key before this one; it may be compacted away.
    pub(crate) prev: Option<ChangeId>,
    /// Whether that one left the key in existence.
    pub(crate) prev_exists: bool,
    pub(crate) create: u64,
    pub(crate) version: u64,
    pub(crate) lease: i64,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) ttl_seconds: i64,
    /// Log time; also the place of its `x` row.
    pub(crate) deadline_ms: u64,
    /// It is over, but not all its keys are deleted yet.
    pub(crate) ending: bool,
}

/// How far compaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compaction {
    /// Reads below this revision are refused.
    pub(crate) revision: u64,
    /// The next change row to look at.
    pub(crate) cursor: ChangeId,
    /// When to go on, log time; `None` = all of it is done.
    pub(crate) resume_at_ms: Option<u64>,
}

/// When a lease was first dealt with in the present term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TermStart {
    pub(crate) term: u64,
    pub(crate) time_ms: u64,
}

impl ChangeId {
    pub(crate) const fn first_of(main: u64) -> ChangeId {
        ChangeId { main, sub: 0 }
    }

    pub(crate) fn row(self) -> [u8; 13] {
        let mut row = [CHANGE; 13];
        row[1..9].copy_from_slice(&self.main.to_be_bytes());
        row[9..].copy_from_slice(&self.sub.to_be_bytes());
        row
    }

    pub(crate) fn of_row(row: &[u8]) -> ChangeId {
        let row: &[u8; 13] = row.try_into().expect(OURS);
        let (main, sub) = row[1..].split_first_chunk::<8>().expect("13 bytes hold 8 after one");
        ChangeId {
            main: u64::from_be_bytes(*main),
            sub: u32::from_be_bytes(sub.try_into().expect("13 bytes hold 4 after nine")),
        }
    }
}

impl Current {
    pub(crate) fn exists(&self) -> bool {
        self.version > 0
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(24);
        writer
            .u64(self.change.main)
            .u64(self.change.sub.into())
            .u64(self.create)
            .u64(self.version)
            .i64(self.lease);
        writer.finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Current {
        let mut reader = Reader::new(row);
        let mut read = || -> Result<Current, CodecError> {
            Ok(Current {
                change: read_change_id(&mut reader)?,
                create: reader.u64("create")?,
                version: reader.u64("version")?,
                lease: reader.i64("lease")?,
            })
        };
        read().expect(OURS)
    }
}

impl<'a> Change<'a> {
    pub(crate) fn exists(&self) -> bool {
        self.version > 0
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64 + self.key.len() + self.value.len());
        let prev = self.prev.unwrap_or(ChangeId::first_of(0));
        writer
            .u64(prev.main)
            .u64(prev.sub.into())
            .bool(self.prev_exists)
            .u64(self.create)
            .u64(self.version)
            .i64(self.lease)
            .bytes(self.key)
            .raw(self.value);
        let row = writer.finish();
        #[cfg(feature = "next")]
        let row = crate::next::marked(&row);
        row
    }

    pub(crate) fn decode(row: &'a [u8]) -> Change<'a> {
        #[cfg(feature = "next")]
        let row = crate::next::unmarked(row);
        let mut reader = Reader::new(row);
        let mut read = || -> Result<Change<'a>, CodecError> {
            let prev = read_change_id(&mut reader)?;
            Ok(Change {
                prev: (prev.main != 0).then_some(prev),
                prev_exists: reader.bool("whether the key existed")?,
                create: reader.u64("create")?,
                version: reader.u64("version")?,
                lease: reader.i64("lease")?,
                key: reader.bytes("key")?,
                value: reader.rest(),
            })
        };
        read().expect(OURS)
    }
}

impl Lease {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(24);
        writer.i64(self.ttl_seconds).u64(self.deadline_ms).bool(self.ending);
        writer.finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Lease {
        let mut reader = Reader::new(row);
        let mut read = || -> Result<Lease, CodecError> {
            Ok(Lease {
                ttl_seconds: reader.i64("ttl")?,
                deadline_ms: reader.u64("deadline")?,
                ending: reader.bool("ending")?,
            })
        };
        read().expect(OURS)
    }
}

impl Compaction {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(32);
        writer.u64(self.revision).u64(self.cursor.main).u64(self.cursor.sub.into()).option(
            self.resume_at_ms.as_ref(),
            |writer, time| {
                writer.u64(*time);
            },
        );
        writer.finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Compaction {
        let mut reader = Reader::new(row);
        let mut read = || -> Result<Compaction, CodecError> {
            Ok(Compaction {
                revision: reader.u64("revision")?,
                cursor: read_change_id(&mut reader)?,
                resume_at_ms: reader.option("time", |reader| reader.u64("time"))?,
            })
        };
        read().expect(OURS)
    }
}

impl TermStart {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(16);
        writer.u64(self.term).u64(self.time_ms);
        writer.finish()
    }

    pub(crate) fn decode(row: &[u8]) -> TermStart {
        let mut reader = Reader::new(row);
        let mut read = || -> Result<TermStart, CodecError> {
            Ok(TermStart { term: reader.u64("term")?, time_ms: reader.u64("time")? })
        };
        read().expect(OURS)
    }
}

fn read_change_id(reader: &mut Reader<'_>) -> Result<ChangeId, CodecError> {
    let main = reader.u64("main")?;
    let sub = u32::try_from(reader.u64("sub")?).map_err(|_| reader.error("sub"))?;
    Ok(ChangeId { main, sub })
}

/// The `c` row of a key.
pub(crate) fn current_row(key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + key.len());
    row.push(CURRENT);
    row.extend_from_slice(key);
    row
}

/// The `l` row of a lease.
pub(crate) fn lease_row(id: i64) -> [u8; 9] {
    numbered(LEASE, id as u64)
}

/// What all `k` rows of a lease begin with.
pub(crate) fn lease_keys(id: i64) -> [u8; 9] {
    numbered(LEASE_KEY, id as u64)
}

/// The `k` row of a key.
pub(crate) fn lease_key_row(id: i64, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(9 + KEY_BYTES_MAX.min(key.len()));
    row.extend_from_slice(&lease_keys(id));
    row.extend_from_slice(key);
    row
}

/// The `x` row of a lease.
pub(crate) fn lease_time_row(time_ms: u64, id: i64) -> [u8; 17] {
    let mut row = [LEASE_TIME; 17];
    row[1..9].copy_from_slice(&time_ms.to_be_bytes());
    row[9..].copy_from_slice(&(id as u64).to_be_bytes());
    row
}

/// Time and lease of an `x` row.
pub(crate) fn of_lease_time_row(row: &[u8]) -> (u64, i64) {
    let row: &[u8; 17] = row.try_into().expect(OURS);
    (number(&row[1..9]), number(&row[9..]) as i64)
}

/// A big-endian number of eight bytes.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect(OURS))
}

fn numbered(prefix: u8, number: u64) -> [u8; 9] {
    let mut row = [prefix; 9];
    row[1..].copy_from_slice(&number.to_be_bytes());
    row
}
