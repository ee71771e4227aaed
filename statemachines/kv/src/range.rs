//! Reading: ranges now and at older revisions, in etcd's order of evaluation: revision, keys in
//! order, filters, sort, limit, and only then the values.

use std::cmp::Ordering;

use pgraft_sdk::{Rows, prefix_end, storage, successor};

use crate::model::{KeyValue, RangeReply, RangeRequest, SortOrder, SortTarget};
use crate::rejection::Rejection;
use crate::rows::{CURRENT, Change, ChangeId, Current, OURS, current_row};
use crate::store::{Store, current_pair, pair, readable};

/// Rows asked for in one page of current rows, which are small.
const PAGE_ROWS_MAX: u32 = 1000;
/// Bytes asked for in one page.
const PAGE_BYTES_MAX: u32 = 64 << 10;
/// Values fetched in one crossing to the host, which hands over 16 MiB at most.
const VALUES_PER_CROSSING: usize = 8;

/// A key that exists at the revision that is read, without its value.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) key: Vec<u8>,
    pub(crate) state: Current,
}

/// The keys `key` and `range_end` stand for, as etcd reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// One key.
    One(Vec<u8>),
    /// From the first up to, not including, the second; without the second, to the end.
    Many(Vec<u8>, Option<Vec<u8>>),
}

impl Span {
    pub(crate) fn new(key: &[u8], range_end: &[u8]) -> Span {
        match range_end {
            [] => Span::One(key.to_vec()),
            [0] => Span::Many(key.to_vec(), None),
            end => Span::Many(key.to_vec(), Some(end.to_vec())),
        }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        match self {
            Span::One(one) => one == key,
            Span::Many(start, end) => {
                start.as_slice() <= key && end.as_ref().is_none_or(|end| key < end.as_slice())
            }
        }
    }

    /// The `c` rows of these keys.
    fn rows(&self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Span::One(key) => (current_row(key), successor(&current_row(key))),
            Span::Many(start, None) => (current_row(start), prefix_end(&[CURRENT])),
            Span::Many(start, Some(end)) => (current_row(start), current_row(end)),
        }
    }
}

/// Calls `found` for each key of `span` that exists at `revision`, in key order. `found` may
/// write the keys it is given.
pub(crate) fn walk(span: &Span, revision: u64, mut found: impl FnMut(&[u8], Current)) {
    let (mut start, end) = span.rows();
    loop {
        let page = storage::scan(&start, &end, PAGE_ROWS_MAX, PAGE_BYTES_MAX, false, false);
        let mut last: &[u8] = &[];
        for (row, state) in Rows::new(&page.rows) {
            last = row;
            if let Some(state) = state_at(Current::decode(state), revision) {
                found(&row[1..], state);
            }
        }
        if !page.more {
            return;
        }
        assert!(!last.is_empty(), "a page that is followed by another has rows");
        start = successor(last);
    }
}

/// What the key whose present state is `current` was at `revision`; `None` = it did not exist.
///
/// Goes back along the chain of changes: as many look-ups as there were changes since.
fn state_at(current: Current, revision: u64) -> Option<Current> {
    let mut state = current;
    while state.change.main > revision {
        let row = storage::get(&state.change.row())?;
        let id = Change::decode(&row).prev?;
        let row = storage::get(&id.row())?;
        let Change { create, version, lease, .. } = Change::decode(&row);
        state = Current { change: id, create, version, lease };
    }
    state.exists().then_some(state)
}

