//! Makes a failing plan small: fewest faults first, then fewest clients and operations, then
//! shorter times. What is left is what a person has to understand. Deterministic, and never more
//! runs than allowed. Not here: running a plan, and making a history small.

use std::collections::BTreeSet;

use crate::plan::budget::Budget;
use crate::plan::{Plan, Step};

/// How far to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Plans that are tried at most.
    pub runs_max: u64,
    /// What a plan may destroy. Without an added node a removal may be too much, and the smaller
    /// plan would fail for another reason; such plans are not tried.
    pub budget: Option<Budget>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrunk {
    /// The smallest plan that still failed.
    pub plan: Plan,
    /// Plans that were tried.
    pub runs: u64,
    /// Whether nothing smaller was left to try; else the runs were used up.
    pub done: bool,
}

/// The smallest plan found that `fails`; `None` when `plan` itself does not.
pub fn shrink(
    plan: &Plan,
    limits: &Limits,
    fails: &mut dyn FnMut(&Plan) -> bool,
) -> Option<Shrunk> {
    let tried = BTreeSet::new();
    let mut search = Search { best: plan.clone(), limits, tried, runs: 0, fails };
    if !search.run(plan) {
        return None;
    }
    loop {
        let before = search.best.clone();
        search.fewer_steps();
        search.fewer_clients();
        search.fewer_operations();
        search.shorter_steps();
        search.earlier_steps();
        search.shorter_phase();
        if search.is_over() || search.best == before {
            let (runs, done) = (search.runs, !search.is_over());
            return Some(Shrunk { plan: search.best, runs, done });
        }
    }
}

struct Search<'a> {
    /// The smallest so far; it failed.
    best: Plan,
    limits: &'a Limits,
    /// Plans that did not fail or were never run: not worth a second try.
    tried: BTreeSet<String>,
    runs: u64,
    fails: &'a mut dyn FnMut(&Plan) -> bool,
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        self.runs >= self.limits.runs_max
    }

    fn run(&mut self, plan: &Plan) -> bool {
        self.runs += 1;
        (self.fails)(plan)
    }

    /// Takes `plan` for the best if it fails, too.
    fn take(&mut self, plan: Plan) -> bool {
        if plan == self.best {
            return true;
        }
        let forbidden = |budget: &Budget| budget.check(&plan).is_err();
        let is_wrong = plan.check().is_err() || self.limits.budget.as_ref().is_some_and(forbidden);
        if self.is_over() || is_wrong || !self.tried.insert(plan.to_json()) || !self.run(&plan) {
            return false;
        }
        self.best = plan;
        true
    }

    /// Delta debugging (Zeller, Hildebrandt 2002): leaves out ever smaller parts.
    fn fewer_steps(&mut self) {
        if !self.best.steps.is_empty() {
            self.take(Plan { steps: Vec::new(), ..self.best.clone() });
        }
        let mut parts = 2;
        while !self.best.steps.is_empty() && !self.is_over() {
            let count = self.best.steps.len();
            let size = count.div_ceil(parts);
            let smaller = (0..count).step_by(size).any(|from| {
                let without = |(place, step): (usize, &Step)| {
                    (place < from || place >= from + size).then(|| step.clone())
                };
                let steps = self.best.steps.iter().enumerate().filter_map(without).collect();
                self.take(Plan { steps, ..self.best.clone() })
            });
            match smaller {
                true => parts = (parts - 1).max(2),
                false if size == 1 => return,
                false => parts = (2 * parts).min(count),
            }
        }
    }

    fn fewer_clients(&mut self) {
        self.least(1, |plan| plan.clients, |plan, clients| plan.clients = clients);
    }

    fn fewer_operations(&mut self) {
        self.least(1, |plan| plan.operations, |plan, operations| plan.operations = operations);
    }

    fn shorter_steps(&mut self) {
        for place in 0..self.best.steps.len() {
            self.least(
                0,
                |plan| plan.steps[place].for_ms,
                |plan, for_ms| plan.steps[place].for_ms = for_ms,
            );
        }
    }

    /// Moves each step and all behind it nearer to what comes before.
    fn earlier_steps(&mut self) {
        for place in 0..self.best.steps.len() {
            let floor = place.checked_sub(1).map_or(0, |before| self.best.steps[before].at_ms);
            self.least(
                floor,
                |plan| plan.steps[place].at_ms,
                |plan, at_ms| {
                    let by_ms = plan.steps[place].at_ms - at_ms;
                    plan.steps[place..].iter_mut().for_each(|step| step.at_ms -= by_ms);
                },
            );
        }
    }

    /// Not below the end of the last fault: the phase ends healed.
    fn shorter_phase(&mut self) {
        let floor = self.best.steps.iter().map(Step::ends_ms).max().unwrap_or(0).max(1);
        self.least(floor, |plan| plan.safety_ms, |plan, safety_ms| plan.safety_ms = safety_ms);
    }

    /// The smallest number that still fails, as far as halving finds it.
    fn least(&mut self, floor: u64, get: impl Fn(&Plan) -> u64, set: impl Fn(&mut Plan, u64)) {
        let mut low = floor;
        let mut candidate = floor;
        while low < get(&self.best) && !self.is_over() {
            let mut plan = self.best.clone();
            set(&mut plan, candidate);
            if !self.take(plan) {
                low = candidate + 1;
            }
            candidate = low + get(&self.best).saturating_sub(low) / 2;
        }
    }
}

#[cfg(test)]
mod tests;
