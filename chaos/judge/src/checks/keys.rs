//! What happened to each key, told by facts alone and ordered by the log: who changed it, and what
//! a read at some index may have seen. Shared by the checks of revisions and of leases; not a
//! check itself.

use std::collections::BTreeMap;

use crate::case::{Case, Taken};
use crate::history::Fact;
use crate::operations::Operation;

/// A place in the log.
pub(crate) type At = (u64, u32);

/// A change of a key.
#[derive(Clone, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) op: u64,
    /// `None`: nobody knows where, if at all.
    pub(crate) at: Option<At>,
    /// Line of the call: before it, nothing can have happened.
    pub(crate) called: usize,
    pub(crate) taken: Taken,
    /// `None`: deleted.
    pub(crate) value: Option<&'a str>,
    pub(crate) lease: Option<i64>,
}

/// A read of a key.
#[derive(Clone, Debug)]
pub(crate) struct Read<'a> {
    pub(crate) op: u64,
    pub(crate) at: At,
    pub(crate) returned: usize,
    pub(crate) value: Option<&'a str>,
    pub(crate) revision: u64,
}

/// Changes and reads by key.
#[derive(Debug, Default)]
pub(crate) struct Keys<'a> {
    pub(crate) changes: BTreeMap<&'a str, Vec<Change<'a>>>,
    pub(crate) reads: BTreeMap<&'a str, Vec<Read<'a>>>,
}

impl<'a> Keys<'a> {
    pub(crate) fn of(case: &Case<'a>) -> Keys<'a> {
        let mut keys = Keys::default();
        for operation in case.operations.iter() {
            keys.add_changes(case, operation);
            keys.add_reads(case, operation);
        }
        for changes in keys.changes.values_mut() {
            // What has no place stands at the end, where it is not looked for by place.
            changes.sort_by_key(|change| (change.at.is_none(), change.at));
        }
        keys
    }

    fn add_changes(&mut self, case: &Case<'a>, operation: &Operation<'a>) {
        for fact in &operation.invoke.facts {
            let (key, value, lease) = match fact {
                Fact::Put { key, value, lease } => (key, Some(value.as_str()), *lease),
                Fact::Delete { key } => (key, None, None),
                _ => continue,
            };
            let at = case.place(operation);
            let taken = case.took_effect(operation);
            let (op, called) = (operation.op(), operation.called);
            let change = Change { op, at, called, taken, value, lease };
            self.changes.entry(key).or_default().push(change);
        }
    }

    fn add_reads(&mut self, case: &Case<'a>, operation: &Operation<'a>) {
        let Some((done, returned)) = operation.done().zip(operation.returned()) else { return };
        let Some(at) = case.place(operation) else { return };
        for fact in &done.facts {
            let Fact::Got { key, value, revision } = fact else { continue };
            let (op, revision) = (operation.op(), *revision);
            let read = Read { op, at, returned, value: value.as_deref(), revision };
            self.reads.entry(key).or_default().push(read);
        }
    }

    /// What a read at `at` may have seen: the last change before it that certainly happened
    /// (`None`: there is none), and those since then of which nobody knows. A command that also
    /// reads may see the key before or after its own change.
    pub(crate) fn visible(
        &self,
        key: &str,
        read: &Read<'_>,
    ) -> (Option<&Change<'a>>, Vec<&Change<'a>>) {
        let changes = self.changes.get(key).map_or(&[][..], Vec::as_slice);
        let before = |change: &&Change<'_>| change.at.is_some_and(|at| at < read.at);
        let mut certain = changes.iter().rev().filter(before);
        let last = certain.find(|change| change.taken == Taken::Yes);
        let since = last.and_then(|last| last.at);
        let perhaps = changes.iter().filter(|change| match change.at {
            Some(at) if at == read.at && change.op == read.op => change.taken == Taken::Yes,
            Some(at) => change.taken == Taken::Perhaps && at < read.at && Some(at) > since,
            None => change.taken == Taken::Perhaps && change.called < read.returned,
        });
        (last, perhaps.collect())
    }
}
