//! Watchers: each is told every event that it asked for exactly once, in the order of the log, with
//! no gap between the first and the last, and nothing that no machine emitted. Events of entries
//! whose outcomes are lost prove nothing. Not here: how soon.

use std::collections::BTreeMap;

use crate::case::Case;
use crate::history::{Emitted, Fact, Watch, Watched, What};
use crate::verdict::Verdict;

/// What a watcher of a machine was told from one beginning on.
#[derive(Default)]
struct Stretch<'a> {
    watch: Option<&'a Watch>,
    told: Vec<(u64, &'a Watched)>,
}

/// By client and machine: stretches in order.
type Watchers<'a> = BTreeMap<(u64, &'a str), Vec<Stretch<'a>>>;

fn watchers<'a>(case: &Case<'a>) -> Watchers<'a> {
    let mut watchers = Watchers::new();
    for event in &case.history.events {
        match &event.what {
            What::Watch(watch) => {
                let stretches = watchers.entry((watch.client, &watch.machine)).or_default();
                stretches.push(Stretch { watch: Some(watch), told: Vec::new() });
            }
            What::Watched(watched) => {
                let watcher = (watched.client, watched.event.machine.as_str());
                let stretches = watchers.entry(watcher).or_default();
                if stretches.is_empty() {
                    stretches.push(Stretch::default());
                }
                let last = stretches.last_mut().expect("one was pushed");
                last.told.push((event.at_us, watched));
            }
            _ => {}
        }
    }
    watchers
}

/// Compares every watcher with what the log emitted; `None`: nobody was told an event.
pub fn check(case: &Case<'_>) -> Option<Verdict> {
    let watchers = watchers(case);
    let stretches = watchers.values().flatten();
    let told: usize = stretches.clone().map(|stretch| stretch.told.len()).sum();
    if told == 0 {
        return None;
    }
    if case.log.entries.is_empty() {
        return Some(Verdict::unknown("the history tells no committed log"));
    }
    let wrong = watchers.iter().find_map(|((client, _), stretches)| {
        stretches.iter().find_map(|stretch| check_stretch(case, *client, stretch))
    });
    let right = || {
        let stretches = stretches.filter(|stretch| !stretch.told.is_empty()).count();
        Verdict::pass(format!("{stretches} watchers were told {told} events in order"))
    };
    Some(wrong.or_else(|| unpublished(case)).unwrap_or_else(right))
}

/// Revisions of a store that nobody was told an event of: each has at least one. Trusts no machine:
/// only what clients were told, and what the log emitted.
fn unpublished(case: &Case<'_>) -> Option<Verdict> {
    let mut told: BTreeMap<&str, BTreeMap<u64, u64>> = BTreeMap::new();
    for operation in case.operations.iter().filter(|operation| operation.is_command()) {
        // A repeated command is answered with the revision of its first place.
        let (Some(done), Some((index, _))) = (operation.done(), case.place(operation)) else {
            continue;
        };
        for fact in &done.facts {
            if let Fact::Revision { revision } = fact {
                let revisions = told.entry(&operation.invoke.machine).or_default();
                let newest = revisions.entry(index).or_default();
                *newest = (*newest).max(*revision);
            }
        }
    }
    told.into_iter().find_map(|(machine, revisions)| {
        let places: Vec<(u64, u64)> = revisions.into_iter().collect();
        let ends = places.first().zip(places.last()).map(|(first, last)| [*first, *last]);
        let pairs = places.windows(2).map(|pair| [pair[0], pair[1]]).chain(ends);
        pairs.filter_map(|pair| too_few(case, machine, pair)).next()
    })
}

/// Whether between two places in the log there were more revisions than events.
fn too_few(case: &Case<'_>, machine: &str, pair: [(u64, u64); 2]) -> Option<Verdict> {
    let [(from, before), (to, after)] = pair;
    let entries = case.log.entries.range(from..=to);
    let whole = entries.clone().count() as u64 == to - from + 1;
    if !whole || entries.clone().any(|(_, entry)| entry.tells_nothing()) {
        return None;
    }
    // Which commands of the first entry came before is not looked at: its events count too.
    let events = entries.flat_map(|(_, entry)| &entry.events);
    let published = events.filter(|event| event.machine == machine).count() as u64;
    let changed = after.saturating_sub(before);
    let says = || {
        format!(
            "{machine} went {changed} revisions on from index {from} to {to}, \
             and published {published} events"
        )
    };
    (changed > published).then(|| Verdict::fail(says(), Vec::new()))
}

/// Whether the log tells what this entry emitted.
fn is_told(case: &Case<'_>, index: u64) -> bool {
    case.log.entries.get(&index).is_some_and(|entry| !entry.tells_nothing())
}

/// Events that a watcher must have been told, from its beginning on.
fn wanted<'a>(case: &'a Case<'_>, stretch: &Stretch<'_>, machine: &str) -> Vec<(u64, &'a Emitted)> {
    let (_, first) = stretch.told[0];
    let prefix: &[u8] = stretch.watch.map_or(&[], |watch| &watch.prefix);
    let after = stretch.watch.and_then(|watch| watch.after);
    let after = after.unwrap_or(first.index.saturating_sub(1));
    let behind = case.log.entries.range(after + 1..);
    let all = behind.flat_map(|(index, entry)| entry.events.iter().map(move |e| (*index, e)));
    all.filter(|(_, event)| event.machine == machine && event.key.starts_with(prefix)).collect()
}

fn check_stretch(case: &Case<'_>, client: u64, stretch: &Stretch<'_>) -> Option<Verdict> {
    let (_, first) = stretch.told.first()?;
    let wanted = wanted(case, stretch, &first.event.machine);
    let told = stretch.told.iter().filter(|(_, told)| is_told(case, told.index));
    for (number, (at_us, told)) in told.enumerate() {
        let due = wanted.get(number);
        let same = |(index, event): &(u64, &Emitted)| *index == told.index && **event == told.event;
        if due.is_some_and(same) {
            continue;
        }
        let what = match wanted.iter().position(same) {
            Some(due) if due < number => "again, or out of order",
            Some(_) => "with a gap before it",
            None => "that nobody emitted, or that it did not ask for",
        };
        let says = format!("watcher {client} was told an event {what}, of index {}", told.index);
        let mut window = vec![format!("told at {at_us} us: {}", show(told.index, &told.event))];
        window.push(match due {
            Some((index, event)) => format!("due: {}", show(*index, event)),
            None => "due: nothing".to_owned(),
        });
        return Some(Verdict::fail(says, Vec::new()).with_window(window));
    }
    None
}

fn show(index: u64, event: &Emitted) -> String {
    let key = String::from_utf8_lossy(&event.key);
    format!("index {index}, {} {key}, {} bytes", event.machine, event.payload.len())
}
