//! The host's own rows: keyspace 0 of state.db, in the transaction of the entry like all others.
//!
//! | key | row |
//! |---|---|
//! | `m` name | a machine: `registry.rs` |
//! | `c` machine u32 | its chain hash: `registry.rs` |
//! | `e` machine u32 | the id of its next effect: `registry.rs` |
//! | `o` machine u32, id u64 | an effect to be performed: `outbox.rs` |
//! | `w` machine u32 | when it wants to be woken: `wake.rs` |
//! | `s` session u64 | a session and its replies: `sessions.rs` |
//! | `d` slot u64 | digests at an index: `digest.rs` |
//!
//! Numbers in keys are big endian, so that rows are in order; in values little endian.

use pgraft_store::{ReadTables, StateStore};

use crate::fault::Fault;
use crate::fields::{Malformed, Reader};
use crate::limits::{HOST, PAGE_BYTES_MAX, PAGE_ROWS_MAX};

pub(crate) const MACHINE: u8 = b'm';
pub(crate) const CHAIN: u8 = b'c';
pub(crate) const NEXT_EFFECT: u8 = b'e';
pub(crate) const EFFECT: u8 = b'o';
pub(crate) const WAKE: u8 = b'w';
pub(crate) const SESSION: u8 = b's';
pub(crate) const DIGESTS: u8 = b'd';

/// A row's key after its kind, and its value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// The key of a row: its kind, then `parts`.
pub(crate) fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(kind);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// All rows of a kind, in order.
pub(crate) fn all(state: &StateStore, kind: u8) -> Result<Vec<Row>, Fault> {
    let (mut start, end) = (vec![kind], [kind + 1]);
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let (limit, bytes) = (PAGE_ROWS_MAX, PAGE_BYTES_MAX);
        let page = state.scan(HOST, &start, &end, limit, bytes, false, false)?;
        let mut fields = Reader(&page.rows);
        for _ in 0..page.count {
            rows.push(row(&mut fields).map_err(|Malformed| Fault::Row("page"))?);
        }
        match rows.last() {
            Some((last, _)) if page.more => start = key(kind, &[last, &[0]]),
            _ => return Ok(rows),
        }
    }
}

fn row(fields: &mut Reader<'_>) -> Result<Row, Malformed> {
    let (key_bytes, value_bytes) = (fields.u32()? as usize, fields.u32()? as usize);
    let (_, key) = fields.raw(key_bytes)?.split_first().ok_or(Malformed)?;
    Ok((key.to_vec(), fields.raw(value_bytes)?.to_vec()))
}

/// A machine id in a key.
pub(crate) fn machine_of(key: &[u8]) -> Result<u32, Fault> {
    let bytes = key.try_into().map_err(|_| Fault::Row("machine id in a key"))?;
    Ok(u32::from_be_bytes(bytes))
}
