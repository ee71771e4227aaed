//! The kept copy of a machine's rows: what each row was before it changed for the first time.
//!
//! While a migration is under way, or when an upgrade was asked to keep a copy, every write sets
//! the old row aside first, in a keyspace beside the machine's own. So keeping a copy costs nothing
//! at the moment of the upgrade, however many rows there are, and one row more for each that
//! changes later. Going back puts back what was set aside.
//!
//! A row here: the machine's key; the value: 1 and the old value, or 0 when there was no such row.

use pgraft_store::{ReadTables, StateStore};

use crate::fault::Fault;
use crate::limits::PAGE_BYTES_MAX;
use crate::rows::Paged;
use crate::tables::WriteTables;

/// Distance of these keyspaces from the machines' own.
const KEYSPACE: u32 = 1 << 31;
/// Rows that are read at once.
const PAGE_ROWS: u32 = 1_000;

/// Where what a machine had is set aside.
pub(crate) fn keyspace(machine: u32) -> u32 {
    machine | KEYSPACE
}

/// Sets a row aside that is about to change, unless it is already.
pub(crate) fn set_aside(
    tables: &mut dyn WriteTables,
    machine: u32,
    key: &[u8],
) -> Result<(), pgraft_store::Fault> {
    if tables.get(keyspace(machine), key)?.is_some() {
        return Ok(());
    }
    let row = match tables.get(machine, key)? {
        Some(old) => [&[1], &old[..]].concat(),
        None => vec![0],
    };
    tables.put(keyspace(machine), key, &row)
}

/// Sets aside what a deletion of `[start, end)` is about to take.
pub(crate) fn set_range_aside(
    tables: &mut dyn WriteTables,
    machine: u32,
    start: &[u8],
    end: &[u8],
) -> Result<(), pgraft_store::Fault> {
    let mut pages = Paged::new(start, end);
    while let Some(page) = pages.next(|start, end| {
        tables.scan(machine, start, end, PAGE_ROWS, PAGE_BYTES_MAX, false, true)
    })? {
        for (key, _) in page {
            set_aside(tables, machine, &key)?;
        }
    }
    Ok(())
}

/// Puts back what was set aside; the copy is gone then.
///
/// # Errors
/// When the disk fails, or the rows are malformed.
pub(crate) fn restore(state: &mut StateStore, machine: u32) -> Result<(), Fault> {
    let mut pages = Paged::new(&[], &[]);
    while let Some(page) = pages.next(|start, end| {
        state.scan(keyspace(machine), start, end, PAGE_ROWS, PAGE_BYTES_MAX, false, false)
    })? {
        for (key, row) in page {
            match row.split_first() {
                Some((1, old)) => state.put(machine, &key, old)?,
                Some((0, [])) => drop(state.delete(machine, &key)?),
                _ => return Err(Fault::Row("copy")),
            }
        }
    }
    forget(state, machine)
}

/// Forgets what was set aside.
///
/// # Errors
/// When the disk fails.
pub(crate) fn forget(state: &mut StateStore, machine: u32) -> Result<(), Fault> {
    state.delete_range(keyspace(machine), &[], &[])?;
    Ok(())
}
