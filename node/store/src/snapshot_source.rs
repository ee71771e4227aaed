//! Streams a state to a peer from a read transaction; the writer goes on meanwhile.
//!
//! How long a source may live is the caller's limit: while it does, the WAL cannot start over.

use bytes::Bytes;
use pgraft_replica::SnapshotMeta;

use crate::chunk::{BODY_BYTES_MAX, ChunkKind, encode_chunk, encode_header, encode_trailer};
use crate::digest::AllTotals;
use crate::fault::Doing;
use crate::{Disk, Fault, Meta, OpenError, StateReader};

const FIRST: &str = "SELECT machine,k,v FROM kv ORDER BY machine,k";
const AFTER: &str = "SELECT machine,k,v FROM kv WHERE (machine,k)>(?1,?2) ORDER BY machine,k";

/// A pinned state on its way out. Send.
#[derive(Debug)]
pub struct SnapshotSource {
    reader: StateReader,
    meta: Meta,
    totals: AllTotals,
    stage: Stage,
    /// Number of the next chunk.
    number: u64,
    /// The last row that is in `pending` or sent.
    last: Option<(u32, Vec<u8>)>,
    pending: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Rows,
    /// All rows are in `pending` or sent.
    Rest,
    Done,
}

impl SnapshotSource {
    /// Pins what is committed in the state of a generation.
    ///
    /// # Errors
    /// As [`StateReader::open`].
    pub fn open(disk: &Disk, generation: u64) -> Result<SnapshotSource, OpenError> {
        let mut reader = StateReader::open(disk, generation)?;
        let (meta, totals) = reader.begin_with_totals()?;
        let (last, pending) = (None, Vec::new());
        Ok(SnapshotSource { reader, meta, totals, stage: Stage::Header, number: 0, last, pending })
    }

    /// What the snapshot stands for.
    pub fn meta(&self) -> SnapshotMeta {
        self.meta.snapshot()
    }

    /// The next chunk, at most [`crate::limits::CHUNK_BYTES_MAX`] bytes; `None` after the last.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.stage == Stage::Rows && self.pending.len() < BODY_BYTES_MAX {
            self.read_rows()?;
        }
        let (kind, body) = match self.stage {
            Stage::Header => {
                self.stage = Stage::Rows;
                (ChunkKind::Header, encode_header(&self.meta))
            }
            Stage::Rows | Stage::Rest if !self.pending.is_empty() => {
                let rest = self.pending.split_off(self.pending.len().min(BODY_BYTES_MAX));
                (ChunkKind::Rows, std::mem::replace(&mut self.pending, rest))
            }
            Stage::Rows | Stage::Rest => {
                self.stage = Stage::Done;
                self.reader.end()?;
                (ChunkKind::Trailer, encode_trailer(&self.totals))
            }
            Stage::Done => return Ok(None),
        };
        let chunk = encode_chunk(kind, self.number, &body);
        self.number += 1;
        Ok(Some(chunk))
    }

    /// Fills `pending` with at least one chunk's worth of rows, or with all that are left.
    fn read_rows(&mut self) -> Result<(), Fault> {
        let tables = self.reader.tables();
        let (pending, last) = (&mut self.pending, &mut self.last);
        let mut read = || -> rusqlite::Result<bool> {
            let sql = if last.is_some() { AFTER } else { FIRST };
            let mut statement = tables.connection.prepare_cached(sql)?;
            let mut rows = match last.as_ref() {
                Some((machine, key)) => statement.query((machine, key))?,
                None => statement.query([])?,
            };
            while let Some(row) = rows.next()? {
                let machine: u32 = row.get(0)?;
                let (key, value) = (row.get_ref(1)?.as_blob()?, row.get_ref(2)?.as_blob()?);
                pending.extend_from_slice(&machine.to_le_bytes());
                for part in [key, value] {
                    let length = u32::try_from(part.len()).expect("VALUE_BYTES_MAX fits u32");
                    pending.extend_from_slice(&length.to_le_bytes());
                }
                pending.extend_from_slice(key);
                pending.extend_from_slice(value);
                if pending.len() >= BODY_BYTES_MAX {
                    *last = Some((machine, key.to_vec()));
                    return Ok(false);
                }
            }
            Ok(true)
        };
        if read().doing("read rows for a snapshot", tables.path)? {
            self.stage = Stage::Rest;
        }
        Ok(())
    }
}
