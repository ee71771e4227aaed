//! What checkers that run with the simulation found: Raft's properties after every step, and
//! whatever else writes a violation. Not here: the properties.

use crate::case::Case;
use crate::history::What;
use crate::verdict::Verdict;

/// Most violations that a verdict lists.
const LISTED_MAX: usize = 10;

/// Fails if anything was found.
pub fn check(case: &Case<'_>) -> Verdict {
    let found = case.history.events.iter().filter_map(|event| match &event.what {
        What::Violation(violation) => {
            Some(format!("{} us: {}: {}", event.at_us, violation.of, violation.says))
        }
        _ => None,
    });
    let found: Vec<String> = found.collect();
    match found.first() {
        None => Verdict::pass("none"),
        Some(first) => {
            let says = format!("{} found, first at {first}", found.len());
            let window = found.into_iter().take(LISTED_MAX).collect();
            Verdict::fail(says, Vec::new()).with_window(window)
        }
    }
}