impl Store<'_> {
    /// Reads a range. Within a transaction it sees the writes of earlier operations.
    pub(crate) fn range(&mut self, request: &RangeRequest) -> Result<RangeReply, Rejection> {
        let now = self.revision();
        let revision = readable(request.revision, now)?;
        let mut reply = RangeReply { revision: now as i64, ..RangeReply::default() };
        let limit = usize::try_from(request.limit).unwrap_or(0);
        // In key order only the first pairs matter; any other order has to see all of them.
        let in_order =
            request.sort_target == SortTarget::Key && request.sort_order != SortOrder::Descend;
        let kept_max = if in_order && limit > 0 { limit } else { usize::MAX };
        let mut kept = Vec::new();
        walk(&Span::new(&request.key, &request.range_end), revision, |key, state| {
            reply.count += 1;
            if request.count_only || reply.more || !passes(request, &state) {
                return;
            }
            if kept.len() == kept_max {
                reply.more = true;
                return;
            }
            kept.push(Found { key: key.to_vec(), state });
        });
        let mut pairs = if request.sort_target == SortTarget::Value {
            sorted(request, with_values(kept))
        } else {
            sorted(request, kept.into_iter().map(without_value).collect())
        };
        if limit > 0 && pairs.len() > limit {
            pairs.truncate(limit);
            reply.more = true;
        }
        reply.kvs = if request.keys_only {
            pairs.into_iter().map(|(kv, _)| KeyValue { value: Vec::new(), ..kv }).collect()
        } else if request.sort_target == SortTarget::Value {
            pairs.into_iter().map(|(kv, _)| kv).collect()
        } else {
            fetch_values(pairs)
        };
        Ok(reply)
    }
}

fn passes(request: &RangeRequest, state: &Current) -> bool {
    let within = |value: u64, min: i64, max: i64| {
        let value = value as i64;
        (min == 0 || value >= min) && (max == 0 || value <= max)
    };
    within(state.change.main, request.min_mod_revision, request.max_mod_revision)
        && within(state.create, request.min_create_revision, request.max_create_revision)
}

type Located = (KeyValue, ChangeId);

fn without_value(found: Found) -> Located {
    let Found { key, state } = found;
    let kv = KeyValue {
        key,
        create_revision: state.create as i64,
        mod_revision: state.change.main as i64,
        version: state.version as i64,
        lease: state.lease,
        value: Vec::new(),
    };
    (kv, state.change)
}

fn with_values(found: Vec<Found>) -> Vec<Located> {
    let located: Vec<Located> = found.into_iter().map(without_value).collect();
    let places: Vec<ChangeId> = located.iter().map(|(_, place)| *place).collect();
    fetch_values(located).into_iter().zip(places).collect()
}

fn fetch_values(pairs: Vec<Located>) -> Vec<KeyValue> {
    if let [(_, place)] = pairs[..] {
        let row = storage::get(&place.row()).expect("what is visible is never compacted");
        return vec![pair(place.main, &Change::decode(&row))];
    }
    let (mut pairs, places): (Vec<KeyValue>, Vec<ChangeId>) = pairs.into_iter().unzip();
    let parts = pairs.chunks_mut(VALUES_PER_CROSSING).zip(places.chunks(VALUES_PER_CROSSING));
    for (pairs, places) in parts {
        let rows: Vec<Vec<u8>> = places.iter().map(|place| place.row().to_vec()).collect();
        for (kv, row) in pairs.iter_mut().zip(storage::get_many(&rows)) {
            let row = row.expect("what is visible is never compacted");
            kv.value = Change::decode(&row).value.to_vec();
        }
    }
    pairs
}

/// Pairs that are equal in the target stay in key order.
fn sorted(request: &RangeRequest, mut pairs: Vec<Located>) -> Vec<Located> {
    let compare = |(a, _): &Located, (b, _): &Located| match request.sort_target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    match (request.sort_order, request.sort_target) {
        (SortOrder::None | SortOrder::Ascend, SortTarget::Key) => {}
        (SortOrder::None | SortOrder::Ascend, _) => pairs.sort_by(compare),
        (SortOrder::Descend, _) => pairs.sort_by(|a, b| Ordering::reverse(compare(a, b))),
    }
    pairs
}

/// All existing keys of a span, collected before any of them is written.
pub(crate) fn existing(span: &Span) -> Vec<Found> {
    let mut keys = Vec::new();
    walk(span, u64::MAX, |key, state| keys.push(Found { key: key.to_vec(), state }));
    keys
}

/// The pairs of these keys.
pub(crate) fn pairs_of(found: &[Found]) -> Vec<KeyValue> {
    found.iter().map(|found| current_pair(found.state)).collect()
}

/// The row of a change, which must be there.
pub(crate) fn change_value(id: ChangeId) -> Vec<u8> {
    let row = storage::get(&id.row()).expect(OURS);
    Change::decode(&row).value.to_vec()
}
