//! The program `pgraft`: a node outside PostgreSQL, and the command line to any node.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
