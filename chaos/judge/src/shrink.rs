//! Makes a failing history short: ddmin (Zeller and Hildebrandt, "Simplifying and Isolating
//! Failure-Inducing Input") over the end, clients, keys and then operations.
//!
//! An operation cannot simply be cut out: without its put, a read would be wrong that was right.
//! So it is also *relaxed* to one that nobody heard of again: only what is still wrong although an
//! operation may have happened at any time, or never, does without it. Where the history tells the
//! log, relaxed operations cost nothing, and decide. Where it does not, they cost a search each, so
//! it must be wrong without them, in the same words, and must not be found right with them.
//! Not here: fewer faults (the simulation shrinks its plan by running again).

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Call, Ended, Event, History, What};
use crate::judge::{Options, judge_by};
use crate::lin::Budget;
use crate::operations::Operations;
use crate::verdict::{Rank, Verdict};

/// Judgements that shrinking may cost.
const ATTEMPTS_MAX: u32 = 600;

/// A short history that still fails.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The history.
    pub history: History,
    /// The operations that suffice.
    pub needed: Vec<u64>,
    /// What the checker says about it.
    pub verdict: Verdict,
    /// Judgements that it took.
    pub attempts: u32,
}

struct Shrinker<'a> {
    history: &'a History,
    checker: &'a str,
    options: &'a Options,
    /// What it says about the whole history.
    says: String,
    has_log: bool,
    attempts: u32,
}

/// What one attempt may cost at most: what is not decided quickly is kept.
const BUDGET: Budget = Budget { steps: 20_000, computed: 20_000 };
/// With the log no search is needed: the order of the log is broken, or it is not.
const NO_SEARCH: Budget = Budget { steps: 0, computed: 0 };

/// Shrinks a history that this checker refuses; `None`: it does not, or only a long search shows
/// it.
pub fn shrink(history: &History, checker: &str, options: &Options) -> Option<Shrunk> {
    let operations = Operations::of(history).ok()?;
    let has_log = history.events.iter().any(|event| matches!(event.what, What::Committed(_)));
    let mut shrinker =
        Shrinker { history, checker, options, says: String::new(), has_log, attempts: 0 };
    let verdict = shrinker.judged(history).filter(|verdict| verdict.rank == Rank::Fail)?;
    shrinker.says = verdict.says;
    let mut strict: Vec<u64> = operations.iter().map(|operation| operation.op()).collect();
    strict = shrinker.cut_end(strict);
    let client = |op: &u64| operations.get(*op).map(|o| o.invoke.client.to_string());
    let key = |op: &u64| operations.get(*op).map(|o| o.invoke.key.clone().unwrap_or_default());
    strict = shrinker.without_groups(&strict, key);
    strict = shrinker.without_groups(&strict, client);
    strict = shrinker.without_groups(&strict, |op| Some(op.to_string()));
    let (history, verdict) = shrinker.finish(&strict)?;
    Some(Shrunk { history, needed: strict, verdict, attempts: shrinker.attempts })
}

