//! The program `pgraft-model`: lists the models, checks one, or shows one in a browser.
//!
//! What the models are about is in the library.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use pgraft_model::bounds::{Bounds, Search};
use pgraft_model::catalogue::{self, Entry};
use pgraft_model::machine::{self, file::MachineFile};
use pgraft_model::recording;
use pgraft_model::report::{End, Expected, Report};

/// The shipped driver and store under a model checker.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Says which models there are, with the bounds they have unless told otherwise.
    List,
    /// Checks models, and fails when a property is violated or something never happened.
    Check {
        /// Names of models, or `all`.
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        limits: Limits,
        /// Keeps the report in model/results/.
        #[arg(long)]
        record: bool,
    },
    /// Checks a machine out of a file: every order of a few commands of its clients, on four hosts.
    ///
    /// For example: pgraft-model machine counter.wasm --client a,b --client a
    Machine {
        #[command(flatten)]
        machine: MachineFile,
        #[command(flatten)]
        limits: Limits,
        /// Keeps the report in model/results/.
        #[arg(long)]
        record: bool,
    },
    /// Serves stateright's Explorer for one model and prints its address.
    Explore {
        /// Name of a model.
        name: String,
        #[command(flatten)]
        limits: Limits,
        /// Where to listen; port 0 is any free one.
        #[arg(long, default_value = "127.0.0.1:0")]
        address: SocketAddr,
    },
}

/// What replaces a model's own bounds.
#[derive(Args)]
struct Limits {
    /// Nodes of the modelled cluster.
    #[arg(long)]
    servers: Option<usize>,
    /// Actions from the beginning to the last state that is looked at; 0 is without end.
    #[arg(long)]
    depth: Option<usize>,
    /// Generated states after which the run ends.
    #[arg(long)]
    states: Option<usize>,
    /// Seconds after which the run ends.
    #[arg(long)]
    seconds: Option<u64>,
    /// Threads that search; only one finds the shortest paths.
    #[arg(long)]
    threads: Option<usize>,
    /// Random walks from this seed instead of breadth first; ends with --states or --seconds.
    #[arg(long, value_name = "SEED")]
    walks: Option<u64>,
}

impl Limits {
    fn over(&self, small: &Bounds) -> Bounds {
        let depth = match self.depth {
            None => small.depth,
            Some(0) => None,
            some => some,
        };
        Bounds {
            servers: self.servers.unwrap_or(small.servers),
            depth,
            // More time or another order is asked for to see more states.
            states: self.states.or(small.states.filter(|_| self.seconds.is_none())),
            seconds: self.seconds.unwrap_or(small.seconds),
            threads: self.threads.unwrap_or(small.threads),
            search: self.walks.map_or(small.search, |seed| Search::Walks { seed }),
        }
    }
}

fn main() -> ExitCode {
    match carry_out(Arguments::parse().command) {
        Ok(code) => code,
        Err(what) => {
            eprintln!("error: {what}");
            ExitCode::from(2)
        }
    }
}

fn carry_out(command: Command) -> Result<ExitCode, String> {
    match command {
        Command::List => {
            for Entry { name, about, small, expected, .. } in catalogue::entries() {
                let depth = small.depth.map_or("none".to_owned(), |depth| depth.to_string());
                println!("{name:<28} {about}");
                println!("{:28} servers {}, depth {depth}{}", "", small.servers, canary(expected));
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { names, limits, record } => check(&names, &limits, record),
        Command::Machine { machine, limits, record } => {
            let (name, subject) = (machine.name()?, machine.subject()?);
            let bounds = limits.over(&Bounds::everything(machine.clients()?.len()));
            let report = machine::check(&format!("machine-{name}"), subject, &bounds);
            Ok(tell(&report, Expected::Holds, record))
        }
        Command::Explore { name, limits, address } => {
            let entry = catalogue::find(&name)?;
            (entry.explore)(&limits.over(&entry.small), address);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn canary(expected: Expected) -> String {
    match expected {
        Expected::Holds => String::new(),
        Expected::Refuted(property) => format!("; a canary, must violate {property:?}"),
    }
}

fn check(names: &[String], limits: &Limits, record: bool) -> Result<ExitCode, String> {
    let entries: Vec<Entry> = match names {
        [all] if all == "all" => catalogue::entries(),
        names => names.iter().map(|name| catalogue::find(name)).collect::<Result<_, _>>()?,
    };
    let mut code = ExitCode::SUCCESS;
    for entry in entries {
        let report: Report = (entry.check)(&limits.over(&entry.small));
        let told = tell(&report, entry.expected, record);
        if told != ExitCode::SUCCESS {
            code = told;
        }
    }
    Ok(code)
}

/// Prints what a run came to, and keeps it if it is to be kept.
fn tell(report: &Report, expected: Expected, record: bool) -> ExitCode {
    print!("{report}");
    let verdict = report.verdict(expected);
    match &verdict {
        Ok(()) if report.end == End::Refuted => println!("  PASSED: refuted, as it must be"),
        Ok(()) if report.finished() => println!("  PASSED"),
        Ok(()) => println!("  PASSED as far as it went: {} states", report.generated),
        // The path is above.
        Err(what) => println!("  FAILED: {}", what.lines().next().unwrap_or_default()),
    }
    let mut is_kept = true;
    if record {
        match recording::record(report, &recording::folder()) {
            Ok(path) => println!("  written to {}", path.display()),
            Err(error) => {
                eprintln!("error: {error}");
                is_kept = false;
            }
        }
    }
    if verdict.is_ok() && is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
