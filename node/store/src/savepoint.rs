//! What must be put back when part of a transaction is undone: totals and meta.
//!
//! One level per savepoint, the lowest is the transaction itself. A level holds the old value of
//! what changed first since it began, so that a savepoint nobody writes under costs nothing.

use crate::Meta;
use crate::digest::{AllTotals, Totals};

/// What was there when the level began, for what changed since.
#[derive(Debug, Default)]
pub(crate) struct Level {
    /// SQLite knows of this level; it is told at the first write.
    pub(crate) opened: bool,
    /// `None` inside: the keyspace had never been written to.
    totals: Vec<(u32, Option<Totals>)>,
    meta: Option<Meta>,
}

impl Level {
    /// The lowest level, which SQLite knows from `BEGIN` on.
    pub(crate) fn transaction() -> Level {
        Level { opened: true, ..Level::default() }
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

    /// The level ended well: what it kept is kept by the one below, unless that knows better.
    pub(crate) fn merge_into(self, below: &mut Level) {
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
