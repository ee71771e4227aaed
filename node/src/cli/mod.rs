//! The command line: what it understands, and how it prints.

mod bench;
mod kv;
mod leader;
mod machine;
mod member;
mod serve;
mod show;
mod status;
mod txn;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use pgraft_node::client::{Client, ClientError};
use pgraft_node::rpc::{Answer, Failure, Op};

/// Consensus for PostgreSQL: runs a node, or talks to one.
#[derive(Debug, Parser)]
#[command(name = "pgraft", version, about)]
struct Cli {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

/// Where the node is.
#[derive(Clone, Debug, Args)]
struct Connection {
    /// Unix socket of the node (its data directory's pgraft.sock).
    #[arg(long, global = true, env = "PGRAFT_SOCKET", default_value = "pgraft.sock")]
    socket: PathBuf,
    /// Milliseconds to wait for an answer.
    #[arg(long, global = true, env = "PGRAFT_TIMEOUT", default_value_t = 5000)]
    timeout: u32,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node.
    Node(Box<serve::Arguments>),
    /// Show what the node knows of itself and its peers.
    Status,
    /// Read and write the key-value store.
    #[command(subcommand)]
    Kv(kv::Command),
    /// Show and change the members.
    #[command(subcommand)]
    Member(member::Command),
    /// Write, check, install and call state machines.
    #[command(subcommand)]
    Machine(machine::Command),
    /// Leadership.
    #[command(subcommand)]
    Leader(leader::Command),
    /// Measure puts or gets.
    #[command(subcommand)]
    Bench(bench::Command),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}")]
    Failed(Failure),
    #[error("{message} (code {code})")]
    Rejected { code: u32, message: String },
    #[error("{0}")]
    Other(String),
}

/// Runs the program; the exit code is 0 for success, 1 for a failure, 2 for bad usage.
pub(crate) fn run() -> ExitCode {
    let Cli { connection, command } = Cli::parse();
    let result = match command {
        Command::Node(arguments) => serve::run(&arguments),
        Command::Status => status::run(&connection),
        Command::Kv(command) => kv::run(&connection, command),
        Command::Member(command) => member::run(&connection, command),
        Command::Machine(command) => machine::run(&connection, command),
        Command::Leader(command) => leader::run(&connection, command),
        Command::Bench(command) => bench::run(&connection, command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if connection.json => {
            println!("{}", serde_json::json!({ "error": error.to_string() }));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("pgraft: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Connection {
    fn ask(&self, op: Op) -> Result<Answer, Error> {
        self.ask_within(self.timeout, op)
    }

    /// Asks with another deadline, in milliseconds.
    fn ask_within(&self, timeout: u32, op: Op) -> Result<Answer, Error> {
        let deadline = Duration::from_millis(u64::from(timeout));
        match Client::connect(&self.socket, deadline)?.ask(op)? {
            Answer::Failed(failure) => Err(Error::Failed(failure)),
            answer => Ok(answer),
        }
    }

    /// Asks a machine; its "no" is an error here.
    fn ask_machine(&self, op: Op) -> Result<(u64, Vec<u8>), Error> {
        outcome(self.ask(op)?)
    }
}

/// What a machine answered; its "no" is an error here.
fn outcome(answer: Answer) -> Result<(u64, Vec<u8>), Error> {
    match answer {
        Answer::Outcome { index, outcome: Ok(reply) } => Ok((index, reply)),
        Answer::Outcome { outcome: Err(rejection), .. } => {
            Err(Error::Rejected { code: rejection.code, message: rejection.message })
        }
        other => Err(Error::Other(format!("the node answered {other:?}"))),
    }
}
