//! The store during one entry: its revision, and how a change of a key is written.
//!
//! Not here: which requests are allowed and what they mean ([`crate::txn`], [`crate::range`],
//! [`crate::lease`]).

use pgraft_sdk::{Context, events, storage};

use crate::codec::encode_event;
use crate::limits::{
    KEY_BYTES_MAX, REQUEST_CHANGES_BYTES_MAX, REQUEST_CHANGES_MAX, VALUE_BYTES_MAX,
};
use crate::model::{EventKind, KeyValue};
use crate::rejection::Rejection;
use crate::rows::{
    CHANGE, COMPACTION, Change, ChangeId, Compaction, Current, current_row, lease_key_row,
};

/// The revision of an empty store, as in etcd.
const FIRST_REVISION: u64 = 1;

/// The store as one entry, or one query, sees it.
pub(crate) struct Store<'c> {
    pub(crate) context: &'c Context,
    /// Revision before the present request; read once per entry.
    revision: Option<u64>,
    /// Changes the present request has made, and the bytes of their keys.
    changes: u32,
    changed_bytes: usize,
}

impl<'c> Store<'c> {
    pub(crate) fn new(context: &'c Context) -> Store<'c> {
        Store { context, revision: None, changes: 0, changed_bytes: 0 }
    }

    /// Forgets what it knows: the request was undone.
    pub(crate) fn undo(&mut self) {
        *self = Store::new(self.context);
    }

    /// Ends a request: the next one that changes something takes the next revision.
    pub(crate) fn finish(&mut self) {
        if self.changes > 0 {
            *self = Store { revision: Some(self.revision()), ..Store::new(self.context) };
        }
    }

    /// The revision now; within a request that has changed something, that request's.
    pub(crate) fn revision(&mut self) -> u64 {
        self.revision_before() + u64::from(self.changes > 0)
    }

    /// As etcd's replies carry it.
    pub(crate) fn header(&mut self) -> i64 {
        self.revision() as i64
    }

    /// The revision before the present request.
    pub(crate) fn revision_before(&mut self) -> u64 {
        *self.revision.get_or_insert_with(last_revision)
    }

    /// Whether the present request may change these keys too.
    pub(crate) fn admit<'k>(
        &self,
        keys: impl ExactSizeIterator<Item = &'k [u8]>,
    ) -> Result<(), Rejection> {
        let changes = self.changes as usize + keys.len();
        let bytes = self.changed_bytes + keys.map(<[u8]>::len).sum::<usize>();
        if changes > REQUEST_CHANGES_MAX as usize || bytes > REQUEST_CHANGES_BYTES_MAX {
            return Err(Rejection::TooManyChanges);
        }
        Ok(())
    }

    /// Writes a key. `old` is what [`current`] said of it.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8], lease: i64, old: Option<Current>) {
        assert!((1..=KEY_BYTES_MAX).contains(&key.len()), "keys are checked before");
        assert!(value.len() <= VALUE_BYTES_MAX, "values are checked before");
        let change = self.next_change(key);
        let existing = old.filter(Current::exists);
        let create = existing.map_or(change.main, |old| old.create);
        let version = existing.map_or(1, |old| old.version + 1);
        let old_lease = existing.map_or(0, |old| old.lease);
        if old_lease != lease {
            move_to_lease(key, old_lease, lease);
        }
        let row = Change {
            prev: old.map(|old| old.change),
            prev_exists: existing.is_some(),
            create,
            version,
            lease,
            key,
            value,
        };
        let current = Current { change, create, version, lease };
        self.write(EventKind::Put, &row, current);
    }

    /// Deletes a key that exists.
    pub(crate) fn delete(&mut self, key: &[u8], old: Current) {
        assert!(old.exists(), "only keys that exist are deleted");
        let change = self.next_change(key);
        if old.lease != 0 {
            move_to_lease(key, old.lease, 0);
        }
        let row = Change {
            prev: Some(old.change),
            prev_exists: true,
            create: 0,
            version: 0,
            lease: 0,
            key,
            value: &[],
        };
        let current = Current { change, create: 0, version: 0, lease: 0 };
        self.write(EventKind::Delete, &row, current);
    }

    fn next_change(&mut self, key: &[u8]) -> ChangeId {
        let change = ChangeId { main: self.revision_before() + 1, sub: self.changes };
        assert!(change.main <= i64::MAX as u64, "revisions end at the largest i64");
        self.changes += 1;
        self.changed_bytes += key.len();
        change
    }

    fn write(&self, kind: EventKind, row: &Change<'_>, current: Current) {
        let prev_main = row.prev.filter(|_| row.prev_exists).map_or(0, |prev| prev.main);
        assert!(prev_main < current.change.main, "a request changes a key once");
        storage::put(&current.change.row(), &row.encode());
        storage::put(&current_row(row.key), &current.encode());
        events::emit(row.key, &encode_event(kind, row, current.change.main, prev_main));
    }
}

fn move_to_lease(key: &[u8], old: i64, new: i64) {
    if old != 0 {
        let attached = storage::delete(&lease_key_row(old, key));
        assert!(attached, "a key with a lease is attached to it");
    }
    if new != 0 {
        storage::put(&lease_key_row(new, key), &[]);
    }
}

fn last_revision() -> u64 {
    let page = storage::scan(&[CHANGE], &[CHANGE + 1], 1, 1 << 10, true, true);
    let mut rows = pgraft_sdk::Rows::new(&page.rows);
    rows.next().map_or(FIRST_REVISION, |(row, _)| ChangeId::of_row(row).main)
}

/// What a key is now; `None` when it never was, or its end is compacted.
pub(crate) fn current(key: &[u8]) -> Option<Current> {
    storage::get(&current_row(key)).map(|row| Current::decode(&row))
}

/// How far compaction has come, if there ever was one.
pub(crate) fn compaction() -> Option<Compaction> {
    storage::get(COMPACTION).map(|row| Compaction::decode(&row))
}

/// The revision below which reads are refused; 0 = none.
pub(crate) fn compacted() -> u64 {
    compaction().map_or(0, |compaction| compaction.revision)
}

/// Whether a read at `revision` is possible while the store is at `now`; the revision to read.
pub(crate) fn readable(revision: i64, now: u64) -> Result<u64, Rejection> {
    let Ok(revision @ 1..) = u64::try_from(revision) else { return Ok(now) };
    if revision > now {
        return Err(Rejection::FutureRevision);
    }
    if revision < compacted() {
        return Err(Rejection::Compacted);
    }
    Ok(revision)
}

/// The pair that a change row holds.
pub(crate) fn pair(main: u64, change: &Change<'_>) -> KeyValue {
    KeyValue {
        key: change.key.to_vec(),
        create_revision: change.create as i64,
        mod_revision: main as i64,
        version: change.version as i64,
        lease: change.lease,
        value: change.value.to_vec(),
    }
}

/// The pair of a key that exists.
pub(crate) fn current_pair(current: Current) -> KeyValue {
    let row = storage::get(&current.change.row()).expect("what is current is never compacted");
    pair(current.change.main, &Change::decode(&row))
}
