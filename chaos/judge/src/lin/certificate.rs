//! Verifies the order that the log claims: every answer names the index at which it was true, so
//! the order need not be searched for. Sorted by index, the specification must give the answers
//! that were heard, and no call may stand before another that had returned before it was made.
//! Both hold: the history is linearizable, and this order proves it, whoever claimed it. Costs
//! O(n log n).
//!
//! It does not hold: the history is not linearizable, or the claim is wrong. Which of the two, only
//! a search can say ([`super::competition`]).

use super::entry::Place;
use super::spec::Specification;
use super::table::EntryOf;

/// What a claimed order is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// It proves linearizability.
    Holds,
    /// Nobody claims a place for this call, though it returned.
    Unplaced(usize),
    /// It contradicts what clients saw.
    Broken(Break),
}

/// Where a claimed order breaks; calls by their position among the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Break {
    /// The answer at this place is another one.
    Answer {
        /// Whose answer.
        at: usize,
        /// The call before it that changed the state last.
        after: Option<usize>,
        /// What the specification answers there.
        expected: String,
        /// What was heard.
        heard: String,
    },
    /// The first had returned before the second was called, and yet stands behind it.
    RealTime {
        /// Returned earlier, placed later.
        first: usize,
        /// Called later, placed earlier.
        second: usize,
    },
    /// Two commands claim one place.
    SamePlace {
        /// One of them.
        one: usize,
        /// The other.
        other: usize,
    },
}

/// Verifies the claimed order of `entries`. Calls that never returned and have no place are taken
/// not to have happened.
pub fn certify<S: Specification>(spec: &S, entries: &[EntryOf<S>]) -> Certificate {
    let unplaced = |entry: &&EntryOf<S>| entry.place.is_none() && entry.returned.is_some();
    if let Some(number) = entries.iter().position(|entry| unplaced(&entry)) {
        return Certificate::Unplaced(number);
    }
    let mut order: Vec<usize> =
        (0..entries.len()).filter(|at| entries[*at].place.is_some()).collect();
    // Reads of one place stand in the order in which they were called.
    order.sort_by_key(|at| (entries[*at].place, entries[*at].called, *at));
    let broken = same_place(entries, &order)
        .or_else(|| real_time(entries, &order))
        .or_else(|| answers(spec, entries, &order));
    broken.map_or(Certificate::Holds, Certificate::Broken)
}

fn same_place<O, R>(entries: &[super::Entry<O, R>], order: &[usize]) -> Option<Break> {
    let clash = order.windows(2).find(|pair| {
        let place = entries[pair[0]].place;
        place == entries[pair[1]].place && place.is_some_and(|p| p.position != Place::AFTER)
    })?;
    Some(Break::SamePlace { one: clash[0], other: clash[1] })
}

/// One sweep over time: whoever is called must not stand before anybody who has returned.
fn real_time<O, R>(entries: &[super::Entry<O, R>], order: &[usize]) -> Option<Break> {
    let mut by_call = order.to_vec();
    by_call.sort_by_key(|at| entries[*at].called);
    let mut by_return: Vec<(u64, usize)> =
        order.iter().filter_map(|at| entries[*at].returned.map(|time| (time, *at))).collect();
    by_return.sort_unstable();
    let mut returned = by_return.into_iter().peekable();
    let mut latest: Option<usize> = None;
    for second in by_call {
        while let Some((_, at)) = returned.next_if(|(time, _)| *time < entries[second].called) {
            if latest.is_none_or(|latest| entries[at].place > entries[latest].place) {
                latest = Some(at);
            }
        }
        if let Some(first) = latest.filter(|first| entries[*first].place > entries[second].place) {
            return Some(Break::RealTime { first, second });
        }
    }
    None
}

fn answers<S: Specification>(spec: &S, entries: &[EntryOf<S>], order: &[usize]) -> Option<Break> {
    let mut state = spec.initial();
    let mut after = None;
    for at in order.iter().copied() {
        let call = &entries[at];
        let (next, reply) = spec.step(&state, &call.operation);
        if let Some(heard) = &call.reply
            && !spec.agrees(&call.operation, &reply, heard)
        {
            let (expected, heard) = (format!("{reply:?}"), format!("{heard:?}"));
            return Some(Break::Answer { at, after, expected, heard });
        }
        if !spec.is_read(&call.operation) && next != state {
            after = Some(at);
        }
        state = next;
    }
    None
}
