//! Commands, queries and events of any machine, from any node.
//!
//! A command or query is JSON (as `jsonb`, or as text that is sent as it stands) or bytes, as the
//! machine understands it. Like a put it is not part of the transaction: a ROLLBACK does not take a
//! command back. The built-in machines have functions of their own, each with its own grants; here
//! they are for `pgraft_admin` only, or a grant of these functions would give all of them away.

use std::ffi::CStr;

use pgrx::prelude::*;

use pgraft_node::rpc::{Answer, Op};

use crate::client::{ask, outcome};
use crate::json::Json;
use crate::report::Report;
use crate::settings;
use crate::text::Text;

/// Who may do everything with machines.
const ADMIN: &CStr = c"pgraft_admin";
/// Machines that have functions of their own.
const BUILT_IN: [&str; 2] = ["kv", "membership"];

/// Gives a machine a command; its reply. Returns when the command is applied, durable on a majority
/// of the nodes.
#[pg_extern(volatile, parallel_unsafe, name = "pgraft_call")]
fn pgraft_call_jsonb(machine: Option<Text>, command: Option<Json>) -> Json {
    let command = command.map(|Json(text)| text);
    call_json(machine, command).unwrap_or_else(|report| report.raise())
}

/// The same where SQL does not say that the text is JSON, as with a plain literal.
#[pg_extern(volatile, parallel_unsafe, name = "pgraft_call")]
fn pgraft_call_text(machine: Option<Text>, command: Option<Text>) -> Json {
    let command = command.map(|Text(text)| text);
    call_json(machine, command).unwrap_or_else(|report| report.raise())
}

/// The same for machines that speak no JSON.
#[pg_extern(volatile, parallel_unsafe, name = "pgraft_call")]
fn pgraft_call_bytea(machine: Option<Text>, command: Option<&[u8]>) -> Vec<u8> {
    let reply = given(machine, command, "command")
        .and_then(|(machine, command)| call(&machine, command.to_vec()));
    reply.unwrap_or_else(|report| report.raise()).1
}

/// Asks a machine, without changing anything.
#[pg_extern(volatile, strict, parallel_restricted, name = "pgraft_query")]
fn pgraft_query_jsonb(machine: Text, query: Json) -> Json {
    query_json(&machine.0, query.0).unwrap_or_else(|report| report.raise())
}

/// The same where SQL does not say that the text is JSON.
#[pg_extern(volatile, strict, parallel_restricted, name = "pgraft_query")]
fn pgraft_query_text(machine: Text, query: Text) -> Json {
    query_json(&machine.0, query.0).unwrap_or_else(|report| report.raise())
}

/// The same for machines that speak no JSON.
#[pg_extern(volatile, strict, parallel_restricted, name = "pgraft_query")]
fn pgraft_query_bytea(machine: Text, query: &[u8]) -> Vec<u8> {
    ask_query(&machine.0, query.to_vec()).unwrap_or_else(|report| report.raise()).1
}

/// Events that a machine published and that are kept, oldest first, from number `since` on. To read
/// on, call it with the last number and one.
#[pg_extern(volatile, strict, parallel_restricted)]
fn pgraft_events(
    machine: Text,
    since: default!(i64, 0),
    max: default!(i32, 1000),
) -> TableIterator<
    'static,
    (name!(number, i64), name!(index, i64), name!(topic, Vec<u8>), name!(payload, Vec<u8>)),
> {
    let rows = events(&machine.0, since, max).unwrap_or_else(|report| report.raise());
    TableIterator::new(rows)
}

fn call_json(machine: Option<Text>, command: Option<String>) -> Result<Json, Report> {
    let (machine, command) = given(machine, command, "command")?;
    check_json("command", &command)?;
    let (index, reply) = call(&machine, command.into_bytes())?;
    json_of(&machine, reply).map_err(|report| {
        report.hint(format!(
            "The command was applied at index {index}. Give it as bytea to read such replies."
        ))
    })
}

