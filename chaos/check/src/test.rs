//! `pgraft-check test`: one module, run in every way there is on one log of drawn commands. Not
//! here: the ways.

use std::io::Write;
use std::path::PathBuf;

use pgraft_chaos::seed::Seed;

use crate::candidate::Candidate;
use crate::log::Log;
use crate::native::{self, Program};
use crate::operations::Operations;
use crate::project::Project;
use crate::tally::Tally;
use crate::{facts, hosts};

/// What is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The folder of a project, which is built first, or a module.
    #[arg(default_value = ".")]
    pub project: PathBuf,
    /// What the machine is asked, as templates [default: the project's operations.toml].
    #[arg(long, value_name = "FILE.toml")]
    pub operations: Option<PathBuf>,
    /// Entries of the log.
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub entries: u64,
    /// The only source of chance [default: a fresh one].
    #[arg(long)]
    pub seed: Option<Seed>,
}

/// Tests a module; whether everything passed.
///
/// # Errors
/// When it cannot be tried, in words.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<bool, String> {
    if arguments.entries == 0 {
        return Err("--entries 0: nothing would be run; 1 is the least".to_owned());
    }
    let told = |why: std::io::Error| format!("standard output: {why}");
    let mut tally = Tally::new(out);
    let project = Project::of(&arguments.project, &mut |line| drop(tally.say(line)))?;
    let named = arguments.operations.clone().or_else(|| project.operations());
    let operations = Operations::of(&project.module, named.as_deref())?;
    let candidate = Candidate::read(&project.module, operations.machine())?;
    let seed = arguments.seed.unwrap_or_else(Seed::fresh);
    let head = format!(
        "{} as machine {}, asked what {} says, seed {seed}",
        project.module.display(),
        operations.machine(),
        operations.path.display()
    );
    tally.say(&head).map_err(told)?;
    tally.add(facts::check(&candidate)).map_err(told)?;
    let log = Log::write(&candidate, &operations, seed, arguments.entries);
    let log = log.map_err(|why| why.to_string())?;
    let repeat = format!(
        "pgraft-check test {} --operations {} --entries {} --seed {seed}",
        arguments.project.display(),
        operations.path.display(),
        arguments.entries
    );
    match project.native() {
        Some(folder) => {
            tally.say("building the native program").map_err(told)?;
            let mut program = Program::of_project(folder)?;
            let part = native::check(&mut program, &candidate, &log, &repeat)?;
            tally.add(part).map_err(told)?;
        }
        None => tally
            .say("native             not looked at: no project with examples/native.rs")
            .map_err(told)?,
    }
    for part in hosts::check(&candidate, &log, &repeat)? {
        tally.add(part).map_err(told)?;
    }
    tally.add(log.outcomes()).map_err(told)?;
    tally.end().map_err(told)
}
