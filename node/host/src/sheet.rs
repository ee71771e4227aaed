//! A machine's rows in memory: a persistent map, so that any number of states of a machine can be
//! kept, and share what is equal. Digest and size are those that state.db would have.
//!
//! Not here: what a call may do (`call.rs`), and durability.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use pgraft_store::{Fault, Page, ReadTables, RowHasher, Totals};

use crate::tables::WriteTables;

type Rows = OrdMap<Arc<[u8]>, Arc<[u8]>>;

/// The rows of one machine. Cloning takes constant time.
#[derive(Clone, Default)]
pub(crate) struct Sheet {
    rows: Rows,
    totals: Totals,
    /// What was there when each savepoint began, the innermost last.
    saved: Vec<(Rows, Totals)>,
}

impl Sheet {
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The rows in order of their keys.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.rows.iter().map(|(key, value)| (&key[..], &value[..]))
    }

    fn range(
        &self,
        start: &[u8],
        end: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&Arc<[u8]>, &Arc<[u8]>)> {
        // A range that ends before it begins holds nothing; the map would panic.
        let end = match end {
            [] => Bound::Unbounded,
            end => Bound::Excluded(end.max(start)),
        };
        let begins = match end {
            Bound::Excluded(end) if end == start => Bound::Excluded(start),
            _ => Bound::Included(start),
        };
        self.rows.range::<_, [u8]>((begins, end))
    }
}

impl fmt::Debug for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { rows, bytes, digest } = self.totals;
        write!(f, "{rows} rows of {bytes} B, digest {digest:032x}")
    }
}

impl ReadTables for Sheet {
    fn get(&self, _: u32, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.rows.get(key).map(|value| value.to_vec()))
    }

    fn size_of(&self, _: u32, key: &[u8]) -> Result<Option<u32>, Fault> {
        let size = |value: &Arc<[u8]>| u32::try_from(value.len()).expect("limits are below 4 GiB");
        Ok(self.rows.get(key).map(size))
    }

    fn scan(
        &self,
        _: u32,
        start: &[u8],
        end: &[u8],
        limit: u32,
        max_bytes: u32,
        reverse: bool,
        keys_only: bool,
    ) -> Result<Page, Fault> {
        let mut page = Page::default();
        let mut add = |(key, value): (&Arc<[u8]>, &Arc<[u8]>)| {
            page.add(key, if keys_only { &[] } else { value }, limit, max_bytes)
        };
        let mut rows = self.range(start, end);
        if reverse {
            while rows.next_back().is_some_and(&mut add) {}
        } else {
            while rows.next().is_some_and(&mut add) {}
        }
        Ok(page)
    }

    fn count(&self, _: u32, start: &[u8], end: &[u8], limit: u32) -> Result<u32, Fault> {
        let rows = self.range(start, end).take(limit as usize).count();
        Ok(u32::try_from(rows).expect("no more than the limit"))
    }
}

impl WriteTables for Sheet {
    fn put(&mut self, machine: u32, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let mut hasher = RowHasher::default();
        if let Some(old) = self.rows.insert(key.into(), value.into()) {
            self.totals.remove(hasher.share(machine, key, &old));
        }
        self.totals.add(hasher.share(machine, key, value));
        Ok(())
    }

    fn delete(&mut self, machine: u32, key: &[u8]) -> Result<bool, Fault> {
        let Some(old) = self.rows.remove(key) else { return Ok(false) };
        self.totals.remove(RowHasher::default().share(machine, key, &old));
        Ok(true)
    }

    fn delete_range(&mut self, machine: u32, start: &[u8], end: &[u8]) -> Result<u64, Fault> {
        let gone: Vec<Arc<[u8]>> = self.range(start, end).map(|(key, _)| Arc::clone(key)).collect();
        for key in &gone {
            assert!(self.delete(machine, key)?, "the range was read a moment ago");
        }
        Ok(gone.len() as u64)
    }

    fn size(&self, _: u32) -> u64 {
        self.totals.bytes
    }

    fn savepoint(&mut self) -> Result<(), Fault> {
        self.saved.push((self.rows.clone(), self.totals));
        Ok(())
    }

    fn release(&mut self) -> Result<(), Fault> {
        self.saved.pop().expect("a savepoint is open");
        Ok(())
    }

    fn rollback_to(&mut self) -> Result<(), Fault> {
        #[cfg(test)]
        if crate::tests::planted(crate::tests::Plant::SheetKeepsWhatIsUndone) {
            return self.release();
        }
        (self.rows, self.totals) = self.saved.pop().expect("a savepoint is open");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
