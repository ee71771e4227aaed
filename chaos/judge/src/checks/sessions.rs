//! Monotonic reads: what one client is told by one node never goes back, stale reads included; and
//! a linearizable answer is never older than what any client had been told before it was asked.
//! By log index, so without knowing what was read. A node that went down may have lost what it
//! had applied and not synced (the log has it), and starts anew. Not here: whether the answers are
//! right.

use std::collections::BTreeMap;

use crate::case::Case;
use crate::history::{Call, History, What};
use crate::operations::Operation;
use crate::verdict::Verdict;

/// Looks for indexes that go back; `None`: nobody was told anything.
pub fn check(case: &Case<'_>) -> Option<Verdict> {
    let mut answers: Vec<(usize, &Operation<'_>)> =
        case.operations.iter().filter_map(|o| Some((o.returned()?, o))).collect();
    answers.sort_by_key(|(line, _)| *line);
    if answers.is_empty() {
        return None;
    }
    let mut of_node: BTreeMap<(u64, u64, &str), &Operation<'_>> = BTreeMap::new();
    let mut downs = downs(case.history).into_iter().peekable();
    let mut down_at: BTreeMap<u64, usize> = BTreeMap::new();
    for (line, operation) in &answers {
        while let Some((at, down)) = downs.next_if(|(at, _)| at < line) {
            of_node.retain(|(_, node, _), _| *node != down);
            down_at.insert(down, at);
        }
        let invoke = operation.invoke;
        // An answer that was on its way when its node went down says nothing about the next life.
        if down_at.get(&invoke.node).is_some_and(|at| operation.called < *at) {
            continue;
        }
        // A repeated command is answered with its first index: only reads say how far a node is.
        if invoke.call == Call::Command {
            continue;
        }
        let place = (invoke.client, invoke.node, invoke.machine.as_str());
        if let Some(before) = of_node.insert(place, operation)
            && index(before) > index(operation)
        {
            let says = format!(
                "client {} read index {} on node {} after index {}",
                invoke.client,
                index(operation),
                invoke.node,
                index(before)
            );
            return Some(fail(says, before, operation));
        }
    }
    let wrong = linearizable_reads(case, &answers);
    let right = || Verdict::pass(format!("{} answers never went back", answers.len()));
    Some(wrong.unwrap_or_else(right))
}

/// Lines on which a node goes down.
fn downs(history: &History) -> Vec<(usize, u64)> {
    let lines = history.events.iter().enumerate();
    let downs = lines.filter_map(|(line, event)| match &event.what {
        What::Role(role) if role.role == "down" => Some((line, role.node)),
        _ => None,
    });
    downs.collect()
}

/// One sweep: a linearizable read stands behind all that had been told before it was asked.
fn linearizable_reads(case: &Case<'_>, answers: &[(usize, &Operation<'_>)]) -> Option<Verdict> {
    let mut told = answers.iter().peekable();
    let mut latest: Option<&Operation<'_>> = None;
    for operation in case.operations.iter().filter(|o| o.invoke.call == Call::Query) {
        while let Some((_, before)) = told.next_if(|(line, _)| *line < operation.called) {
            if latest.is_none_or(|latest| index(before) > index(latest)) {
                latest = Some(before);
            }
        }
        let Some(latest) = latest else { continue };
        if operation.done().is_some() && index(latest) > index(operation) {
            let (one, other) = (latest.op(), operation.op());
            let (newer, older) = (index(latest), index(operation));
            let says = format!(
                "#{other} read index {older}, though #{one} had been told index {newer} before"
            );
            return Some(fail(says, latest, operation));
        }
    }
    None
}

fn index(operation: &Operation<'_>) -> u64 {
    operation.done().map_or(0, |done| done.index)
}

fn fail(says: String, one: &Operation<'_>, other: &Operation<'_>) -> Verdict {
    let window = vec![one.describe(), other.describe()];
    Verdict::fail(says, vec![one.op(), other.op()]).with_window(window)
}