impl Shrinker<'_> {
    fn judged(&self, history: &History) -> Option<Verdict> {
        let budget = if self.has_log { NO_SEARCH } else { BUDGET };
        judge_by(self.checker, history, self.options, budget).ok()?
    }

    fn fails(&mut self, strict: &[u64]) -> bool {
        if self.attempts >= ATTEMPTS_MAX {
            return false;
        }
        self.attempts += 1;
        let strict = strict.iter().copied().collect();
        let relaxed = relaxed(self.history, &strict);
        let rank = || self.judged(&relaxed).map(|verdict| verdict.rank);
        if self.has_log {
            return rank() == Some(Rank::Fail);
        }
        self.same(&removed(self.history, &strict)).is_some() && rank() != Some(Rank::Pass)
    }

    /// What the checker says, if it is what it said about the whole history.
    fn same(&self, history: &History) -> Option<Verdict> {
        let verdict = self.judged(history)?;
        let same = self.says.starts_with(&verdict.says);
        (verdict.rank == Rank::Fail && same).then_some(verdict)
    }

    /// The shortest beginning that fails, by halving.
    fn cut_end(&mut self, strict: Vec<u64>) -> Vec<u64> {
        let (mut short, mut long) = (0, strict.len());
        while short + 1 < long {
            let middle = usize::midpoint(short, long);
            if self.fails(&strict[..middle]) {
                long = middle;
            } else {
                short = middle;
            }
        }
        strict[..long].to_vec()
    }

    /// Relaxes as many groups of operations as possible.
    fn without_groups(
        &mut self,
        strict: &[u64],
        group: impl Fn(&u64) -> Option<String>,
    ) -> Vec<u64> {
        let mut groups: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for op in strict {
            groups.entry(group(op).unwrap_or_default()).or_default().push(*op);
        }
        let groups: Vec<Vec<u64>> = groups.into_values().collect();
        let mut ops: Vec<u64> = self.fewest(groups).into_iter().flatten().collect();
        ops.sort_unstable();
        ops
    }

    /// ddmin: leaves out ever smaller parts.
    fn fewest(&mut self, mut groups: Vec<Vec<u64>>) -> Vec<Vec<u64>> {
        let mut size = groups.len().div_ceil(2);
        while size > 0 && groups.len() > 1 {
            let mut at = 0;
            let mut left_out = false;
            while at < groups.len() && groups.len() > 1 {
                let end = (at + size).min(groups.len());
                let rest: Vec<Vec<u64>> = [&groups[..at], &groups[end..]].concat();
                let mut ops: Vec<u64> = rest.iter().flatten().copied().collect();
                ops.sort_unstable();
                if !rest.is_empty() && self.fails(&ops) {
                    groups = rest;
                    left_out = true;
                } else {
                    at = end;
                }
            }
            if size == 1 && !left_out {
                break;
            }
            size = if size == 1 { 1 } else { size.div_ceil(2) };
        }
        groups
    }

    /// Removes what is not needed, if the checker then complains of what is left and of nothing
    /// else (a command in the log whose call is removed is nobody's); else it is kept, relaxed.
    fn finish(&self, strict: &[u64]) -> Option<(History, Verdict)> {
        let strict: BTreeSet<u64> = strict.iter().copied().collect();
        let removed = removed(self.history, &strict);
        let about = |verdict: &Verdict| {
            let ops = &verdict.operations;
            verdict.rank == Rank::Fail && !ops.is_empty() && ops.iter().all(|o| strict.contains(o))
        };
        let verdict = self.judged(&removed);
        let same = if self.has_log { verdict.filter(about) } else { self.same(&removed) };
        if let Some(verdict) = same {
            return Some((removed, verdict));
        }
        let relaxed = relaxed(self.history, &strict);
        let verdict = self.judged(&relaxed)?;
        Some((relaxed, verdict))
    }
}

/// The history in which nobody heard of any but the `strict` operations. Reads that nobody heard
/// of are gone.
fn relaxed(history: &History, strict: &BTreeSet<u64>) -> History {
    let reads: BTreeSet<u64> = history
        .events
        .iter()
        .filter_map(|event| match &event.what {
            What::Invoke(invoke) if invoke.call != Call::Command => Some(invoke.op),
            _ => None,
        })
        .collect();
    let events = history.events.iter().filter_map(|event| {
        let op = op_of(event).filter(|op| !strict.contains(op));
        let Some(op) = op else { return Some(event.clone()) };
        if reads.contains(&op) {
            return None;
        }
        Some(match &event.what {
            What::Ok(_) | What::Fail(_) => {
                let ended = Ended { op, why: "left out".to_owned() };
                Event { at_us: event.at_us, what: What::Unknown(ended) }
            }
            _ => event.clone(),
        })
    });
    History { events: events.collect(), cut_short: history.cut_short }
}

/// The history without any but the `strict` operations.
fn removed(history: &History, strict: &BTreeSet<u64>) -> History {
    let kept = |event: &&Event| op_of(event).is_none_or(|op| strict.contains(&op));
    let events = history.events.iter().filter(kept).cloned();
    History { events: events.collect(), cut_short: history.cut_short }
}

fn op_of(event: &Event) -> Option<u64> {
    match &event.what {
        What::Invoke(invoke) => Some(invoke.op),
        What::Ok(done) => Some(done.op),
        What::Fail(ended) | What::Unknown(ended) => Some(ended.op),
        _ => None,
    }
}
