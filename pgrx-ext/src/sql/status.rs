//! What a node knows about itself, from shared memory: no function here waits for anything.
//!
//! The exception is [`pgraft_get_nodes`], whose answer has no fixed size: it asks the node.

use pgrx::prelude::*;

use pgraft_membership::{Member, Query, Reply, Role};
use pgraft_node::address::Address;
use pgraft_node::rpc::Op;
use pgraft_node::status::{State, Status};

use crate::board::{Phase, board};
use crate::client::ask_machine;
use crate::report::Report;

/// The state as far as it says something about now: a worker that hangs, or was stopped and
/// continued, knows neither a leader nor its own role.
struct Present {
    status: Status,
    fresh: bool,
}

impl Present {
    fn read() -> Present {
        let board = board().unwrap_or_else(|report| report.raise());
        match board.fresh() {
            Some(status) => Present { status, fresh: true },
            None => Present { status: board.last(), fresh: false },
        }
    }

    fn is_leader(&self) -> bool {
        self.fresh && self.status.is_leader
    }

    fn leader_id(&self) -> i64 {
        if self.fresh { number(self.status.leader_id) } else { 0 }
    }

    fn state(&self) -> &'static str {
        if self.fresh { self.status.state.name() } else { stale_state() }
    }
}

fn stale_state() -> &'static str {
    match board().map(|board| board.phase()) {
        Ok(Phase::Starting) => State::Starting.name(),
        Ok(Phase::Running) => "unknown",
        Ok(Phase::Stopped | Phase::Stopping | Phase::Refused | Phase::Removed) | Err(_) => {
            State::Stopped.name()
        }
    }
}

/// SQL has no unsigned numbers; no counter of a node reaches 2^63.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn small(value: u64) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Raises the clear error when the library is not preloaded; the install script calls it, so
/// that CREATE EXTENSION fails with the way out.
#[pg_extern(volatile, parallel_safe)]
fn pgraft_assert_preloaded() {
    if let Err(report) = board() {
        report.raise();
    }
}

/// `pgraft-1.0.0`.
#[pg_extern(stable, parallel_safe)]
fn pgraft_get_version() -> &'static str {
    concat!("pgraft-", env!("CARGO_PKG_VERSION"))
}

/// Whether this node leads, confirmed by a majority within the last election timeout.
#[pg_extern(volatile, parallel_safe)]
fn pgraft_is_leader() -> bool {
    Present::read().is_leader()
}

/// Id of the leader that this node follows or is; 0 when it knows none.
#[pg_extern(volatile, parallel_safe)]
fn pgraft_get_leader() -> i64 {
    Present::read().leader_id()
}

/// The Raft term, last known.
#[pg_extern(volatile, parallel_safe)]
fn pgraft_get_term() -> i64 {
    number(Present::read().status.term)
}

/// `INITIALIZING`, `RUNNING`, `STOPPING`, `STOPPED`, `UNKNOWN` (it runs, but does not report) or
/// `ERROR` (it refused its settings).
#[pg_extern(volatile, parallel_safe)]
fn pgraft_get_worker_state() -> &'static str {
    let board = board().unwrap_or_else(|report| report.raise());
    match board.phase() {
        Phase::Running if board.fresh().is_none() => "UNKNOWN",
        Phase::Running => "RUNNING",
        Phase::Starting => "INITIALIZING",
        Phase::Stopping => "STOPPING",
        Phase::Stopped | Phase::Removed => "STOPPED",
        Phase::Refused => "ERROR",
    }
}

/// One row about this node and the cluster as it sees it.
#[pg_extern(volatile, parallel_safe)]
#[expect(clippy::type_complexity, reason = "pgrx reads the columns from this type")]
fn pgraft_get_cluster_status() -> TableIterator<
    'static,
    (
        name!(node_id, i32),
        name!(current_term, i64),
        name!(leader_id, i64),
        name!(state, &'static str),
        name!(num_nodes, i32),
        name!(messages_processed, i64),
        name!(heartbeats_sent, i64),
        name!(elections_triggered, i64),
    ),
> {
    let present = Present::read();
    let status = &present.status;
    TableIterator::once((
        small(status.node_id),
        number(status.term),
        present.leader_id(),
        present.state(),
        small(status.members),
        number(status.messages_sent),
        number(status.heartbeats_sent),
        number(status.elections_started),
    ))
}

/// One row about this node's log: entries in it, its last, committed and applied index, the index
/// up to which all reachable followers have it, and failed requests.
#[pg_extern(volatile, parallel_safe)]
#[expect(clippy::type_complexity, reason = "pgrx reads the columns from this type")]
fn pgraft_log_get_stats() -> TableIterator<
    'static,
    (
        name!(log_size, i64),
        name!(last_index, i64),
        name!(commit_index, i64),
        name!(last_applied, i64),
        name!(replicated, i64),
        name!(committed, i64),
        name!(applied, i64),
        name!(errors, i64),
    ),
> {
    TableIterator::once(log_row())
}

/// The same row under the predecessor's second name.
#[pg_extern(volatile, parallel_safe)]
#[expect(clippy::type_complexity, reason = "pgrx reads the columns from this type")]
fn pgraft_log_get_replication_status() -> TableIterator<
    'static,
    (
        name!(log_size, i64),
        name!(last_index, i64),
        name!(commit_index, i64),
        name!(last_applied, i64),
        name!(replicated, i64),
        name!(committed, i64),
        name!(applied, i64),
        name!(errors, i64),
    ),
> {
    TableIterator::once(log_row())
}

fn log_row() -> (i64, i64, i64, i64, i64, i64, i64, i64) {
    let status = Present::read().status;
    // Indexes count from 1, so an index is also the number of entries up to it.
    let size = (status.last_index + 1).saturating_sub(status.first_index.max(1));
    let (commit, applied) = (number(status.commit), number(status.applied));
    let (last, replicated) = (number(status.last_index), number(status.replicated));
    (number(size), last, commit, applied, replicated, commit, applied, number(status.errors))
}

/// All members, as this node knows them.
#[pg_extern(volatile, parallel_restricted)]
fn pgraft_get_nodes() -> TableIterator<
    'static,
    (name!(node_id, i32), name!(address, String), name!(port, i32), name!(is_leader, bool)),
> {
    let members = members().unwrap_or_else(|report| report.raise());
    let leader = Present::read().leader_id();
    let row = move |member: Member| {
        let (host, port) = match Address::parse(&member.address) {
            Ok(address) => (address.host().to_owned(), i32::from(address.port())),
            // Accepted by an older rule: better shown as it is than hidden.
            Err(_) => (member.address, 0),
        };
        (small(member.id), host, port, number(member.id) == leader)
    };
    TableIterator::new(members.into_iter().map(row))
}

fn members() -> Result<Vec<Member>, Report> {
    let (machine, payload) = ("membership".to_owned(), Query::Members.encode());
    // Always this node's own view: it must be there when the majority is not.
    let query = Op::Query { machine, payload, stale: true };
    let reply = Reply::decode(&ask_machine(query, Report::rejection)?).map_err(Report::protocol)?;
    match reply {
        Reply::Members(mut members) => {
            members.retain(|member| member.role != Role::Gone);
            Ok(members)
        }
        Reply::Done | Reply::Added { .. } => Err(Report::protocol("no member list")),
    }
}
