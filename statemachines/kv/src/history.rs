//! Questions about the whole store: what happened from a revision on, and how much there is.

use pgraft_sdk::{Rows, scan, storage, successor};

use crate::limits::{HISTORY_BYTES_MAX, HISTORY_CHANGES_MAX, HISTORY_EVENTS_MAX};
use crate::model::{Event, EventKind, HistoryReply, HistoryRequest, Status};
use crate::range::Span;
use crate::rejection::Rejection;
use crate::rows::{CHANGE, CURRENT, Change, ChangeId, Current, LEASE};
use crate::store::{Store, compacted, compaction, pair};

/// Rows and bytes of one page of changes.
const PAGE_ROWS_MAX: u32 = 256;
const PAGE_BYTES_MAX: u32 = 256 << 10;

impl Store<'_> {
    /// The events of a range from a revision on, whole revisions only.
    pub(crate) fn history(&mut self, ask: &HistoryRequest) -> Result<HistoryReply, Rejection> {
        let now = self.revision();
        let start = u64::try_from(ask.start_revision).unwrap_or(0);
        let start = if start == 0 { now + 1 } else { start };
        if start < compacted() {
            return Err(Rejection::Compacted);
        }
        let span = Span::new(&ask.key, &ask.range_end);
        let mut reply = HistoryReply { revision: now as i64, ..HistoryReply::default() };
        let (mut looked_at, mut bytes, mut main_before) = (0, 0, 0);
        let mut from = ChangeId::first_of(start).row().to_vec();
        loop {
            let page =
                storage::scan(&from, &[CHANGE + 1], PAGE_ROWS_MAX, PAGE_BYTES_MAX, false, false);
            for (row, change) in Rows::new(&page.rows) {
                let id = ChangeId::of_row(row);
                let full = reply.events.len() >= HISTORY_EVENTS_MAX
                    || bytes >= HISTORY_BYTES_MAX
                    || looked_at >= HISTORY_CHANGES_MAX;
                if full && id.main != main_before {
                    reply.next_revision = id.main as i64;
                    return Ok(reply);
                }
                let change = Change::decode(change);
                looked_at += 1;
                if span.contains(change.key) {
                    bytes += change.key.len() + change.value.len();
                    reply.events.push(event(id, &change));
                }
                main_before = id.main;
                from = successor(row);
            }
            if !page.more {
                reply.next_revision = (now + 1).max(start) as i64;
                return Ok(reply);
            }
        }
    }

    /// Numbers about the store. Looks at every key.
    pub(crate) fn status(&mut self) -> Status {
        let compaction = compaction();
        let mut status = Status {
            revision: self.header(),
            compact_revision: compaction.map_or(0, |compaction| compaction.revision as i64),
            compacting: compaction.is_some_and(|compaction| compaction.resume_at_ms.is_some()),
            changes: storage::count(&[CHANGE], &[CHANGE + 1], u32::MAX).into(),
            leases: storage::count(&[LEASE], &[LEASE + 1], u32::MAX).into(),
            ..Status::default()
        };
        for (_, row) in scan(&[CURRENT], &[CURRENT + 1]) {
            let exists = Current::decode(&row).exists();
            *(if exists { &mut status.keys } else { &mut status.tombstones }) += 1;
        }
        status
    }
}

fn event(id: ChangeId, change: &Change<'_>) -> Event {
    let kind = if change.exists() { EventKind::Put } else { EventKind::Delete };
    let prev = change.prev.filter(|_| change.prev_exists);
    Event {
        kind,
        kv: pair(id.main, change),
        prev_revision: prev.map_or(0, |prev| prev.main as i64),
    }
}
