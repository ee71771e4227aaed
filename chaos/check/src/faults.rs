//! The simulation's part of a check: clusters of nodes that run the module while processes crash,
//! networks part and machines lose power, judged by the module itself. Not here: the clusters
//! (pgraft-chaos) and the judges (pgraft-judge).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use pgraft_chaos::dossier;
use pgraft_chaos::modules::Modules;
use pgraft_chaos::progress::{Stopwatch, Ticker};
use pgraft_chaos::promises::{INVARIANT, KEYS};
use pgraft_chaos::scenario::Scenario;
use pgraft_chaos::seed::Seed;
use pgraft_chaos::suite::{Keep, Smallest, Suite, Trial};
use pgraft_judge::Rank;

use crate::candidate::Candidate;
use crate::facts::grouped;
use crate::operations::Operations;
use crate::outcomes::Outcomes;
use crate::tally::{Part, Tally};

/// The scenarios, the gentlest first. Each has a cluster of three or five.
pub const SCENARIOS: [&str; 9] = [
    "quiet",
    "crashes",
    "partitions",
    "pauses",
    "power-loss",
    "mid-commit-crash",
    "snapshots",
    "clocks",
    "noisy-network",
];

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The first seed; the others follow it.
    pub seed: Seed,
    /// Seeds of each scenario.
    pub seeds: u64,
    /// No new run begins after it; each scenario is run once at least.
    pub time: Duration,
    /// Runs in which a failure is made small; 0: it is left as it is.
    pub shrink: u64,
}

/// Clusters that run one module.
pub struct Clusters<'a> {
    suite: Suite,
    machine: &'a str,
    /// The folder of the report.
    folder: &'a Path,
    /// The command that repeats a part: words before `--seed`.
    again: &'a str,
    /// What the machine said in all runs.
    pub outcomes: Outcomes,
    /// What the checkers of the module's promises said, the worst of each.
    promises: BTreeMap<&'static str, (Rank, String, u64)>,
}

/// Runs of one scenario.
#[derive(Default)]
struct Runs {
    runs: u64,
    operations: u64,
    faults: usize,
    page: Option<String>,
}

impl<'a> Clusters<'a> {
    /// Clusters for a module; pages go into `folder`.
    ///
    /// # Errors
    /// When the machine has the name of a built-in one, in words.
    pub fn new(
        candidate: &Candidate,
        operations: &'a Operations,
        folder: &'a Path,
        again: &'a str,
    ) -> Result<Clusters<'a>, String> {
        let (machine, module) = (operations.machine(), &candidate.module);
        let modules = Modules::with(machine, &module.component, &module.compiled)?;
        let suite = Suite::of(modules, operations.templates.clone());
        let (outcomes, promises) = (Outcomes::default(), BTreeMap::new());
        Ok(Clusters { suite, machine, folder, again, outcomes, promises })
    }

    /// Runs the scenarios in turn and adds a part for each, then one for each promise the module
    /// makes.
    ///
    /// # Errors
    /// When a run cannot be made, or the report cannot be written; in words.
    pub fn check(
        &mut self,
        scenarios: &[&str],
        limits: Limits,
        tally: &mut Tally<'_>,
    ) -> Result<(), String> {
        let watch = Stopwatch::start();
        for name in scenarios {
            let scenario = Scenario::find(name).map_err(|why| why.to_string())?;
            let share = limits.time.saturating_sub(watch.elapsed());
            let part = self.scenario(&scenario, limits, share)?;
            tally.add(part).map_err(|why| format!("standard output: {why}"))?;
        }
        for (name, (rank, says, runs)) in &self.promises {
            let part = Part::new(name, *rank, format!("{says}; so in {runs} runs"));
            tally.add(part).map_err(|why| format!("standard output: {why}"))?;
        }
        Ok(())
    }

    fn scenario(
        &mut self,
        scenario: &Scenario,
        limits: Limits,
        share: Duration,
    ) -> Result<Part, String> {
        let (watch, mut ticker) = (Stopwatch::start(), Ticker::new());
        let mut all = Runs::default();
        for offset in 0..limits.seeds {
            if offset > 0 && watch.elapsed() >= share {
                break;
            }
            let seed = Seed::new(limits.seed.number().wrapping_add(offset));
            ticker.tell(&format!(
                "{}: seed {seed}, run {} of {}",
                scenario.name,
                offset + 1,
                limits.seeds
            ));
            let case = self.suite.case(scenario, seed);
            let trial = self.suite.run(scenario, &case, Keep::default())?;
            self.note(&trial);
            all.runs += 1;
            all.operations += trial.operations;
            all.faults += case.plan.steps.len();
            let again = format!("{} --only {} --seed {seed} --seeds 1", self.again, scenario.name);
            if trial.judgement.overall != Rank::Pass {
                let trial =
                    self.suite.run(scenario, &case, Keep { logs: true, ..Keep::default() })?;
                let mut told = |runs: u64| {
                    ticker.tell(&format!("{}: making it small, run {runs}", scenario.name));
                };
                let smallest = match limits.shrink {
                    0 => None,
                    most => self.suite.shrink(scenario, (&case, &trial), most, &mut told)?,
                };
                ticker.end();
                return self.failed(seed, &trial, smallest.as_ref(), again);
            }
            if all.page.is_none() {
                all.page = Some(self.page(seed, &trial, again, None)?);
            }
        }
        ticker.end();
        let Runs { runs, operations, faults, page } = all;
        let operations = grouped(operations);
        let says = format!(
            "{runs} cluster{} of {}, {faults} faults, {operations} operations, judged by the \
             module",
            if runs == 1 { "" } else { "s" },
            scenario.nodes
        );
        Ok(Part { page, ..Part::pass(&scenario.name, says) })
    }

    /// Takes a run's answers, and what was said of the module's promises.
    fn note(&mut self, trial: &Trial) {
        self.outcomes.add(&trial.history, self.machine);
        for name in [INVARIANT, KEYS] {
            let Some(verdict) = trial.judgement.verdict(name) else { continue };
            let first = || (verdict.rank, verdict.says.clone(), 0);
            let known = self.promises.entry(name).or_insert_with(first);
            if verdict.rank > known.0 {
                (known.0, known.1) = (verdict.rank, verdict.says.clone());
            }
            known.2 += 1;
        }
    }

    fn failed(
        &self,
        seed: Seed,
        trial: &Trial,
        smallest: Option<&Smallest>,
        again: String,
    ) -> Result<Part, String> {
        let name = &trial.judgement.run.scenario;
        let (checker, verdict) = trial.judgement.worst().expect("a verdict was worse than a pass");
        let says = format!("seed {seed}: {checker}: {}", verdict.says);
        let story = smallest.map(dossier::trace);
        let page = self.page(seed, trial, again.clone(), story.clone())?;
        let mut detail: Vec<String> = verdict.window.clone();
        detail.extend(story.iter().flat_map(|story| story.lines()).map(str::to_owned));
        let part = Part::new(name, verdict.rank, says);
        Ok(Part { detail, repeat: Some(again), page: Some(page), ..part })
    }

    /// Writes the page of a run; its name.
    fn page(
        &self,
        seed: Seed,
        trial: &Trial,
        again: String,
        story: Option<String>,
    ) -> Result<String, String> {
        let name = format!("{}-{seed}.html", trial.judgement.run.scenario);
        let page = dossier::page(&trial.history.events, &trial.judgement, again, story);
        let file = self.folder.join(&name);
        fs::write(&file, page).map_err(|why| format!("{}: {why}", file.display()))?;
        Ok(name)
    }
}
