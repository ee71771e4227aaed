//! `pgraft member`: who is in the cluster, and who should be.

use clap::Subcommand;
use pgraft_membership::{Command as Change, Member, Query, Reply};
use pgraft_node::address::Address;
use pgraft_node::rpc::Op;
use serde_json::json;

use super::{Connection, Error};

const MACHINE: &str = "membership";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show all members.
    List {
        /// Also those who left.
        #[arg(long)]
        all: bool,
    },
    /// Add a member; it becomes a learner, catches up, and is promoted.
    Add {
        /// Its name.
        name: String,
        /// Where its peers reach it, host:port.
        address: String,
        /// Its id; without it the next free one.
        #[arg(long, default_value_t = 0)]
        id: u64,
    },
    /// Remove a member for good; its id is never used again.
    Remove {
        /// Its id.
        id: u64,
    },
    /// Make a learner a voter now.
    Promote {
        /// Its id.
        id: u64,
    },
}

pub(super) fn run(connection: &Connection, command: Command) -> Result<(), Error> {
    match command {
        Command::List { all } => list(connection, all),
        Command::Add { name, address, id } => {
            let address = Address::parse(&address).map_err(|why| {
                Error::Other(format!("address \"{address}\" is malformed: {why}"))
            })?;
            change(connection, &Change::Add { id, name, address: address.to_string() })
        }
        Command::Remove { id } => change(connection, &Change::Remove { id }),
        Command::Promote { id } => change(connection, &Change::Promote { id }),
    }
}

fn change(connection: &Connection, command: &Change) -> Result<(), Error> {
    let op = Op::Command { machine: MACHINE.to_owned(), payload: command.encode() };
    let (index, reply) = connection.ask_machine(op)?;
    let added = match Reply::decode(&reply) {
        Ok(Reply::Added { id }) => Some(id),
        _ => None,
    };
    match (connection.json, added) {
        (true, _) => println!("{}", json!({ "index": index, "id": added })),
        (false, Some(id)) => println!("added node {id}"),
        (false, None) => println!("accepted"),
    }
    Ok(())
}

fn list(connection: &Connection, all: bool) -> Result<(), Error> {
    let payload = Query::Members.encode();
    let op = Op::Query { machine: MACHINE.to_owned(), payload, stale: false };
    let (_, reply) = connection.ask_machine(op)?;
    let Ok(Reply::Members(members)) = Reply::decode(&reply) else {
        return Err(Error::Other("the membership machine answered something else".to_owned()));
    };
    let shown = members.iter().filter(|one| all || one.role != pgraft_membership::Role::Gone);
    if connection.json {
        let shown: Vec<_> = shown.map(as_json).collect();
        println!("{}", json!(shown));
        return Ok(());
    }
    println!("{:>4} {:12} {:22} role", "id", "name", "address");
    for Member { id, name, address, role, .. } in shown {
        println!("{id:>4} {name:12} {address:22} {}", role.name());
    }
    Ok(())
}

fn as_json(member: &Member) -> serde_json::Value {
    json!({
        "id": member.id,
        "name": member.name,
        "address": member.address,
        "role": member.role.name(),
    })
}
