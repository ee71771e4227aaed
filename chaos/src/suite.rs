//! One case from its seed to its judgement, and from there to the smallest case that still fails.
//! Not here: which cases are tried, and where the results are kept (`dossier`).

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pgraft_judge::history::{Event, History, Violation, What};
use pgraft_judge::{Judgement, Rank, shrink as shrink_history};

use crate::judging;
use crate::modules::Modules;
use crate::plan::Case;
use crate::progress::Stopwatch;
use crate::scenario::Scenario;
use crate::seed::Seed;
use crate::shrink::{Limits, shrink};
use crate::sim::Subject;
use crate::workload::Custom;
use crate::{sim, swarm, trace, tree};

/// Everything that is the same for all runs of a program.
pub struct Suite {
    modules: Modules,
    /// A machine that does not come with the program, and what clients ask it.
    subject: Option<Subject>,
    /// The words of a command that name the machine.
    pub words: String,
    /// Of the source tree.
    pub commit: String,
}

/// What is kept of a run besides its judgement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep<'a> {
    /// The history is written here while it happens.
    pub history: Option<&'a Path>,
    /// The nodes' log lines are kept.
    pub logs: bool,
    /// The folder, made when absent, where what each node takes and gives is recorded.
    pub record: Option<&'a Path>,
}

/// A case that was run and judged.
pub struct Trial {
    /// The history.
    pub history: History,
    /// What the checkers say.
    pub judgement: Judgement,
    /// Log lines of all nodes; empty unless they were to be kept.
    pub log: String,
    /// How often each interesting thing happened.
    pub marks: BTreeMap<String, u64>,
    /// Simulated time.
    pub simulated: Duration,
    /// Real time of the simulation.
    pub ran: Duration,
    /// Real time of the judgement.
    pub judged: Duration,
    /// Operations that clients invoked.
    pub operations: u64,
}

/// The smallest case found that still fails.
pub struct Smallest {
    /// The case.
    pub case: Case,
    /// Its run.
    pub trial: Trial,
    /// Operations that suffice, as far as the history can be judged without the others.
    pub operations: BTreeSet<u64>,
    /// The run as a story.
    pub story: String,
    /// Cases that were tried.
    pub runs: u64,
}

impl Suite {
    /// With the built-in modules.
    pub fn new() -> Suite {
        Suite {
            modules: Modules::built_in(),
            subject: None,
            words: String::new(),
            commit: tree::commit(),
        }
    }

    /// With one machine more, the module in the file `machine`; clients ask it, and nothing else,
    /// the `operations` of a file of templates ([`Custom`]).
    ///
    /// # Errors
    /// When one of the files is not what it should be; in words.
    pub fn with_machine(machine: &Path, operations: &Path) -> Result<Suite, String> {
        let shown = operations.display();
        let text = fs::read_to_string(operations).map_err(|why| format!("{shown}: {why}"))?;
        let templates = Custom::parse(&text).map_err(|why| format!("{shown}: {why}"))?;
        let modules = Modules::with_file(templates.machine(), machine)?;
        let words = format!(" --machine {} --operations {shown}", machine.display());
        Ok(Suite { words, ..Suite::of(modules, templates) })
    }

    /// With one machine more, which `modules` has; clients ask it, and nothing else, the operations
    /// of the templates.
    pub fn of(modules: Modules, templates: Custom) -> Suite {
        let subject = Subject {
            modules: Arc::clone(modules.carried()),
            workload: Box::new(move || Box::new(templates.clone())),
        };
        Suite { modules, subject: Some(subject), words: String::new(), commit: tree::commit() }
    }

    /// The command that repeats a run of a scenario.
    pub fn repeats(&self, scenario: &str, seed: Seed) -> String {
        format!("{} {scenario} --seed {seed}{}", self.program("run"), self.words)
    }

    /// The beginning of a command of the program.
    pub fn program(&self, command: &str) -> String {
        format!("cargo run --release -p pgraft-chaos -- {command}")
    }

    /// What the seed draws for a scenario.
    pub fn case(&self, scenario: &Scenario, seed: Seed) -> Case {
        let plan = swarm::plan(scenario, seed);
        Case { scenario: scenario.name.clone(), seed: seed.number(), plan }
    }

