//! The program `pgraft-check`: what the author of a state machine needs before it is installed. Not
//! here: what the subcommands do.

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pgraft_check::{check, fresh, project, test};

/// Makes, builds, tests and checks replicated state machines.
///
/// Ends with 0 when everything passed, 1 when something failed or was not decided, 2 when it could
/// not be tried.
#[derive(Parser)]
#[command(name = "pgraft-check", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the folder of a project with a small machine that works.
    New(fresh::Arguments),
    /// Builds the module of a project.
    Build(project::Arguments),
    /// Tests a machine: the module, other hosts and the native program agree on drawn commands.
    Test(test::Arguments),
    /// Checks a module: every order of a few commands, and clusters under faults, judged by itself.
    Check(check::Arguments),
}

fn main() -> ExitCode {
    let mut out = io::stdout();
    let passed = match Arguments::parse().command {
        Command::New(arguments) => fresh::run(&arguments, &mut out),
        Command::Build(arguments) => project::run(&arguments, &mut out),
        Command::Test(arguments) => test::run(&arguments, &mut out),
        Command::Check(arguments) => check::run(&arguments, &mut out),
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
