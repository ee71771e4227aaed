//! `pgraft-check check`: all parts over one module, one after the other, and the report. Not here:
//! what the parts do.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgraft_chaos::seed::Seed;

use crate::candidate::Candidate;
use crate::faults::{self, Clusters, SCENARIOS};
use crate::operations::Operations;
use crate::project::Project;
use crate::tally::Tally;
use crate::{facts, orders, outcomes};

/// What is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The module (a component, or a core module as the compiler leaves it), or the folder of a
    /// project, which is built first.
    #[arg(default_value = ".")]
    pub project: PathBuf,
    /// What clients ask it, as templates [default: operations.toml beside the module].
    #[arg(long, value_name = "FILE.toml")]
    pub operations: Option<PathBuf>,
    /// Seeds with which each scenario is run.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub seeds: u64,
    /// Begins nothing new after about so many seconds; each part comes once at least.
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub seconds: u64,
    /// The first seed; the others follow it [default: a fresh one].
    #[arg(long)]
    pub seed: Option<Seed>,
    /// Only these parts: facts, orders, or the name of a scenario (`pgraft-chaos list`).
    #[arg(long, value_name = "PART")]
    pub only: Vec<String>,
    /// Runs in which a failed cluster is made small; 0: it is left as it is.
    #[arg(long, default_value_t = 100, value_name = "RUNS")]
    pub shrink: u64,
    /// Where the report is written [default: target/pgraft-check/NAME].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Checks a module; whether everything passed.
///
/// # Errors
/// When it cannot be tried, in words.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<bool, String> {
    let parts = Parts::of(&arguments.only)?;
    if arguments.seeds == 0 {
        return Err("--seeds 0: nothing would be run; 1 is the least".to_owned());
    }
    let told = |why: std::io::Error| format!("standard output: {why}");
    let mut tally = Tally::new(out);
    let project = Project::of(&arguments.project, &mut |line| drop(tally.say(line)))?;
    let named = arguments.operations.clone().or_else(|| project.operations());
    let operations = Operations::of(&project.module, named.as_deref())?;
    let candidate = Candidate::read(&project.module, operations.machine())?;
    let seed = arguments.seed.unwrap_or_else(Seed::fresh);
    let usual = || Path::new("target/pgraft-check").join(operations.machine());
    let folder = arguments.out.clone().unwrap_or_else(usual);
    fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let again = again(&project, &operations);
    let head = format!(
        "{} as machine {}, asked what {} says, seed {seed}",
        project.module.display(),
        operations.machine(),
        operations.path.display()
    );
    tally.say(&head).map_err(told)?;
    if parts.facts {
        tally.add(facts::check(&candidate)).map_err(told)?;
    }
    let time = Duration::from_secs(arguments.seconds);
    if parts.orders {
        let limits = orders::Limits { rounds: 2 * arguments.seeds, time: time / 4 };
        let repeat =
            format!("{again} --only {} --seed {seed} --seeds {}", orders::NAME, arguments.seeds);
        let part = orders::check(&candidate, &operations, seed, limits, repeat)?;
        tally.add(part).map_err(told)?;
    }
    if !parts.scenarios.is_empty() {
        let mut clusters = Clusters::new(&candidate, &operations, &folder, &again)?;
        let scenarios: Vec<&str> = parts.scenarios.iter().map(String::as_str).collect();
        let Arguments { seeds, shrink, .. } = *arguments;
        let limits = faults::Limits { seed, seeds, time, shrink };
        clusters.check(&scenarios, limits, &mut tally)?;
        if !clusters.outcomes.is_empty() {
            tally.add(clusters.outcomes.part()).map_err(told)?;
        }
    }
    let whole = format!("{again} --seed {seed} --seeds {}", arguments.seeds);
    let title = format!("{} {}", candidate.manifest().name, candidate.manifest().version);
    let overview = tally.overview(title, facts::list(&candidate), whole);
    let report = folder.join("report.html");
    fs::write(&report, pgraft_report::overview(&overview))
        .map_err(|why| format!("{}: {why}", report.display()))?;
    tally.say(&format!("report: {}", report.display())).map_err(told)?;
    tally.end().map_err(told)
}

/// The command that checks the module again, as far as the seed.
fn again(project: &Project, operations: &Operations) -> String {
    format!(
        "pgraft-check check {} --operations {}",
        project.module.display(),
        operations.path.display()
    )
}

/// What is looked at.
struct Parts {
    facts: bool,
    orders: bool,
    scenarios: Vec<String>,
}

impl Parts {
    fn of(only: &[String]) -> Result<Parts, String> {
        if only.is_empty() {
            let scenarios = SCENARIOS.map(str::to_owned).into();
            return Ok(Parts { facts: true, orders: true, scenarios });
        }
        let mut parts = Parts { facts: false, orders: false, scenarios: Vec::new() };
        for part in only {
            match part.as_str() {
                facts::NAME => parts.facts = true,
                orders::NAME => parts.orders = true,
                outcomes::NAME => {
                    return Err(format!("--only {part}: outcomes are those of the scenarios"));
                }
                scenario => {
                    pgraft_chaos::scenario::Scenario::find(scenario).map_err(|why| {
                        format!("--only {scenario}: neither facts nor orders, and {why}")
                    })?;
                    parts.scenarios.push(scenario.to_owned());
                }
            }
        }
        Ok(parts)
    }
}
