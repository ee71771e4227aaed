//! Typed rows: a table of values under keys, and a value of its own.
//!
//! A row's key begins with the number of its table; then come the key's bytes ([`super::Key`]). Its
//! value is postcard. A row that does not decode means that another type was written under the
//! same number: the call ends then, on every replica.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::form::from_postcard;
use super::{Key, KeyOf};
use crate::keyspace::Scan;
use crate::{prefix_end, storage, successor};

/// Values under keys, in the order of the keys.
pub struct Table<K, V> {
    number: u8,
    types: PhantomData<fn(K) -> V>,
}

/// One value.
pub struct Item<V> {
    number: u8,
    types: PhantomData<fn() -> V>,
}

impl<K: Key, V: Serialize + DeserializeOwned> Table<K, V> {
    /// The table of this number. No two tables or items of a machine may have the same.
    pub const fn new(number: u8) -> Table<K, V> {
        Table { number, types: PhantomData }
    }

    /// The value of a key.
    pub fn get(&self, key: impl KeyOf<K>) -> Option<V> {
        storage::get(&self.row(key)).map(|value| read_value(self.number, &value))
    }

    /// Whether there is a row; its value is not copied.
    pub fn has(&self, key: impl KeyOf<K>) -> bool {
        storage::size_of(&self.row(key)).is_some()
    }

    /// Writes a row, in place of the one that is there.
    pub fn put(&self, key: impl KeyOf<K>, value: &V) {
        storage::put(&self.row(key), &write_value(value));
    }

    /// Deletes a row; true when it was there.
    pub fn delete(&self, key: impl KeyOf<K>) -> bool {
        storage::delete(&self.row(key))
    }

    /// Takes a row out.
    pub fn take(&self, key: impl KeyOf<K>) -> Option<V> {
        let row = self.row(key);
        let value = storage::get(&row)?;
        storage::delete(&row);
        Some(read_value(self.number, &value))
    }

    /// All rows, in the order of the keys; `.rev()` turns it.
    pub fn iter(&self) -> Entries<K, V> {
        self.range(..)
    }

    /// The rows whose keys are in `range`.
    pub fn range(&self, range: impl RangeBounds<K>) -> Entries<K, V> {
        let (start, end) = self.bounds(range);
        Entries { number: self.number, scan: Scan::sparing(&start, &end), types: PhantomData }
    }

    /// The keys in `range`; the values are not copied.
    pub fn keys(&self, range: impl RangeBounds<K>) -> Keys<K> {
        let (start, end) = self.bounds(range);
        let scan = Scan::sparing(&start, &end).keys_only();
        Keys { number: self.number, scan, types: PhantomData }
    }

    /// The row with the least key.
    pub fn first(&self) -> Option<(K, V)> {
        self.iter().next()
    }

    /// The row with the greatest key.
    pub fn last(&self) -> Option<(K, V)> {
        self.iter().rev().next()
    }

    /// How many keys are in `range`, counted no further than `limit`.
    pub fn count(&self, range: impl RangeBounds<K>, limit: u32) -> u32 {
        let (start, end) = self.bounds(range);
        storage::count(&start, &end, limit)
    }

    /// Deletes the rows whose keys are in `range`, and returns how many there were.
    pub fn delete_range(&self, range: impl RangeBounds<K>) -> u64 {
        let (start, end) = self.bounds(range);
        storage::delete_range(&start, &end)
    }

    fn row(&self, key: impl KeyOf<K>) -> Vec<u8> {
        let mut row = vec![self.number];
        key.write_key(&mut row);
        row
    }

    fn bounds(&self, range: impl RangeBounds<K>) -> (Vec<u8>, Vec<u8>) {
        let start = match range.start_bound() {
            Bound::Included(key) => self.row(key),
            Bound::Excluded(key) => successor(&self.row(key)),
            Bound::Unbounded => vec![self.number],
        };
        let end = match range.end_bound() {
            Bound::Included(key) => successor(&self.row(key)),
            Bound::Excluded(key) => self.row(key),
            Bound::Unbounded => prefix_end(&[self.number]),
        };
        (start, end)
    }
}

/// Tables of pairs: the rows of one first half.
impl<A: Key, B: Key, V: Serialize + DeserializeOwned> Table<(A, B), V> {
    /// The rows whose key begins with `first`.
    pub fn within(&self, first: impl KeyOf<A>) -> Entries<(A, B), V> {
        let mut start = vec![self.number];
        first.write_key(&mut start);
        let scan = Scan::sparing(&start, &prefix_end(&start));
        Entries { number: self.number, scan, types: PhantomData }
    }
}

/// Rows of a [`Table`], fetched page by page: small pages first, because most loops are short.
///
/// Rows written behind the iterator's page are seen, rows within it are not: collect first when
/// the loop writes into the range it walks.
pub struct Entries<K, V> {
    number: u8,
    scan: Scan,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Entries<K, V> {
    /// From the greatest key to the least.
    ///
    /// # Panics
    /// When rows were taken already.
    #[must_use]
    pub fn rev(self) -> Entries<K, V> {
        Entries { scan: self.scan.turned(), ..self }
    }
}

impl<K: Key, V: DeserializeOwned> Iterator for Entries<K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        let (key, value) = self.scan.next()?;
        Some((read_key(self.number, &key), read_value(self.number, &value)))
    }
}

/// Keys of a [`Table`]: as [`Entries`], without the values.
pub struct Keys<K> {
    number: u8,
    scan: Scan,
    types: PhantomData<fn() -> K>,
}

impl<K> Keys<K> {
    /// From the greatest key to the least.
    ///
    /// # Panics
    /// When keys were taken already.
    #[must_use]
    pub fn rev(self) -> Keys<K> {
        Keys { scan: self.scan.turned(), ..self }
    }
}

impl<K: Key> Iterator for Keys<K> {
    type Item = K;

    fn next(&mut self) -> Option<K> {
        let (key, _) = self.scan.next()?;
        Some(read_key(self.number, &key))
    }
}

impl<V: Serialize + DeserializeOwned> Item<V> {
    /// The item of this number. No two tables or items of a machine may have the same.
    pub const fn new(number: u8) -> Item<V> {
        Item { number, types: PhantomData }
    }

    /// The value, if there is one.
    pub fn get(&self) -> Option<V> {
        storage::get(&[self.number]).map(|value| read_value(self.number, &value))
    }

    /// Writes the value.
    pub fn put(&self, value: &V) {
        storage::put(&[self.number], &write_value(value));
    }

    /// Deletes the value; true when there was one.
    pub fn delete(&self) -> bool {
        storage::delete(&[self.number])
    }
}

fn write_value<V: Serialize>(value: &V) -> Vec<u8> {
    postcard::to_allocvec(value).expect("the value's type has a compact form")
}

fn read_value<V: DeserializeOwned>(number: u8, bytes: &[u8]) -> V {
    from_postcard(bytes)
        .unwrap_or_else(|why| panic!("a value under number {number} is of another type: {why}"))
}

fn read_key<K: Key>(number: u8, row: &[u8]) -> K {
    let mut rest = &row[1..];
    let key = K::read_key(&mut rest).filter(|_| rest.is_empty());
    key.unwrap_or_else(|| panic!("a key under number {number} is of another type: {row:02x?}"))
}
