//! "Sometimes" conditions: what a scenario wants to have seen. A run in which it never happened
//! shows nothing about it, so it fails. Not here: the conditions.

use std::collections::BTreeMap;

use crate::case::Case;
use crate::history::What;
use crate::verdict::Verdict;

/// Fails if one of `wanted` has no mark in the history.
pub fn check(case: &Case<'_>, wanted: &[String]) -> Verdict {
    let mut marks: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &case.history.events {
        if let What::Mark(mark) = &event.what {
            *marks.entry(&mark.name).or_default() += 1;
        }
    }
    let missing = wanted.iter().filter(|name| !marks.contains_key(name.as_str()));
    let missing: Vec<&str> = missing.map(String::as_str).collect();
    if missing.is_empty() {
        let seen = marks.iter().map(|(name, times)| format!("{name} {times}"));
        return Verdict::pass(seen.collect::<Vec<String>>().join("   "));
    }
    Verdict::fail(format!("never happened: {}", missing.join(", ")), Vec::new())
}