    /// Runs a case and judges it. A panic of a node or of the simulation is a violation.
    ///
    /// # Errors
    /// When a file cannot be written, the simulator fails, or the history makes no sense.
    pub fn run(&self, scenario: &Scenario, case: &Case, keep: Keep<'_>) -> Result<Trial, String> {
        let seed = Seed::new(case.seed);
        let simulated = |keep: Keep<'_>| {
            let simulation = sim::Case {
                scenario,
                seed,
                plan: &case.plan,
                load: swarm::load(scenario, seed),
                commit: self.commit.clone(),
                history: keep.history,
                logs: keep.logs,
                record: keep.record,
                subject: self.subject.as_ref(),
            };
            catch_unwind(AssertUnwindSafe(|| sim::run(&simulation)))
        };
        let watch = Stopwatch::start();
        let outcome = match simulated(keep) {
            Ok(outcome) => outcome?,
            Err(panic) => sim::Outcome {
                events: history_until(&what_it_said(panic.as_ref()), simulated)?,
                log: String::new(),
                marks: BTreeMap::new(),
                simulated: Duration::ZERO,
                operations: 0,
            },
        };
        let ran = watch.elapsed();
        let sim::Outcome { events, log, marks, simulated, operations } = outcome;
        let history = judging::history(events);
        let judgement = judging::judged(&history, Some(scenario), &self.modules)?;
        let judged = watch.elapsed().saturating_sub(ran);
        Ok(Trial { history, judgement, log, marks, simulated, ran, judged, operations })
    }

    /// Judges a history again.
    ///
    /// # Errors
    /// When it makes no sense, or was made with other modules.
    pub fn judge(&self, history: &History) -> Result<Judgement, String> {
        let scenario = Scenario::find(&history.run().scenario).ok();
        judging::judged(history, scenario.as_ref(), &self.modules)
    }

    /// The smallest case that the checker of `trial` still refuses, within `runs_max` runs;
    /// `told` hears of each. `None`: the trial did not fail, or not for what happened in it.
    ///
    /// # Errors
    /// As [`Suite::run`].
    pub fn shrink(
        &self,
        scenario: &Scenario,
        (case, trial): (&Case, &Trial),
        runs_max: u64,
        told: &mut dyn FnMut(u64),
    ) -> Result<Option<Smallest>, String> {
        let Some(checker) = blamed(&trial.judgement) else { return Ok(None) };
        let fails = |trial: &Trial| {
            trial.judgement.verdict(&checker).is_some_and(|verdict| verdict.rank == Rank::Fail)
        };
        let limits = Limits { runs_max, budget: Some(scenario.budget()) };
        let mut runs = 0;
        let with = |plan: &crate::plan::Plan| Case { plan: plan.clone(), ..case.clone() };
        let shrunk = shrink(&case.plan, &limits, &mut |plan| {
            runs += 1;
            told(runs);
            self.run(scenario, &with(plan), Keep::default()).is_ok_and(|trial| fails(&trial))
        });
        let Some(shrunk) = shrunk else { return Ok(None) };
        let case = with(&shrunk.plan);
        let trial = self.run(scenario, &case, Keep { logs: true, ..Keep::default() })?;
        let options = judging::options(&trial.history, Some(scenario), &self.modules)?;
        let needed = shrink_history::shrink(&trial.history, &checker, &options);
        let operations: BTreeSet<u64> = match needed {
            Some(needed) => needed.needed.into_iter().collect(),
            None => judging::blamed(&trial.judgement).into_iter().collect(),
        };
        let story = trace::story(&trial.history.events, &operations);
        Ok(Some(Smallest { case, trial, operations, story, runs }))
    }
}

impl Default for Suite {
    fn default() -> Suite {
        Suite::new()
    }
}

/// Checkers whose failure says nothing about what happened, but about what did not.
const ABOUT_NOTHING: [&str; 2] = ["sometimes", "progress"];

/// The first checker that found something which can be made small.
fn blamed(judgement: &Judgement) -> Option<String> {
    let found = judgement.verdicts.iter().find(|(name, verdict)| {
        verdict.rank == Rank::Fail && !ABOUT_NOTHING.contains(&name.as_str())
    });
    found.map(|(name, _)| name.clone())
}

/// A run that panicked has lost its history; a second one, which comes to the same end, writes it
/// to a file first.
fn history_until(
    panic: &str,
    run: impl Fn(Keep<'_>) -> std::thread::Result<Result<sim::Outcome, String>>,
) -> Result<Vec<Event>, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("temporary folder: {error}"))?;
    let file = folder.path().join("history.jsonl");
    drop(run(Keep { history: Some(&file), ..Keep::default() }));
    let mut events = History::read(&file).map_err(|error| error.to_string())?.events;
    let at_us = events.last().map_or(0, |event| event.at_us);
    let violation = Violation { of: "nothing panics".to_owned(), says: panic.to_owned() };
    events.push(Event { at_us, what: What::Violation(violation) });
    Ok(events)
}

fn what_it_said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
