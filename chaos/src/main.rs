//! The program `pgraft-chaos`: runs scenarios and judges histories.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pgraft_chaos::scenario::Scenario;
use pgraft_chaos::seed::Seed;
use pgraft_chaos::{sim, swarm};
use pgraft_judge::history::History;
use pgraft_judge::judge::{Options, judge};
use pgraft_judge::verdict::Rank;

/// Whole clusters under simulated faults.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the scenarios.
    List,
    /// Runs a scenario once and judges it.
    Run {
        /// Its name.
        scenario: String,
        /// The only source of chance.
        #[arg(long)]
        seed: Seed,
        /// Where the history goes.
        #[arg(long)]
        history: Option<PathBuf>,
    },
    /// Judges a history again.
    Judge {
        /// The file.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    match carry_out(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything passed.
fn carry_out(command: Command) -> Result<bool, String> {
    match command {
        Command::List => {
            for Scenario { name, about, .. } in Scenario::all() {
                println!("{name:18} {about}");
            }
            Ok(true)
        }
        Command::Run { scenario, seed, history } => run(&scenario, seed, history),
        Command::Judge { file } => {
            told(&History::read(&file).map_err(|error| error.to_string())?, &Options::default())
        }
    }
}

fn run(name: &str, seed: Seed, file: Option<PathBuf>) -> Result<bool, String> {
    let scenario = Scenario::find(name).map_err(|error| error.to_string())?;
    let repeat = format!("pgraft-chaos run {name} --seed {seed}");
    println!("{repeat}");
    let (plan, load) = (swarm::plan(&scenario, seed), swarm::load(&scenario, seed));
    println!("{plan}");
    let case = sim::Case {
        scenario: &scenario,
        seed,
        plan: &plan,
        load,
        commit: String::new(),
        history: file.as_deref(),
        logs: false,
        subject: None,
    };
    let outcome = sim::run(&case)?;
    let history = History { events: outcome.events, cut_short: false };
    let options = Options {
        liveness_us: scenario.phases.liveness_ms * 1000,
        sometimes: scenario.sometimes.run.clone(),
        ..Options::default()
    };
    let passed = told(&history, &options)?;
    println!("{repeat}");
    Ok(passed)
}

fn told(history: &History, options: &Options) -> Result<bool, String> {
    let judgement = judge(history, options).map_err(|error| error.to_string())?;
    println!("{judgement}");
    Ok(judgement.overall == Rank::Pass)
}
