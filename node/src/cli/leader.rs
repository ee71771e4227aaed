//! `pgraft leader`: leadership.

use clap::Subcommand;
use pgraft_node::rpc::{Answer, Op};

use super::{Connection, Error};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Hand leadership to a node, or to the best follower.
    Transfer {
        /// Id of the wanted leader.
        to: Option<u64>,
    },
}

pub(super) fn run(connection: &Connection, command: Command) -> Result<(), Error> {
    let Command::Transfer { to } = command;
    match connection.ask(Op::Transfer { to: to.unwrap_or(0) })? {
        Answer::Done if connection.json => println!("{{\"transferred\":true}}"),
        Answer::Done => println!("transferred"),
        other => return Err(Error::Other(format!("the node answered {other:?}"))),
    }
    Ok(())
}
