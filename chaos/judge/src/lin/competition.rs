//! Both searches in turns, by steps and so repeatably: the first definite answer wins. Then the
//! loser gets as many steps as the winner took; if it comes to the opposite, the harness is wrong
//! and says so instead of giving a verdict. Not here: what an answer means for a run.

use std::fmt;

use super::entry::{Entry, Stuck};
use super::spec::Specification;
use super::table::{EntryOf, Table};
use super::{jit, wgl};

/// Steps of one turn.
const TURN: u64 = 1_024;
/// The share of the budget that a partition has in any case.
const LITTLE: usize = 64;

/// How much work may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Steps of each of the two searches, per partition.
    pub steps: u64,
    /// Steps of the specification, for all partitions; a WASM module takes tens of microseconds
    /// for one.
    pub computed: usize,
}

impl Default for Budget {
    /// Some seconds.
    fn default() -> Budget {
        Budget { steps: 5_000_000, computed: 1_000_000 }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} steps, {} of them computed", self.steps, self.computed)
    }
}

/// What the competition came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An order exists.
    Linearizable,
    /// None exists.
    Not(Stuck),
    /// Neither search came to an end within its budget.
    Undecided,
}

/// The two searches contradict each other: one of them is wrong, so nothing they say counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checkers disagree: WGL says {wgl:?}, JIT says {jit:?}")]
pub struct Disagreement {
    /// Whether an order exists according to [`wgl`].
    pub wgl: bool,
    /// Whether every return can be explained according to [`jit`].
    pub jit: bool,
}

/// Decides one partition.
///
/// # Errors
/// When the searches contradict each other.
pub fn compete<S: Specification>(
    spec: &S,
    entries: &[EntryOf<S>],
    budget: Budget,
) -> Result<Outcome, Disagreement> {
    Ok(competed(spec, entries, budget)?.0)
}

/// The outcome, and the steps of the specification that it took.
fn competed<S: Specification>(
    spec: &S,
    entries: &[EntryOf<S>],
    budget: Budget,
) -> Result<(Outcome, usize), Disagreement> {
    let mut table = Table::new(spec, entries);
    let (mut wgl, mut jit) = (wgl::Wgl::new(&table), jit::Jit::new(&table));
    let (mut by_wgl, mut by_jit) = (None, None);
    let mut spent = 0;
    // An end may wait for the other, but only as long again as it took itself.
    let mut limit = budget.steps;
    while spent < limit && table.computed() <= budget.computed {
        if by_wgl.is_none() {
            by_wgl = wgl.run(&mut table, TURN);
        }
        if by_jit.is_none() {
            by_jit = jit.run(&mut table, TURN);
        }
        spent += TURN;
        let jit_decided = matches!(by_jit, Some(jit::Found::Fits | jit::Found::Nothing(_)));
        match (by_wgl.is_some(), jit_decided) {
            (true, true) => break,
            (true, false) | (false, true) => limit = limit.min(2 * spent),
            (false, false) => {}
        }
    }
    Ok((verdict(by_wgl, by_jit)?, table.computed()))
}

fn verdict(
    by_wgl: Option<wgl::Found>,
    by_jit: Option<jit::Found>,
) -> Result<Outcome, Disagreement> {
    use jit::Found::{Fits, Nothing as Empty, TooMany};
    use wgl::Found::{Nothing, Order};
    match (by_wgl, by_jit) {
        (Some(Order(_)), Some(Empty(_))) => Err(Disagreement { wgl: true, jit: false }),
        (Some(Nothing(_)), Some(Fits)) => Err(Disagreement { wgl: false, jit: true }),
        // The online search stops at the very return that cannot be explained.
        (_, Some(Empty(stuck))) => Ok(Outcome::Not(stuck)),
        (Some(Nothing(stuck)), None | Some(TooMany)) => Ok(Outcome::Not(stuck)),
        (Some(Order(_)), _) | (None, Some(Fits)) => Ok(Outcome::Linearizable),
        (None, None | Some(TooMany)) => Ok(Outcome::Undecided),
    }
}

/// Decides partitions that do not depend on each other: worst first. With it comes the number of
/// the partition that it is about.
///
/// # Errors
/// When the searches contradict each other.
pub fn judge_partitions<S: Specification>(
    spec: &S,
    partitions: &[Vec<Entry<S::Operation, S::Reply>>],
    budget: Budget,
) -> Result<(Outcome, usize), Disagreement> {
    let mut worst = (Outcome::Linearizable, 0);
    let mut left = budget.computed;
    for (number, entries) in partitions.iter().enumerate() {
        // One that takes everything leaves a little for those behind it.
        let computed = left.max(budget.computed / LITTLE);
        let (outcome, took) = competed(spec, entries, Budget { computed, ..budget })?;
        left = left.saturating_sub(took);
        match outcome {
            Outcome::Not(stuck) => return Ok((Outcome::Not(stuck), number)),
            Outcome::Undecided => worst = (Outcome::Undecided, number),
            Outcome::Linearizable => {}
        }
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuck() -> Stuck {
        Stuck { at: 0, concurrent: Vec::new(), instead: Vec::new() }
    }

    #[test]
    fn a_definite_answer_wins() {
        let order = Some(wgl::Found::Order(Vec::new()));
        assert_eq!(verdict(order, Some(jit::Found::TooMany)), Ok(Outcome::Linearizable));
        assert_eq!(verdict(None, Some(jit::Found::Fits)), Ok(Outcome::Linearizable));
        let not = Ok(Outcome::Not(stuck()));
        assert_eq!(verdict(None, Some(jit::Found::Nothing(stuck()))), not);
        assert_eq!(verdict(None, Some(jit::Found::TooMany)), Ok(Outcome::Undecided));
    }

    #[test]
    fn canary_a_contradiction_is_not_a_verdict() {
        let order = Some(wgl::Found::Order(Vec::new()));
        assert!(verdict(order, Some(jit::Found::Nothing(stuck()))).is_err());
        let nothing = Some(wgl::Found::Nothing(stuck()));
        assert!(verdict(nothing, Some(jit::Found::Fits)).is_err());
    }
}
