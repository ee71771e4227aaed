//! Walking the ordered keyspace: pages as an iterator, and the arithmetic of key ranges.

use crate::storage;

/// Rows asked for in one page. A page of this many small rows costs one crossing to the host.
const PAGE_ROWS_MAX: u32 = 1000;
/// Rows asked for in the first page of a scan that may be short.
#[cfg(feature = "typed")]
const FIRST_PAGE_ROWS: u32 = 8;
/// How many times as many rows the next page is asked for.
const PAGE_GROWTH: u32 = 5;
/// Bytes asked for in one page.
const PAGE_BYTES_MAX: u32 = 64 << 10;

/// The smallest key greater than `key`.
pub fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

/// The smallest key greater than all keys that begin with `prefix`; empty (which the host reads
/// as "no bound") when there is none, that is, when `prefix` is empty or all 0xff.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// The rows of one page, borrowed from its bytes.
///
/// # Panics
/// When the page is not laid out as the interface says. A host never gives such a page.
pub struct Rows<'a> {
    rest: &'a [u8],
}

impl<'a> Rows<'a> {
    /// The rows of `page`, in its order.
    pub fn new(page: &'a [u8]) -> Rows<'a> {
        Rows { rest: page }
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (key_length, rest) = length(self.rest);
        let (value_length, rest) = length(rest);
        let (key, rest) = rest.split_at(key_length);
        let (value, rest) = rest.split_at(value_length);
        self.rest = rest;
        Some((key, value))
    }
}

fn length(bytes: &[u8]) -> (usize, &[u8]) {
    let (length, rest) = bytes.split_first_chunk::<4>().expect("a page holds whole rows");
    (u32::from_le_bytes(*length) as usize, rest)
}

/// All rows of `[start, end)` in key order, fetched page by page; `end` empty = no bound.
///
/// Rows written behind the iterator's page are seen, rows within it are not: collect first
/// when the loop writes into the range it walks.
pub fn scan(start: &[u8], end: &[u8]) -> Scan {
    Scan::new(start, end, PAGE_ROWS_MAX)
}

/// As [`scan`], but the values are left out (empty), which saves copying them.
pub fn scan_keys(start: &[u8], end: &[u8]) -> Scan {
    scan(start, end).keys_only()
}

/// As [`scan`], from the greatest key to the least.
pub fn scan_back(start: &[u8], end: &[u8]) -> Scan {
    scan(start, end).turned()
}

/// The iterator behind [`scan`], [`scan_keys`] and [`scan_back`].
pub struct Scan {
    start: Vec<u8>,
    end: Vec<u8>,
    page_rows: u32,
    keys_only: bool,
    reverse: bool,
    page: Vec<u8>,
    at: usize,
    more: bool,
}

impl Scan {
    fn new(start: &[u8], end: &[u8], page_rows: u32) -> Scan {
        Scan {
            start: start.to_vec(),
            end: end.to_vec(),
            page_rows,
            keys_only: false,
            reverse: false,
            page: Vec::new(),
            at: 0,
            more: true,
        }
    }

    /// For loops of unknown length: the first page is small, each further one larger.
    #[cfg(feature = "typed")]
    pub(crate) fn sparing(start: &[u8], end: &[u8]) -> Scan {
        Scan::new(start, end, FIRST_PAGE_ROWS)
    }

    /// The same rows without their values.
    pub(crate) fn keys_only(self) -> Scan {
        Scan { keys_only: true, ..self }
    }

    /// The same rows in the other direction.
    ///
    /// # Panics
    /// When a page was fetched already.
    pub(crate) fn turned(self) -> Scan {
        assert!(self.more && self.page.is_empty(), "a scan is turned before its first row");
        Scan { reverse: !self.reverse, ..self }
    }

    /// Fetches the next page; false when there is none.
    fn turn(&mut self) -> bool {
        if !self.more {
            return false;
        }
        let page = storage::scan(
            &self.start,
            &self.end,
            self.page_rows,
            PAGE_BYTES_MAX,
            self.reverse,
            self.keys_only,
        );
        if let Some((last, _)) = Rows::new(&page.rows).last() {
            if self.reverse {
                self.end = last.to_vec();
            } else {
                self.start = successor(last);
            }
        }
        self.page_rows = (self.page_rows * PAGE_GROWTH).min(PAGE_ROWS_MAX);
        self.more = page.more;
        self.page = page.rows;
        self.at = 0;
        !self.page.is_empty()
    }
}

impl Iterator for Scan {
    type Item = (Vec<u8>, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.page.len() && !self.turn() {
            return None;
        }
        let mut rows = Rows::new(&self.page[self.at..]);
        let (key, value) = rows.next()?;
        self.at = self.page.len() - rows.rest.len();
        Some((key.to_vec(), value.to_vec()))
    }
}
