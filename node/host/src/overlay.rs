//! Scratch tables: a snapshot of state.db, and in memory what a rehearsal would change of it.
//!
//! Not here: what is rehearsed (`rehearsal.rs`).

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use pgraft_store::{Fault, Page, ReadTables, StateReader};

use crate::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::rows::{self, Row};
use crate::tables::WriteTables;

/// Keyspace and key; the new value, or `None` for a row that is gone.
type Changes = OrdMap<(u32, Vec<u8>), Option<Arc<[u8]>>>;

/// A snapshot with changes on top.
#[derive(Debug)]
pub(crate) struct Overlay {
    below: StateReader,
    changes: Changes,
    saved: Vec<Changes>,
    /// Rows written so far, each time it was.
    pub(crate) rows_written: u64,
    /// Their bytes.
    pub(crate) bytes_written: u64,
}

impl Overlay {
    /// Nothing is changed yet; `below` is pinned.
    pub(crate) fn new(below: StateReader) -> Overlay {
        let (changes, saved) = (Changes::new(), Vec::new());
        Overlay { below, changes, saved, rows_written: 0, bytes_written: 0 }
    }

    /// Gives the snapshot back, as it was.
    pub(crate) fn into_below(self) -> StateReader {
        self.below
    }

    /// The changes of `[start, end)`.
    fn changed(
        &self,
        machine: u32,
        start: &[u8],
        end: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Option<Arc<[u8]>>)> {
        let upper = match end {
            Bound::Excluded(end) => Bound::Excluded((machine, end.max(start).to_vec())),
            Bound::Included(end) => Bound::Included((machine, end.to_vec())),
            Bound::Unbounded => Bound::Excluded((machine + 1, Vec::new())),
        };
        let lower = Bound::Included((machine, start.to_vec()));
        self.changes.range((lower, upper)).map(|((_, key), value)| (key, value))
    }

    /// The rows of `[start, end)` in order, those below under those on top.
    fn merged(
        &self,
        machine: u32,
        below: Vec<Row>,
        start: &[u8],
        end: Bound<&[u8]>,
    ) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
        let mut rows: std::collections::BTreeMap<_, _> = below.into_iter().collect();
        for (key, value) in self.changed(machine, start, end) {
            match value {
                Some(value) => rows.insert(key.clone(), value.to_vec()),
                None => rows.remove(key),
            };
        }
        rows
    }

    /// One page of what is below, and which part of the range it covers.
    fn page_below(
        &self,
        machine: u32,
        start: &[u8],
        end: &[u8],
        reverse: bool,
    ) -> Result<(Vec<Row>, bool), Fault> {
        let (limit, bytes) = (PAGE_ROWS_MAX, PAGE_BYTES_MAX);
        let page = self.below.scan(machine, start, end, limit, bytes, reverse, false)?;
        Ok((rows::of_page(&page).expect("the store packs its pages"), page.more))
    }
}

impl ReadTables for Overlay {
    fn get(&self, machine: u32, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        match self.changes.get(&(machine, key.to_vec())) {
            Some(value) => Ok(value.as_ref().map(|value| value.to_vec())),
            None => self.below.get(machine, key),
        }
    }

    fn size_of(&self, machine: u32, key: &[u8]) -> Result<Option<u32>, Fault> {
        let size = |value: &Vec<u8>| u32::try_from(value.len()).expect("limits are below 4 GiB");
        Ok(self.get(machine, key)?.as_ref().map(size))
    }

    fn scan(
        &self,
        machine: u32,
        start: &[u8],
        end: &[u8],
        limit: u32,
        max_bytes: u32,
        reverse: bool,
        keys_only: bool,
    ) -> Result<Page, Fault> {
        let (mut page, mut start, mut end) = (Page::default(), start.to_vec(), end.to_vec());
        loop {
            let (below, more) = self.page_below(machine, &start, &end, reverse)?;
            let last = below.last().map(|(key, _)| key.clone()).filter(|_| more);
            // What the page below covers; the rest of the range comes with the next one.
            let (from, to) = match (&last, reverse) {
                (Some(last), false) => (&start[..], Bound::Included(&last[..])),
                (Some(last), true) => (&last[..], upper(&end)),
                (None, _) => (&start[..], upper(&end)),
            };
            let rows = self.merged(machine, below, from, to);
            let mut add = |(key, value): (&Vec<u8>, &Vec<u8>)| {
                page.add(key, if keys_only { &[] } else { value }, limit, max_bytes)
            };
            let went_on =
                if reverse { rows.iter().rev().all(&mut add) } else { rows.iter().all(&mut add) };
            match last {
                Some(last) if went_on && reverse => end = last,
                Some(last) if went_on => start = [&last[..], &[0]].concat(),
                _ => return Ok(page),
            }
        }
    }

    fn count(&self, machine: u32, start: &[u8], end: &[u8], limit: u32) -> Result<u32, Fault> {
        let page = self.scan(machine, start, end, limit, u32::MAX, false, true)?;
        Ok(page.count)
    }
}

fn upper(end: &[u8]) -> Bound<&[u8]> {
    if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) }
}

impl WriteTables for Overlay {
    fn put(&mut self, machine: u32, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.rows_written += 1;
        self.bytes_written += (key.len() + value.len()) as u64;
        self.changes.insert((machine, key.to_vec()), Some(value.into()));
        Ok(())
    }

    fn delete(&mut self, machine: u32, key: &[u8]) -> Result<bool, Fault> {
        let existed = self.get(machine, key)?.is_some();
        self.changes.insert((machine, key.to_vec()), None);
        Ok(existed)
    }

    fn delete_range(&mut self, machine: u32, start: &[u8], end: &[u8]) -> Result<u64, Fault> {
        let (mut start, mut gone) = (start.to_vec(), 0);
        loop {
            let page =
                self.scan(machine, &start, end, PAGE_ROWS_MAX, PAGE_BYTES_MAX, false, true)?;
            for (key, _) in rows::of_page(&page).expect("packed a moment ago") {
                self.changes.insert((machine, key.clone()), None);
                (start, gone) = ([&key[..], &[0]].concat(), gone + 1);
            }
            if !page.more {
                return Ok(gone);
            }
        }
    }

    /// What is written on top; the limit on all rows of a machine is the real run's affair.
    fn size(&self, _: u32) -> u64 {
        self.bytes_written
    }

    fn savepoint(&mut self) -> Result<(), Fault> {
        self.saved.push(self.changes.clone());
        Ok(())
    }

    fn release(&mut self) -> Result<(), Fault> {
        self.saved.pop().expect("a savepoint is open");
        Ok(())
    }

    fn rollback_to(&mut self) -> Result<(), Fault> {
        self.changes = self.saved.pop().expect("a savepoint is open");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
