//! The incremental digest of a keyspace: a wrapping sum of row digests, so it does not depend on
//! the order of writes and a row can be taken out again.
//!
//! It finds divergence and bit flips. It is no defence against somebody who chooses rows.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_128;

use crate::decode::{Fields, Malformed};
use crate::limits::MACHINES_MAX;

/// What the rows of one keyspace add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Totals {
    /// Number of rows.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Wrapping sum of the rows' digests.
    pub digest: u128,
}

/// Totals of all keyspaces that were ever written to; an empty one stays with zeros.
pub type AllTotals = BTreeMap<u32, Totals>;

/// One row's share of the totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowShare {
    bytes: u64,
    digest: u128,
}

/// Computes row digests in a buffer that is used again.
#[derive(Debug, Default)]
pub struct RowHasher {
    buffer: Vec<u8>,
}

impl RowHasher {
    /// xxh3-128 over machine u32 LE, key length u32 LE, key, value.
    ///
    /// # Panics
    /// When the key is longer than 4 GiB.
    pub fn share(&mut self, machine: u32, key: &[u8], value: &[u8]) -> RowShare {
        let key_length = u32::try_from(key.len()).expect("KEY_BYTES_MAX fits u32");
        self.buffer.clear();
        self.buffer.extend_from_slice(&machine.to_le_bytes());
        self.buffer.extend_from_slice(&key_length.to_le_bytes());
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(value);
        let share =
            RowShare { bytes: (key.len() + value.len()) as u64, digest: xxh3_128(&self.buffer) };
        // One large value must not keep its memory for the life of the store.
        self.buffer.shrink_to(64 << 10);
        share
    }
}

impl Totals {
    /// Counts a row in.
    pub fn add(&mut self, row: RowShare) {
        self.rows += 1;
        self.bytes += row.bytes;
        self.digest = self.digest.wrapping_add(row.digest);
    }

    /// Takes a row out.
    ///
    /// # Panics
    /// If more is taken out than is in there: then the totals never were those of the rows.
    pub fn remove(&mut self, row: RowShare) {
        self.rows = self.rows.checked_sub(1).expect("a removed row was counted");
        self.bytes = self.bytes.checked_sub(row.bytes).expect("a removed row's bytes were counted");
        self.digest = self.digest.wrapping_sub(row.digest);
    }
}

/// count u32, then per machine: machine u32, rows u64, bytes u64, digest u128.
pub(crate) fn encode_totals(totals: &AllTotals, out: &mut Vec<u8>) {
    assert!(totals.len() <= MACHINES_MAX, "{} keyspaces", totals.len());
    out.extend_from_slice(&(totals.len() as u32).to_le_bytes());
    for (machine, total) in totals {
        out.extend_from_slice(&machine.to_le_bytes());
        out.extend_from_slice(&total.rows.to_le_bytes());
        out.extend_from_slice(&total.bytes.to_le_bytes());
        out.extend_from_slice(&total.digest.to_le_bytes());
    }
}

pub(crate) fn decode_totals(fields: &mut Fields<'_>) -> Result<AllTotals, Malformed> {
    let mut totals = AllTotals::new();
    for _ in 0..fields.count(MACHINES_MAX)? {
        let machine = fields.u32()?;
        if totals.last_key_value().is_some_and(|(last, _)| *last >= machine) {
            return Err(fields.bad("keyspaces out of order"));
        }
        let (rows, bytes, digest) = (fields.u64()?, fields.u64()?, fields.u128()?);
        totals.insert(machine, Totals { rows, bytes, digest });
    }
    Ok(totals)
}
