//! The program `pgraft-chaos`: runs scenarios, sweeps over seeds, makes failures small, and judges
//! histories. Not here: what the subcommands do.

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pgraft_chaos::seed::Seed;

/// Whole clusters of real nodes under simulated faults, judged by their own state machines.
///
/// Ends with 0 when everything passed, 1 when something failed or was not decided, 2 when it could
/// not be tried.
#[derive(Parser)]
#[command(name = "pgraft-chaos", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the scenarios.
    List,
    /// Runs a scenario once and judges it.
    Run(RunArguments),
    /// Runs all scenarios, or some, with one seed after the other.
    Sweep(SweepArguments),
    /// Runs a kept case again (case.json, smallest.json), or steps a recording of a node
    /// (`run --record`, `pgraft node --record`) through fresh replicas, which must give the same.
    Replay(ReplayArguments),
    /// Makes a case that fails small: fewest faults, then fewest operations.
    Shrink(ShrinkArguments),
    /// Judges a history again.
    Judge(JudgeArguments),
}

/// A machine that does not come with the program.
#[derive(clap::Args)]
struct MachineArguments {
    /// Its module: clients ask this machine, and its module is the specification.
    #[arg(long, value_name = "FILE.wasm", requires = "operations")]
    machine: Option<PathBuf>,
    /// What clients ask it, as templates (docs/CHAOS.md).
    #[arg(long, value_name = "FILE.toml", requires = "machine")]
    operations: Option<PathBuf>,
}

#[derive(clap::Args)]
struct RunArguments {
    /// Its name (see `list`).
    scenario: String,
    #[command(flatten)]
    machine: MachineArguments,
    /// The only source of chance [default: a fresh one].
    #[arg(long)]
    seed: Option<Seed>,
    /// Where the history is written while it happens.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Where the nodes' log lines are written.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Where what each node takes and gives is recorded, and replayed after the run.
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
    /// Where the HTML report is written, whatever the verdict is.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Runs in which a failure is made small; 0: it is left as it is.
    #[arg(long, default_value_t = 200, value_name = "RUNS")]
    shrink: u64,
    /// Where a folder is made for a run that failed.
    #[arg(long, default_value = "target/chaos", value_name = "FOLDER")]
    keep: PathBuf,
}

#[derive(clap::Args)]
struct SweepArguments {
    /// The scenarios; all when none is named.
    scenarios: Vec<String>,
    #[command(flatten)]
    machine: MachineArguments,
    /// Begins no new run after so many seconds.
    #[arg(long, required_unless_present = "seeds")]
    seconds: Option<u64>,
    /// Runs every scenario with so many seeds.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed; the others follow it [default: a fresh one].
    #[arg(long)]
    seed: Option<Seed>,
    /// Ends after so many failed runs.
    #[arg(long, default_value_t = 5, value_name = "RUNS")]
    failures: u64,
    /// Runs in which each failure is made small; 0: it is left as it is.
    #[arg(long, default_value_t = 50, value_name = "RUNS")]
    shrink: u64,
    /// Where a folder is made for each run that failed.
    #[arg(long, default_value = "target/chaos", value_name = "FOLDER")]
    keep: PathBuf,
}

#[derive(clap::Args)]
struct ReplayArguments {
    /// The case, or the recording.
    file: PathBuf,
    #[command(flatten)]
    machine: MachineArguments,
    /// Where the HTML report of a case is written.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(clap::Args)]
struct ShrinkArguments {
    /// The case.
    file: PathBuf,
    #[command(flatten)]
    machine: MachineArguments,
    /// Runs that it may take.
    #[arg(long, default_value_t = 1_000)]
    runs: u64,
    /// Where a folder is made for the result.
    #[arg(long, default_value = "target/chaos", value_name = "FOLDER")]
    keep: PathBuf,
}

#[derive(clap::Args)]
struct JudgeArguments {
    /// The history, one JSON line per event.
    file: PathBuf,
    #[command(flatten)]
    machine: MachineArguments,
    /// Where the HTML report is written.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Prints the judgement as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let passed = match Arguments::parse().command {
        Command::List => {
            commands::list();
            Ok(true)
        }
        Command::Run(arguments) => commands::run::run(&arguments),
        Command::Sweep(arguments) => commands::sweep::sweep(&arguments),
        Command::Replay(arguments) => commands::replay(&arguments),
        Command::Shrink(arguments) => commands::shrink(&arguments),
        Command::Judge(arguments) => commands::judge(&arguments),
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
