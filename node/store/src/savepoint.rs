//! What must be put back when part of a transaction is undone: rows, totals and meta.
//!
//! One level per savepoint, the lowest is the transaction itself. A level holds the old value of
//! what changed since it began, so that a savepoint nobody writes under costs nothing, and one with
//! a few small rows no more than their copies: SQLite's own savepoints copy whole pages, and there
//! are two savepoints for most commands. When the copies become too large, SQLite keeps what
//! changes from then on.

use crate::Meta;
use crate::digest::{AllTotals, Totals};
use crate::limits::UNDO_BYTES_MAX;

/// A row before it changed.
#[derive(Debug)]
pub(crate) struct Undo {
    pub(crate) machine: u32,
    pub(crate) key: Box<[u8]>,
    /// `None`: there was none.
    pub(crate) before: Option<Box<[u8]>>,
}

/// What was there when the level began, for what changed since.
#[derive(Debug, Default)]
pub(crate) struct Level {
    /// SQLite keeps what changes from now on, under a savepoint of its own; `rows` has what changed
    /// before.
    pub(crate) opened: bool,
    /// In the order of the changes.
    rows: Vec<Undo>,
    /// Of `rows`.
    bytes: usize,
    /// `None` inside: the keyspace had never been written to.
    totals: Vec<(u32, Option<Totals>)>,
    meta: Option<Meta>,
}

impl Level {
    /// The lowest level, of which SQLite keeps all from `BEGIN` on.
    pub(crate) fn transaction() -> Level {
        Level { opened: true, ..Level::default() }
    }

    /// Whether it is time that SQLite keeps what changes.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= UNDO_BYTES_MAX
    }

    /// A row is about to change; `before`: what it is, if there is one.
    pub(crate) fn keep_row(&mut self, machine: u32, key: &[u8], before: Option<&[u8]>) {
        if !self.opened {
            self.bytes += key.len() + before.map_or(0, <[u8]>::len);
            self.rows.push(Undo { machine, key: key.into(), before: before.map(Box::from) });
        }
    }

    /// The rows to put back, in this order.
    pub(crate) fn take_rows(&mut self) -> impl Iterator<Item = Undo> + use<> {
        std::mem::take(&mut self.rows).into_iter().rev()
    }

    pub(crate) fn keep_totals(&mut self, machine: u32, before: Option<Totals>) {
        if !self.totals.iter().any(|(kept, _)| *kept == machine) {
            self.totals.push((machine, before));
        }
    }

    pub(crate) fn keep_meta(&mut self, before: &Meta) {
        if self.meta.is_none() {
            self.meta = Some(before.clone());
        }
    }

    /// The level ended well: what it kept is kept by the one below, unless that knows better. A
    /// savepoint of SQLite is handed down, too, unless the one below has its own.
    pub(crate) fn merge_into(self, below: &mut Level) {
        if !below.opened {
            below.opened = self.opened;
            below.bytes += self.bytes;
            below.rows.extend(self.rows);
        }
        for (machine, before) in self.totals {
            below.keep_totals(machine, before);
        }
        below.meta = below.meta.take().or(self.meta);
    }

    /// The level is undone.
    pub(crate) fn restore(self, totals: &mut AllTotals, meta: &mut Meta) {
        for (machine, before) in self.totals {
            match before {
                Some(before) => totals.insert(machine, before),
                None => totals.remove(&machine),
            };
        }
        if let Some(before) = self.meta {
            *meta = before;
        }
    }
}