fn query_json(machine: &str, query: String) -> Result<Json, Report> {
    check_json("query", &query)?;
    let (_, reply) = ask_query(machine, query.into_bytes())?;
    let hint = "Give the query as bytea to read such answers.";
    json_of(machine, reply).map_err(|report| report.hint(hint))
}

fn call(machine: &str, payload: Vec<u8>) -> Result<(u64, Vec<u8>), Report> {
    may_use(machine)?;
    let answer = ask(Op::Command { machine: machine.to_owned(), payload })?;
    outcome(answer, |rejection| Report::machine_rejection(machine, rejection))
}

fn ask_query(machine: &str, payload: Vec<u8>) -> Result<(u64, Vec<u8>), Report> {
    may_use(machine)?;
    let stale = settings::reads_stale();
    let answer = ask(Op::Query { machine: machine.to_owned(), payload, stale })?;
    outcome(answer, |rejection| Report::machine_rejection(machine, rejection))
}

type EventRow = (i64, i64, Vec<u8>, Vec<u8>);

/// All pages of them.
fn events(machine: &str, since: i64, max: i32) -> Result<Vec<EventRow>, Report> {
    may_use(machine)?;
    let wrong = |name: &str, value: i64| Report::invalid(format!("{name} is {value}, below 0"));
    let mut since = u64::try_from(since).map_err(|_| wrong("since", since))?;
    let max = usize::try_from(max).map_err(|_| wrong("max", i64::from(max)))?;
    let number = |value: u64| i64::try_from(value).expect("no counter reaches 2^63");
    let mut rows = Vec::new();
    while rows.len() < max {
        let limit = u32::try_from(max - rows.len()).expect("below 2^31");
        let page = match ask(Op::Events { machine: machine.to_owned(), since, limit })? {
            Answer::Events(page) => page,
            other => {
                outcome(other, |rejection| Report::machine_rejection(machine, rejection))?;
                return Err(Report::protocol("no events"));
            }
        };
        let Some(last) = page.last() else { break };
        since = last.number + 1;
        rows.extend(
            page.into_iter().map(|event| {
                (number(event.number), number(event.index), event.topic, event.payload)
            }),
        );
        pgrx::check_for_interrupts!();
    }
    Ok(rows)
}

fn given<T>(machine: Option<Text>, value: Option<T>, what: &str) -> Result<(String, T), Report> {
    let Text(machine) = machine.ok_or_else(|| Report::null_argument("machine"))?;
    Ok((machine, value.ok_or_else(|| Report::null_argument(what))?))
}

/// Text that the caller says is JSON, or that `jsonb` has made.
fn check_json(what: &str, text: &str) -> Result<(), Report> {
    let parsed: Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
    parsed.map(|_| ()).map_err(|error| {
        Report::new(
            PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
            format!("{what} is not JSON: {error}"),
        )
        .hint("Give bytes, where a machine takes no JSON, as bytea.")
    })
}

fn json_of(machine: &str, reply: Vec<u8>) -> Result<Json, Report> {
    let parsed: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&reply);
    if parsed.is_ok()
        && let Ok(text) = String::from_utf8(reply)
    {
        return Ok(Json(text));
    }
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
        format!("machine \"{machine}\" did not answer in JSON"),
    ))
}

/// Whether the current role may use a machine by functions that are for all machines.
fn may_use(machine: &str) -> Result<(), Report> {
    if !BUILT_IN.contains(&machine) || is_admin() {
        return Ok(());
    }
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("permission denied for the built-in machine \"{machine}\""),
    )
    .hint(
        "It has functions of its own, which can be granted. By this one pgraft_admin may use it.",
    ))
}

/// Whether the current role is a superuser, or a member of `pgraft_admin`.
fn is_admin() -> bool {
    // SAFETY: on the backend's thread inside a statement; the name ends in a zero byte.
    unsafe {
        let admin = pg_sys::get_role_oid(ADMIN.as_ptr(), true);
        pg_sys::superuser()
            || (admin != pg_sys::InvalidOid
                && pg_sys::has_privs_of_role(pg_sys::GetUserId(), admin))
    }
}
