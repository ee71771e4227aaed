//! The host's own rows: keyspace 0 of state.db, in the transaction of the entry like all others.
//!
//! | key | row |
//! |---|---|
//! | `m` name | a machine: `registration.rs` |
//! | `c` machine u32 | its books: chain hash, share, number of events: `registry.rs` |
//! | `e` machine u32 | the id of its next effect: `registry.rs` |
//! | `o` machine u32, id u64 | an effect to be performed: `outbox.rs` |
//! | `w` machine u32 | when it wants to be woken: `wake.rs` |
//! | `s` session u64 | a session and its replies: `sessions.rs` |
//! | `d` slot u64 | digests at an index: `digest.rs` |
//! | `B` sha256, `b` sha256 offset u64 | a module's bytes: `blobs.rs` |
//!
//! Beside its rows a machine has two more keyspaces: what was set aside of them (`copy.rs`) and its
//! last events (`kept_events.rs`).
//!
//! Numbers in keys are big endian, so that rows are in order; in values little endian.

use pgraft_store::{Page, ReadTables};

use crate::fault::Fault;
use crate::fields::{Malformed, Reader};
use crate::limits::{HOST, PAGE_BYTES_MAX, PAGE_ROWS_MAX};

pub(crate) const MACHINE: u8 = b'm';
pub(crate) const BOOKS: u8 = b'c';
pub(crate) const NEXT_EFFECT: u8 = b'e';
pub(crate) const EFFECT: u8 = b'o';
pub(crate) const WAKE: u8 = b'w';
pub(crate) const SESSION: u8 = b's';
pub(crate) const DIGESTS: u8 = b'd';
pub(crate) const BLOB: u8 = b'B';
pub(crate) const BLOB_PART: u8 = b'b';

/// A row's key and value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// The key of a row: its kind, then `parts`.
pub(crate) fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(kind);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// All rows of a kind, in order.
pub(crate) fn all(state: &impl ReadTables, kind: u8) -> Result<Vec<Row>, Fault> {
    let mut rows: Vec<Row> = Vec::new();
    let mut pages = Paged::new(&[kind], &[kind + 1]);
    while let Some(page) = pages.next(|start, end| {
        state.scan(HOST, start, end, PAGE_ROWS_MAX, PAGE_BYTES_MAX, false, false)
    })? {
        for (mut key, value) in page {
            if key.is_empty() {
                return Err(Fault::Row("page"));
            }
            rows.push((key.split_off(1), value));
        }
    }
    Ok(rows)
}

/// The pages of a range, one after the other. What is written to pages already read is not seen.
pub(crate) struct Paged {
    start: Vec<u8>,
    end: Vec<u8>,
    more: bool,
}

impl Paged {
    /// Of `[start, end)`.
    pub(crate) fn new(start: &[u8], end: &[u8]) -> Paged {
        Paged { start: start.to_vec(), end: end.to_vec(), more: true }
    }

    /// The rows of the next page; `scan` reads one.
    pub(crate) fn next(
        &mut self,
        scan: impl FnOnce(&[u8], &[u8]) -> Result<Page, pgraft_store::Fault>,
    ) -> Result<Option<Vec<Row>>, pgraft_store::Fault> {
        if !self.more {
            return Ok(None);
        }
        let page = scan(&self.start, &self.end)?;
        let rows = of_page(&page).expect("the store packs its pages");
        match rows.last() {
            Some((last, _)) => self.start = [last, &[0][..]].concat(),
            None => return Ok(None),
        }
        self.more = page.more;
        Ok(Some(rows))
    }
}

/// The rows of a page.
pub(crate) fn of_page(page: &Page) -> Result<Vec<Row>, Fault> {
    let mut fields = Reader(&page.rows);
    let mut row = || -> Result<Row, Malformed> {
        let (key_bytes, value_bytes) = (fields.u32()? as usize, fields.u32()? as usize);
        Ok((fields.raw(key_bytes)?.to_vec(), fields.raw(value_bytes)?.to_vec()))
    };
    let rows = (0..page.count).map(|_| row()).collect::<Result<_, _>>();
    rows.map_err(|Malformed| Fault::Row("page"))
}

/// A machine id in a key.
pub(crate) fn machine_of(key: &[u8]) -> Result<u32, Fault> {
    let bytes = key.try_into().map_err(|_| Fault::Row("machine id in a key"))?;
    Ok(u32::from_be_bytes(bytes))
}
