//! Progress: a kind of operation that never succeeded was not tested, whatever the other checkers
//! say. Nothing succeeded at all: the run went nowhere, and fails. Not here: how fast.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::case::Case;
use crate::history::{Call, Invoke};
use crate::operations::End;
use crate::verdict::Verdict;

/// A kind that was tried so often must have succeeded once; rarer ones may have met a fault.
const TRIED_MIN: u64 = 10;

/// How the operations ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Carried out.
    pub ok: u64,
    /// Certainly not.
    pub failed: u64,
    /// Nobody knows.
    pub unknown: u64,
}

impl Counts {
    /// Of all operations of a history.
    pub fn of(case: &Case<'_>) -> Counts {
        let mut counts = Counts::default();
        case.operations.iter().for_each(|operation| counts.add(&operation.end));
        counts
    }

    fn add(&mut self, end: &End<'_>) {
        match end {
            End::Ok { .. } => self.ok += 1,
            End::Fail { .. } => self.failed += 1,
            End::Unknown => self.unknown += 1,
        }
    }
}

/// A kind is the machine and the first word of what the call says.
fn kind(invoke: &Invoke) -> (String, String) {
    let word = invoke.says.split_whitespace().next().unwrap_or("?");
    let stale = if invoke.call == Call::StaleQuery { "stale " } else { "" };
    (invoke.machine.clone(), format!("{stale}{word}"))
}

/// Looks for kinds without a success.
pub fn check(case: &Case<'_>) -> Verdict {
    let mut kinds: BTreeMap<(String, String), Counts> = BTreeMap::new();
    for operation in case.operations.iter() {
        kinds.entry(kind(operation.invoke)).or_default().add(&operation.end);
    }
    if case.operations.is_empty() {
        return Verdict::unknown("no operation");
    }
    if kinds.values().all(|counts| counts.ok == 0) {
        let says = format!("none of {} operations succeeded", case.operations.len());
        return Verdict::fail(says, Vec::new());
    }
    let tried = |counts: &Counts| counts.failed + counts.unknown >= TRIED_MIN;
    let never = kinds.iter().filter(|(_, counts)| counts.ok == 0 && tried(counts));
    let never: Vec<String> =
        never.map(|((machine, word), _)| format!("{machine} {word}")).collect();
    if !never.is_empty() {
        return Verdict::unknown(format!("never succeeded: {}", never.join(", ")));
    }
    let told =
        kinds.iter().map(|((machine, word), Counts { ok, .. })| format!("{machine} {word} {ok}"));
    Verdict::pass(told.collect::<Vec<String>>().join("   "))
}
