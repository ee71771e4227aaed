//! Compaction: the revision below which reads are refused moves at once; the rows nobody can
//! read any more are deleted in small steps, each in an entry of its own, equal on all replicas.
//!
//! Kept is, for every key, the newest change at or below the compacted revision if it left the
//! key in existence, and a deletion exactly at that revision, so that a watcher which begins
//! there sees it. Changes above it are not touched, so the last change row always stays.

use pgraft_sdk::{Rows, storage};

use crate::limits::{COMPACTION_PAUSE_MS, COMPACTION_STEP_BYTES_MAX, COMPACTION_STEP_ROWS_MAX};
use crate::model::Reply;
use crate::rejection::Rejection;
use crate::rows::{COMPACTION, Change, ChangeId, Compaction, current_row};
use crate::store::{Store, compaction, current};

impl Store<'_> {
    /// Moves the compacted revision, and takes the first step.
    pub(crate) fn compact(&mut self, revision: i64) -> Result<Reply, Rejection> {
        let now = self.revision();
        let before = compaction();
        let compacted = before.map_or(0, |compaction| compaction.revision);
        let Some(revision) = u64::try_from(revision).ok().filter(|wish| *wish > compacted) else {
            return Err(Rejection::Compacted);
        };
        if revision > now {
            return Err(Rejection::FutureRevision);
        }
        // An unfinished compaction goes on where it was, with the new aim.
        let cursor = before.map_or(ChangeId::first_of(0), |compaction| compaction.cursor);
        self.compaction_step(Compaction { revision, cursor, resume_at_ms: None });
        crate::lease::set_timer();
        Ok(Reply::Compact { revision: self.header() })
    }

    /// Takes a step, if one is due.
    pub(crate) fn go_on_compacting(&mut self) {
        let due = |compaction: &Compaction| {
            compaction.resume_at_ms.is_some_and(|time_ms| time_ms <= self.context.time_ms)
        };
        if let Some(compaction) = compaction().filter(due) {
            self.compaction_step(compaction);
        }
    }

    fn compaction_step(&self, mut compaction: Compaction) {
        let end = ChangeId::first_of(compaction.revision + 1);
        let page = storage::scan(
            &compaction.cursor.row(),
            &end.row(),
            COMPACTION_STEP_ROWS_MAX,
            COMPACTION_STEP_BYTES_MAX,
            false,
            false,
        );
        let mut last = compaction.cursor;
        for (row, change) in Rows::new(&page.rows) {
            last = ChangeId::of_row(row);
            forget(last, &Change::decode(change), compaction.revision);
        }
        if page.more {
            compaction.cursor = ChangeId { sub: last.sub + 1, ..last };
            compaction.resume_at_ms = Some(self.context.time_ms + COMPACTION_PAUSE_MS);
        } else {
            // The deletions exactly at this revision are kept: the next compaction begins here.
            compaction.cursor = ChangeId::first_of(compaction.revision);
            compaction.resume_at_ms = None;
        }
        storage::put(COMPACTION, &compaction.encode());
    }
}

/// Deletes what `change`, which is at or below the compacted revision, has made unreadable.
fn forget(id: ChangeId, change: &Change<'_>, compacted: u64) {
    assert!(id.main <= compacted, "changes above the compacted revision stay");
    if let Some(prev) = change.prev {
        assert!(prev < id, "a change follows the one before it");
        storage::delete(&prev.row());
    }
    if change.exists() || id.main == compacted {
        return;
    }
    storage::delete(&id.row());
    if current(change.key).is_some_and(|current| current.change == id) {
        storage::delete(&current_row(change.key));
    }
}
