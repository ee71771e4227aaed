//! The tables a call works on: those of a node on disk, or a sheet in memory.

use pgraft_store::{Fault, ReadTables, StateReader, StateStore};

use crate::overlay::Overlay;
use crate::rejection::HostCode;
use crate::sheet::Sheet;

/// Changes the keyspaces of machines, inside a transaction. Savepoints nest.
pub(crate) trait WriteTables: ReadTables {
    fn put(&mut self, machine: u32, key: &[u8], value: &[u8]) -> Result<(), Fault>;
    fn delete(&mut self, machine: u32, key: &[u8]) -> Result<bool, Fault>;
    fn delete_range(&mut self, machine: u32, start: &[u8], end: &[u8]) -> Result<u64, Fault>;
    fn size(&self, machine: u32) -> u64;
    fn savepoint(&mut self) -> Result<(), Fault>;
    fn release(&mut self) -> Result<(), Fault>;
    fn rollback_to(&mut self) -> Result<(), Fault>;
}

impl WriteTables for StateStore {
    fn put(&mut self, machine: u32, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        StateStore::put(self, machine, key, value)
    }

    fn delete(&mut self, machine: u32, key: &[u8]) -> Result<bool, Fault> {
        StateStore::delete(self, machine, key)
    }

    fn delete_range(&mut self, machine: u32, start: &[u8], end: &[u8]) -> Result<u64, Fault> {
        StateStore::delete_range(self, machine, start, end)
    }

    fn size(&self, machine: u32) -> u64 {
        StateStore::size(self, machine)
    }

    fn savepoint(&mut self) -> Result<(), Fault> {
        StateStore::savepoint(self)
    }

    fn release(&mut self) -> Result<(), Fault> {
        StateStore::release(self)
    }

    fn rollback_to(&mut self) -> Result<(), Fault> {
        StateStore::rollback_to(self)
    }
}

/// The tables a call works on.
#[derive(Debug)]
pub(crate) enum Tables {
    /// The writer, in the transaction of the batch.
    Writer(StateStore),
    /// A pinned snapshot: query and check.
    Reader(StateReader),
    /// A specification's rows, to be changed.
    Sheet(Sheet),
    /// A specification's rows, to be read.
    Copy(Sheet),
    /// A snapshot with changes in memory: rehearsals.
    Scratch(Overlay),
    /// None: describe.
    Nothing,
}

impl Tables {
    /// The tables as a call may read them; otherwise why it may not.
    pub(crate) fn reader(&self) -> Result<&dyn ReadTables, HostCode> {
        match self {
            Tables::Writer(store) => Ok(store),
            Tables::Reader(reader) => Ok(reader),
            Tables::Scratch(overlay) => Ok(overlay),
            Tables::Sheet(sheet) | Tables::Copy(sheet) => Ok(sheet),
            Tables::Nothing => Err(HostCode::BadInterface),
        }
    }

    /// The tables as a call may change them; otherwise why it may not.
    pub(crate) fn writer(&mut self) -> Result<&mut dyn WriteTables, HostCode> {
        match self {
            Tables::Writer(store) => Ok(store),
            Tables::Sheet(sheet) => Ok(sheet),
            Tables::Scratch(overlay) => Ok(overlay),
            Tables::Reader(_) | Tables::Copy(_) => Err(HostCode::ReadOnly),
            Tables::Nothing => Err(HostCode::BadInterface),
        }
    }
}
