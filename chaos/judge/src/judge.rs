//! Puts the verdicts of all checkers on one history together, and prints them as a block that a
//! person reads from the bottom up. Not here: what any checker looks at.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::case::{Case, CaseError};
use crate::checks::linearizability::Measure;
use crate::checks::progress::Counts;
use crate::checks::{
    append, bank, divergence, durability, event_order, exactly_once, kv_revisions, leases,
    linearizability, liveness, progress, sessions, sometimes, violations,
};
use crate::history::{History, Run};
use crate::lin::Budget;
use crate::verdict::{Rank, Verdict};

/// What a judge needs to know besides the history.
pub struct Options {
    /// By name of the machine.
    pub specifications: BTreeMap<String, Box<dyn Measure>>,
    /// Steps of each search, per key.
    pub budget: Budget,
    /// After the healing, every client must have an answer within so many microseconds.
    pub liveness_us: u64,
    /// A lease may end so much later than its time, milliseconds of the log.
    pub lease_slack_ms: u64,
    /// Marks that must be in the history.
    pub sometimes: Vec<String>,
    /// Checkers of the caller, told behind all others: a replay of the log, say.
    pub more: Vec<(String, Box<dyn Check>)>,
    /// Checkers that must have had something to look at, by name; the others are left out of the
    /// judgement when they had not.
    pub required: Vec<String>,
}

impl Default for Options {
    /// No specification, 10 s to become live, leases 5 s late, nothing required.
    fn default() -> Options {
        Options {
            specifications: BTreeMap::new(),
            // With the log, a search only explains what the order of the log has decided.
            budget: Budget { computed: 200_000, ..Budget::default() },
            liveness_us: 10_000_000,
            lease_slack_ms: 5_000,
            sometimes: Vec::new(),
            more: Vec::new(),
            required: Vec::new(),
        }
    }
}

/// A checker of the caller.
pub trait Check {
    /// What it says about a history; `None`: nothing to look at.
    fn check(&self, case: &Case<'_>) -> Option<Verdict>;
}

impl<F: Fn(&Case<'_>) -> Option<Verdict>> Check for F {
    fn check(&self, case: &Case<'_>) -> Option<Verdict> {
        self(case)
    }
}

/// A checker: its name, and what it says about a history (`None`: nothing to look at).
type Checker = (&'static str, fn(&Case<'_>, &Options, Budget) -> Option<Verdict>);

/// All checkers, in the order in which they are told.
const CHECKERS: [Checker; 14] = [
    ("linearizability", |case, options, budget| {
        Some(linearizability::check(case, &options.specifications, budget))
    }),
    ("exactly once", |case, _, _| Some(exactly_once::check(case))),
    ("durability", |case, _, _| Some(durability::check(case))),
    ("divergence", |case, _, _| divergence::check(case)),
    ("violations", |case, _, _| Some(violations::check(case))),
    ("sessions", |case, _, _| sessions::check(case)),
    ("event order", |case, _, _| event_order::check(case)),
    ("revisions", |case, _, _| kv_revisions::check(case)),
    ("leases", |case, options, _| leases::check(case, options.lease_slack_ms)),
    ("append", |case, _, _| append::check(case)),
    ("bank", |case, _, _| bank::check(case)),
    ("liveness", |case, options, _| liveness::check(case, options.liveness_us)),
    ("progress", |case, _, _| Some(progress::check(case))),
    ("sometimes", |case, options, _| Some(sometimes::check(case, &options.sometimes))),
];

/// Names of all checkers.
pub fn checkers() -> impl Iterator<Item = &'static str> {
    CHECKERS.iter().map(|(name, _)| *name)
}

/// What is to be held of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// What was run.
    pub run: Run,
    /// How the operations ended.
    pub counts: Counts,
    /// Simulated microseconds.
    pub lasted_us: u64,
    /// What each checker says that had something to look at.
    pub verdicts: Vec<(String, Verdict)>,
    /// The worst of them.
    pub overall: Rank,
}

impl Judgement {
    /// What the checker with this name says.
    pub fn verdict(&self, name: &str) -> Option<&Verdict> {
        self.verdicts.iter().find(|(checker, _)| checker == name).map(|(_, verdict)| verdict)
    }

    /// The first checker with the worst verdict.
    pub fn worst(&self) -> Option<&(String, Verdict)> {
        self.verdicts.iter().find(|(_, verdict)| verdict.rank == self.overall)
    }
}

/// Lets all checkers look at a history.
///
/// # Errors
/// When the history does not make sense.
pub fn judge(history: &History, options: &Options) -> Result<Judgement, CaseError> {
    let case = Case::of(history)?;
    let names = CHECKERS
        .iter()
        .map(|(name, _)| *name)
        .chain(options.more.iter().map(|(name, _)| name.as_str()));
    let looked = names.filter_map(|name| {
        let verdict =
            look(name, &case, options, options.budget).or_else(|| nothing_seen(name, options))?;
        Some((name.to_owned(), verdict))
    });
    let verdicts: Vec<(String, Verdict)> = looked.collect();
    let overall = verdicts.iter().map(|(_, verdict)| verdict.rank).max().unwrap_or(Rank::Unknown);
    let lasted_us = history.events.last().map_or(0, |event| event.at_us);
    let run = history.run().clone();
    Ok(Judgement { run, counts: Counts::of(&case), lasted_us, verdicts, overall })
}

/// Lets one checker look, with a budget of its own; `None`: there is none of that name, or nothing
/// to look at.
///
/// # Errors
/// When the history does not make sense.
pub fn judge_by(
    name: &str,
    history: &History,
    options: &Options,
    budget: Budget,
) -> Result<Option<Verdict>, CaseError> {
    Ok(look(name, &Case::of(history)?, options, budget))
}

fn look(name: &str, case: &Case<'_>, options: &Options, budget: Budget) -> Option<Verdict> {
    if let Some((_, check)) = CHECKERS.iter().find(|(checker, _)| *checker == name) {
        return check(case, options, budget);
    }
    let (_, more) = options.more.iter().find(|(checker, _)| checker == name)?;
    more.check(case)
}

fn nothing_seen(name: &str, options: &Options) -> Option<Verdict> {
    let required = options.required.iter().any(|required| required == name);
    required.then(|| Verdict::unknown("there was nothing to look at"))
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run { scenario, seed, commit, .. } = &self.run;
        writeln!(f, "scenario {scenario}  seed {seed}  commit {commit}")?;
        let Counts { ok, failed, unknown } = self.counts;
        let all = grouped(ok + failed + unknown);
        let [ok, failed, unknown] = [ok, failed, unknown].map(grouped);
        writeln!(f, "  history {all} operations: {ok} ok, {failed} failed, {unknown} unknown")?;
        let (passed, other): (Vec<_>, Vec<_>) =
            self.verdicts.iter().partition(|(_, verdict)| verdict.rank == Rank::Pass);
        for (name, verdict) in passed.into_iter().chain(other) {
            let rank = verdict.rank.to_string().to_lowercase();
            let says = &verdict.says;
            writeln!(f, "  {}", format!("{name:<15}  {rank:<7}  {says}").trim_end())?;
            for line in &verdict.window {
                writeln!(f, "      {line}")?;
            }
        }
        let seconds = self.lasted_us as f64 / 1e6;
        write!(f, "{} ({seconds:.1} s simulated)", self.overall)
    }
}
