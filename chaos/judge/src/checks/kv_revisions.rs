//! A key-value store by facts alone: revisions are unique and grow with the log, and a read at an
//! index sees the last put before it. Trusts no machine's code and no specification: only what
//! clients were told, and the order of the log. Not here: leases.

use std::collections::BTreeMap;

use super::keys::{Keys, Read};
use crate::case::{Case, Taken};
use crate::history::Fact;
use crate::operations::Operation;
use crate::verdict::Verdict;

/// Looks at puts, deletes, reads and revisions; `None`: nobody told any.
pub fn check(case: &Case<'_>) -> Option<Verdict> {
    let keys = Keys::of(case);
    let reads: usize = keys.reads.values().map(Vec::len).sum();
    let revisions = told_revisions(case);
    if reads == 0 && revisions.is_empty() {
        return None;
    }
    let puts = puts(&keys, &revisions);
    let wrong = growing(case, &revisions).or_else(|| {
        let mut reads = keys.reads.iter().flat_map(|(key, all)| all.iter().map(move |r| (*key, r)));
        reads.find_map(|(key, read)| seen(case, &keys, &puts, key, read))
    });
    let told = revisions.len();
    Some(wrong.unwrap_or_else(|| Verdict::pass(format!("{told} revisions, {reads} reads of keys"))))
}

/// Whoever was told a revision, by place in the log.
fn told_revisions<'a, 'b>(case: &'b Case<'a>) -> Vec<(&'b Operation<'a>, (u64, u32), u64)> {
    let mut told: Vec<(&Operation<'_>, (u64, u32), u64)> = Vec::new();
    for operation in case.operations.iter() {
        let facts = operation.done().map_or(&[][..], |done| &done.facts);
        let revision = facts.iter().find_map(|fact| match fact {
            Fact::Revision { revision } => Some(*revision),
            _ => None,
        });
        if let (Some(revision), Some(at)) = (revision, case.place(operation)) {
            told.push((operation, at, revision));
        }
    }
    told.sort_by_key(|(operation, at, _)| (*at, operation.called));
    told
}

/// A put takes a revision of its own; nothing else goes back.
fn growing(case: &Case<'_>, told: &[(&Operation<'_>, (u64, u32), u64)]) -> Option<Verdict> {
    // Without the log, commands of one entry have no order.
    let ordered = case.log.whole;
    for pair in told.windows(2) {
        let [(one, one_at, before), (other, other_at, after)] = pair else { continue };
        let puts = other.invoke.facts.iter().any(|fact| matches!(fact, Fact::Put { .. }));
        let changes = puts && case.took_effect(other) == Taken::Yes;
        let wrong = after < before || changes && after == before;
        if wrong && (ordered || one_at.0 < other_at.0) {
            let (a, b) = (one.op(), other.op());
            let says = format!("#{b} has revision {after} behind #{a} with revision {before}");
            let window = case.operations.describe(&[a, b]);
            return Some(Verdict::fail(says, vec![a, b]).with_window(window));
        }
    }
    None
}

/// What a read saw is what the last put before it left, or one that nobody knows of.
fn seen(
    case: &Case<'_>,
    keys: &Keys<'_>,
    puts: &Puts<'_>,
    key: &str,
    read: &Read<'_>,
) -> Option<Verdict> {
    let (last, perhaps) = keys.visible(key, read);
    let leased = |change: &&super::keys::Change<'_>| change.lease.is_some();
    let vanished = || last.iter().chain(&perhaps).any(leased);
    let of_last = last.and_then(|last| last.value) == read.value;
    if of_last || perhaps.iter().any(|change| change.value == read.value) {
        return wrong_revision(case, puts, key, read);
    }
    if read.value.is_none() && vanished() {
        return None; // for the check of leases
    }
    let mut ops = vec![read.op];
    ops.extend(last.map(|last| last.op));
    let wrote = read.value.and_then(|value| {
        let changes = keys.changes.get(key)?;
        changes.iter().find(|change| change.value == Some(value))
    });
    ops.extend(wrote.map(|wrote| wrote.op));
    let why = match (read.value, wrote.map(|wrote| wrote.taken)) {
        (None, _) => "the key was absent".to_owned(),
        (Some(value), None) => format!("{value}, which nobody put"),
        (Some(value), Some(Taken::No)) => format!("{value}, whose put failed"),
        (Some(value), Some(_)) => format!("{value}, which was not there"),
    };
    let due = last.map_or("absent", |last| last.value.unwrap_or("absent"));
    let says = format!("#{} read {key} at index {}: {why}; due: {due}", read.op, read.at.0);
    let window = case.operations.describe(&ops);
    Some(Verdict::fail(says, ops).with_window(window))
}

/// Who put a value of a key, and with what revision (`None`: nobody knows).
type Puts<'a> = BTreeMap<(&'a str, &'a str), Vec<(u64, Option<u64>)>>;

fn puts<'a>(keys: &Keys<'a>, told: &[(&Operation<'a>, (u64, u32), u64)]) -> Puts<'a> {
    let told: BTreeMap<u64, u64> =
        told.iter().map(|(operation, _, revision)| (operation.op(), *revision)).collect();
    let mut puts = Puts::new();
    for (key, changes) in &keys.changes {
        for change in changes.iter().filter(|change| change.taken != Taken::No) {
            let Some(value) = change.value else { continue };
            let revision = told.get(&change.op).copied().filter(|_| change.taken == Taken::Yes);
            puts.entry((*key, value)).or_default().push((change.op, revision));
        }
    }
    puts
}

/// A value comes with the revision that its put was told.
fn wrong_revision(case: &Case<'_>, puts: &Puts<'_>, key: &str, read: &Read<'_>) -> Option<Verdict> {
    let puts = puts.get(&(key, read.value?))?;
    let right = |revision: &Option<u64>| revision.is_none_or(|revision| revision == read.revision);
    if read.revision == 0 || puts.iter().any(|(_, revision)| right(revision)) {
        return None;
    }
    let (put, revision) = puts.last().copied()?;
    let says = format!(
        "#{} read {key} with revision {}, put by #{put} with revision {}",
        read.op,
        read.revision,
        revision.unwrap_or(0)
    );
    let window = case.operations.describe(&[put, read.op]);
    Some(Verdict::fail(says, vec![put, read.op]).with_window(window))
}
