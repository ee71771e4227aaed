//! The last events of a machine, kept in the transaction that published them, so that who comes
//! late reads on from where it was.
//!
//! A keyspace beside the machine's own: number u64 big endian; the value: index u64, topic and
//! payload with their lengths.

use pgraft_store::{ReadTables, StateStore};

use crate::apply::Event;
use crate::fault::Fault;
use crate::fields::{Malformed, Reader, Writer};
use crate::limits::PAGE_BYTES_MAX;
use crate::rows;

/// Distance of these keyspaces from the machines' own.
const KEYSPACE: u32 = 1 << 30;

/// Where a machine's events are.
pub(crate) fn keyspace(machine: u32) -> u32 {
    machine | KEYSPACE
}

/// An event that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEvent {
    /// Its number among the machine's events, from 0.
    pub number: u64,
    /// The entry that published it.
    pub index: u64,
    /// What watchers match by prefix.
    pub topic: Vec<u8>,
    /// The rest.
    pub payload: Vec<u8>,
}

/// Keeps events numbered from `first` on, and no more than `kept` in all.
///
/// # Errors
/// When the disk fails.
pub(crate) fn keep(
    state: &mut StateStore,
    machine: u32,
    (first, kept): (u64, u64),
    index: u64,
    events: &[Event],
) -> Result<(), Fault> {
    let next = first + events.len() as u64;
    let oldest = next.saturating_sub(kept);
    for (event, number) in events.iter().zip(first..).filter(|(_, number)| *number >= oldest) {
        let mut row = Writer::default();
        row.u64(index);
        row.bytes(&event.topic);
        row.bytes(&event.payload);
        state.put(keyspace(machine), &number.to_be_bytes(), &row.0)?;
    }
    trim(state, machine, oldest)
}

/// Forgets the events before number `oldest`.
///
/// # Errors
/// When the disk fails.
pub(crate) fn trim(state: &mut StateStore, machine: u32, oldest: u64) -> Result<(), Fault> {
    if oldest > 0 {
        state.delete_range(keyspace(machine), &[], &oldest.to_be_bytes())?;
    }
    Ok(())
}

/// At most `limit` kept events from number `since` on, oldest first.
///
/// # Errors
/// When the disk fails, or the rows are malformed.
pub(crate) fn list(
    state: &dyn ReadTables,
    machine: u32,
    since: u64,
    limit: u32,
) -> Result<Vec<KeptEvent>, Fault> {
    let start = since.to_be_bytes();
    let page =
        state.scan(keyspace(machine), &start, &[], limit, PAGE_BYTES_MAX / 2, false, false)?;
    rows::of_page(&page)?.into_iter().map(|(key, row)| decode(&key, &row)).collect()
}

fn decode(key: &[u8], row: &[u8]) -> Result<KeptEvent, Fault> {
    let read = || -> Result<KeptEvent, Malformed> {
        let number = u64::from_be_bytes(key.try_into().map_err(|_| Malformed)?);
        let mut fields = Reader(row);
        let index = fields.u64()?;
        let (topic, payload) = (fields.bytes()?.to_vec(), fields.bytes()?.to_vec());
        fields.end()?;
        Ok(KeptEvent { number, index, topic, payload })
    };
    read().map_err(|Malformed| Fault::Row("event"))
}
