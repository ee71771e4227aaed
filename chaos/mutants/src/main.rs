//! The program `pgraft-mutants`: lists the planted bugs, and lets the verifiers look for them.

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use pgraft_mutants::bug::{self, Bug};
use pgraft_mutants::planting;
use pgraft_mutants::record::Record;
use pgraft_mutants::trial::{Laboratory, Trial};
use pgraft_mutants::workspace;

/// Planted bugs that the verifiers must find.
///
/// Ends with 0 when every bug was found and no finder failed without it, 1 otherwise, 2 when it
/// could not be tried.
#[derive(Parser)]
#[command(name = "pgraft-mutants", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the bugs and their finders.
    List,
    /// Plants the bugs, builds, and runs the finders of some or all.
    Run {
        /// Names of bugs.
        #[arg(required_unless_present = "all")]
        names: Vec<String>,
        /// All bugs.
        #[arg(long)]
        all: bool,
        /// Finders at a time; 0: one per core.
        #[arg(long, default_value_t = 0)]
        jobs: usize,
        /// Keeps the results in chaos/mutants/results.json and docs/TRACK_RECORD.md.
        #[arg(long, requires = "all")]
        record: bool,
    },
    /// Plants the bugs and builds; prints where the programs are.
    Build,
}

fn main() -> ExitCode {
    let passed = match Arguments::parse().command {
        Command::List => list(),
        Command::Run { names, all, jobs, record } => run(&names, all, jobs, record),
        Command::Build => build().map(|_| true),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}

fn bugs() -> Result<Vec<Bug>, String> {
    bug::all(&workspace::root()).map_err(|error| error.to_string())
}

fn list() -> Result<bool, String> {
    for bug in bugs()? {
        println!("{:32} {:9} {}", bug.name, bug.area, bug.command());
        println!("{:42} {}", "", bug.about.trim());
        if let Some(why) = &bug.missed {
            println!("{:42} MISSED: {why}", "");
        }
    }
    Ok(true)
}

/// Plants all bugs and builds.
fn build() -> Result<Laboratory, String> {
    let (root, begun) = (workspace::root(), Instant::now());
    let folder = root.join("target/mutants");
    let (tree, scratch) = (folder.join("tree"), folder.join("scratch"));
    for place in [&tree, &scratch] {
        std::fs::create_dir_all(place).map_err(|error| format!("{}: {error}", place.display()))?;
    }
    let bugs = bugs()?;
    planting::plant(&root, &tree, &bugs)?;
    println!("{} bugs planted in {}; building", bugs.len(), tree.display());
    let programs = planting::build(&root, &tree, &folder)?;
    println!("built in {:.0} s: {}", begun.elapsed().as_secs_f64(), programs.display());
    Ok(Laboratory::new(&programs, &scratch))
}

fn run(names: &[String], all: bool, jobs: usize, record: bool) -> Result<bool, String> {
    let known = bugs()?;
    let chosen: Vec<Bug> = match all {
        true => known.iter().filter(|bug| bug.missed.is_none()).cloned().collect(),
        false => names.iter().map(|name| find(&known, name)).collect::<Result<_, _>>()?,
    };
    let laboratory = build()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = if jobs == 0 { cores } else { jobs };
    let begun = Instant::now();
    let trials = laboratory.try_all(&chosen, jobs, tell)?;
    let missed: Vec<&Trial> = trials.iter().filter(|trial| trial.complaint.is_some()).collect();
    for bug in known.iter().filter(|bug| all && bug.missed.is_some()) {
        println!("{:32} {:9} known to be missed", bug.name, bug.area);
    }
    let (found, seconds) = (trials.len() - missed.len(), begun.elapsed().as_secs_f64());
    println!("{found} of {} bugs found in {seconds:.0} s", trials.len());
    for trial in &missed {
        println!("  {}: {}", trial.name, trial.complaint.as_deref().unwrap_or_default());
    }
    if record {
        let root = workspace::root();
        Record::new(workspace::commit(&root), &trials).write(&root, &known)?;
    }
    Ok(missed.is_empty())
}

fn find(known: &[Bug], name: &str) -> Result<Bug, String> {
    let bug = known.iter().find(|bug| bug.name == name);
    bug.cloned().ok_or_else(|| format!("no bug is called {name:?}; see `list`"))
}

fn tell(bug: &Bug, trial: &Trial) {
    let verdict = trial.complaint.as_deref().unwrap_or(&trial.says);
    let (area, seconds) = (&bug.area, trial.with.seconds);
    println!("{:32} {area:9} {seconds:5.1} s  {:44} {verdict}", bug.name, bug.command());
}
