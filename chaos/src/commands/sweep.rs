//! `pgraft-chaos sweep`: scenarios in turn, each with one seed after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pgraft_chaos::progress::{Progress, Stopwatch, Ticker};
use pgraft_chaos::scenario::Scenario;
use pgraft_chaos::seed::Seed;
use pgraft_chaos::suite::{Keep, Suite, Trial};
use pgraft_judge::Rank;

use super::{keep_failure, run::with_log};
use crate::SweepArguments;

/// Runs of one scenario so far.
#[derive(Default)]
struct Tally {
    runs: u64,
    failed: Vec<Seed>,
    unknown: Vec<Seed>,
    operations: u64,
    simulated: Duration,
    marks: BTreeSet<String>,
}

struct Sweep<'a> {
    arguments: &'a SweepArguments,
    suite: Suite,
    scenarios: Vec<Scenario>,
    tallies: BTreeMap<String, Tally>,
    ticker: Ticker,
    watch: Stopwatch,
}

/// Sweeps until the time, the seeds or the patience is over.
pub(crate) fn sweep(arguments: &SweepArguments) -> Result<bool, String> {
    let scenarios = if arguments.scenarios.is_empty() {
        Scenario::all()
    } else {
        let find = |name: &String| Scenario::find(name).map_err(|error| error.to_string());
        arguments.scenarios.iter().map(find).collect::<Result<_, _>>()?
    };
    let first = arguments.seed.unwrap_or_else(Seed::fresh);
    let suite = super::suite(&arguments.machine)?;
    let repeat = format!("{}  (commit {})", repeats(arguments, &suite, first), suite.commit);
    println!("{repeat}");
    let mut sweep = Sweep {
        arguments,
        suite,
        scenarios,
        tallies: BTreeMap::new(),
        ticker: Ticker::new(),
        watch: Stopwatch::start(),
    };
    sweep.run(first)?;
    let passed = sweep.summary();
    println!("{repeat}");
    Ok(passed)
}

fn repeats(arguments: &SweepArguments, suite: &Suite, first: Seed) -> String {
    let mut text = suite.program("sweep");
    for scenario in &arguments.scenarios {
        text = format!("{text} {scenario}");
    }
    for (name, value) in [("seconds", arguments.seconds), ("seeds", arguments.seeds)] {
        if let Some(value) = value {
            text = format!("{text} --{name} {value}");
        }
    }
    format!("{text} --seed {first}{}", suite.words)
}

impl Sweep<'_> {
    fn run(&mut self, first: Seed) -> Result<(), String> {
        for round in 0.. {
            for place in 0..self.scenarios.len() {
                if self.is_over(round) {
                    self.ticker.end();
                    return Ok(());
                }
                let seed = Seed::new(first.number().wrapping_add(round));
                self.try_one(place, seed)?;
            }
        }
        Ok(())
    }

    fn is_over(&self, round: u64) -> bool {
        let seconds = self.arguments.seconds.map_or(u64::MAX, |seconds| seconds);
        let failed: usize = self.tallies.values().map(|tally| tally.failed.len()).sum();
        self.watch.elapsed() >= Duration::from_secs(seconds)
            || self.arguments.seeds.is_some_and(|seeds| round >= seeds)
            || failed as u64 >= self.arguments.failures
    }

    fn try_one(&mut self, place: usize, seed: Seed) -> Result<(), String> {
        let scenario = self.scenarios[place].clone();
        let line = self.progress(&scenario.name).to_string();
        self.ticker.tell(&line);
        let case = self.suite.case(&scenario, seed);
        let trial = self.suite.run(&scenario, &case, Keep::default())?;
        let rank = trial.judgement.overall;
        self.count(&scenario.name, seed, &trial);
        if rank == Rank::Pass {
            return Ok(());
        }
        self.ticker.end();
        println!("{}\n{}", self.suite.repeats(&scenario.name, seed), trial.judgement);
        if rank == Rank::Fail {
            let trial = with_log(&self.suite, &scenario, &case, trial)?;
            let arguments = self.arguments;
            let of = (&case, &trial);
            keep_failure(&self.suite, &scenario, of, arguments.shrink, &arguments.keep)?;
        }
        Ok(())
    }

    fn count(&mut self, scenario: &str, seed: Seed, trial: &Trial) {
        let tally = self.tallies.entry(scenario.to_owned()).or_default();
        tally.runs += 1;
        tally.operations += trial.operations;
        tally.simulated += trial.simulated;
        tally.marks.extend(trial.marks.keys().cloned());
        match trial.judgement.overall {
            Rank::Pass => {}
            Rank::Unknown => tally.unknown.push(seed),
            Rank::Fail => tally.failed.push(seed),
        }
    }

    fn progress(&self, scenario: &str) -> Progress {
        let all = || self.tallies.values();
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Progress {
            scenario: scenario.to_owned(),
            runs: all().map(|tally| tally.runs).sum(),
            runs_max: self.arguments.seeds.map(|seeds| seeds * self.scenarios.len() as u64),
            failed: all().map(|tally| tally.failed.len() as u64).sum(),
            unknown: all().map(|tally| tally.unknown.len() as u64).sum(),
            operations: all().map(|tally| tally.operations).sum(),
            simulated_ms: all().map(|tally| milliseconds(tally.simulated)).sum(),
            elapsed_ms: milliseconds(self.watch.elapsed()),
            elapsed_ms_max: self.arguments.seconds.map(|seconds| seconds * 1000),
        }
    }

    /// Prints what came of each scenario; whether everything passed.
    fn summary(&self) -> bool {
        let mut passed = true;
        println!("{:18} {:>5} {:>6} {:>7}", "scenario", "runs", "failed", "unknown");
        for scenario in &self.scenarios {
            let Some(tally) = self.tallies.get(&scenario.name) else { continue };
            let Tally { runs, failed, unknown, .. } = tally;
            println!("{:18} {runs:>5} {:>6} {:>7}", scenario.name, failed.len(), unknown.len());
            for (seeds, word) in [(failed, "failed"), (unknown, "unknown")] {
                for seed in seeds {
                    println!("    {word}: {}", self.suite.repeats(&scenario.name, *seed));
                }
            }
            let wanted = scenario.sometimes.sweep.iter();
            let never: Vec<&String> = wanted.filter(|mark| !tally.marks.contains(*mark)).collect();
            if *runs >= scenario.sometimes.sweep_runs && !never.is_empty() {
                println!("    never happened in {runs} runs: {never:?}");
                passed = false;
            }
            passed &= failed.is_empty() && unknown.is_empty();
        }
        println!("{}", self.progress("all"));
        passed
    }
}
