//! Adding and removing nodes: commands of the membership machine, from any node.

use pgrx::prelude::*;

use pgraft_host::Rejection;
use pgraft_membership::{Command, ID_MAX, Rejection as Refused, Role};
use pgraft_node::address::Address;
use pgraft_node::rpc::Op;

use crate::client::ask_machine;
use crate::report::Report;
use crate::text::Text;

/// Adds a node as a learner; it becomes a voter by itself once it has caught up. Start it with
/// `pgraft.initial_cluster_state = 'existing'`.
///
/// Returns true when the member list has it on a majority of the nodes.
#[pg_extern(volatile, parallel_unsafe)]
fn pgraft_add_node(node_id: Option<i32>, address: Option<Text>, port: Option<i32>) -> bool {
    add(node_id, address, port).unwrap_or_else(|report| report.raise())
}

/// Removes a node for good: its id is not used again. A leader hands over first.
///
/// Returns true when the member list on a majority of the nodes says so.
#[pg_extern(volatile, parallel_unsafe)]
fn pgraft_remove_node(node_id: Option<i32>) -> bool {
    remove(node_id).unwrap_or_else(|report| report.raise())
}

fn add(node_id: Option<i32>, address: Option<Text>, port: Option<i32>) -> Result<bool, Report> {
    let id = id_of(node_id)?;
    let Text(host) = address.ok_or_else(|| Report::null_argument("address"))?;
    let port = port.ok_or_else(|| Report::null_argument("port"))?;
    // An IPv6 address may come bare, as it does from inet.
    let host =
        if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    let address = Address::parse(&format!("{host}:{port}")).map_err(|why| {
        Report::invalid(why.to_string())
            .hint("Give a host name or an IP address, and a port from 1 to 65535.")
    })?;
    let name = format!("node{id}");
    command(&Command::Add { id, name, address: address.to_string() })
}

fn remove(node_id: Option<i32>) -> Result<bool, Report> {
    command(&Command::Remove { id: id_of(node_id)? })
}

fn id_of(node_id: Option<i32>) -> Result<u64, Report> {
    let node_id = node_id.ok_or_else(|| Report::null_argument("node_id"))?;
    match u64::try_from(node_id) {
        Ok(id) if (1..=ID_MAX).contains(&id) => Ok(id),
        _ => {
            let most = ID_MAX.min(i32::MAX as u64);
            Err(Report::invalid(format!("node_id is {node_id}, allowed are 1 to {most}")))
        }
    }
}

fn command(command: &Command) -> Result<bool, Report> {
    let (machine, payload) = ("membership".to_owned(), command.encode());
    ask_machine(Op::Command { machine, payload }, refused)?;
    Ok(true)
}

/// The machine's own codes as SQLSTATEs.
fn refused(rejection: &Rejection) -> Report {
    let report = Report::rejection(rejection);
    let is = |refused: Refused| refused.code() == rejection.code;
    if is(Refused::UnknownMember(0)) || is(Refused::MemberGone(0)) {
        report.with_code(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT)
    } else if is(Refused::Id(0)) {
        // In range, as `id_of` has checked: so it was used before.
        report
            .with_code(PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT)
            .hint("An id is never used twice. Take one that no node ever had.")
    } else if is(Refused::DuplicateName(String::new(), 0))
        || is(Refused::DuplicateAddress(String::new(), 0))
    {
        report.with_code(PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT)
    } else if is(Refused::Busy(0, Role::Joining)) {
        report
            .with_code(PgSqlErrorCode::ERRCODE_OBJECT_IN_USE)
            .hint("Only one change of membership runs at a time. Try again.")
    } else if is(Refused::LastVoter(0)) {
        report.with_code(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
    } else {
        report
    }
}
