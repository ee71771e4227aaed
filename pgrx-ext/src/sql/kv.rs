//! The replicated key-value store: commands and queries of the machine `kv`, from any node.
//!
//! Not transactional: a put is durable on a majority when the function returns, and a ROLLBACK
//! does not take it back.

use std::fmt::Write as _;

use pgrx::prelude::*;

use pgraft_host::Rejection;
use pgraft_kv::{
    Command, DeleteRange, KEY_BYTES_MAX, Put, Query, RangeReply, RangeRequest, Reply,
    VALUE_BYTES_MAX,
};
use pgraft_node::rpc::Op;

use crate::client::ask_machine;
use crate::report::Report;
use crate::settings;
use crate::text::Text;

/// Name of the machine.
const MACHINE: &str = "kv";
/// Keys that one query for the list of keys returns: at most 1 MiB of them.
const PAGE_KEYS: i64 = 1000;

/// Writes a key. Returns true when the write is durable on a majority of the nodes.
#[pg_extern(volatile, parallel_unsafe)]
fn pgraft_kv_put(key: Option<Text>, value: Option<Text>) -> bool {
    put(key, value).unwrap_or_else(|report| report.raise())
}

/// The value of a key; NULL when there is none.
#[pg_extern(volatile, strict, parallel_restricted)]
fn pgraft_kv_get(key: Text) -> Option<Text> {
    get(&key.0).unwrap_or_else(|report| report.raise())
}

/// Deletes a key. Returns true when that is durable on a majority of the nodes, also when there
/// was no such key.
#[pg_extern(volatile, parallel_unsafe)]
fn pgraft_kv_delete(key: Option<Text>) -> bool {
    delete(key).unwrap_or_else(|report| report.raise())
}

/// Whether a key exists.
#[pg_extern(volatile, strict, parallel_restricted)]
fn pgraft_kv_exists(key: Text) -> bool {
    exists(&key.0).unwrap_or_else(|report| report.raise())
}

/// All keys in order, as a JSON array: `[ "a", "b" ]`.
#[pg_extern(volatile, parallel_restricted)]
fn pgraft_kv_list_keys() -> Text {
    list_keys().unwrap_or_else(|report| report.raise())
}

fn put(key: Option<Text>, value: Option<Text>) -> Result<bool, Report> {
    let Text(key) = key.ok_or_else(|| Report::null_argument("key"))?;
    let Text(value) = value.ok_or_else(|| {
        Report::null_argument("value").hint("Use pgraft_kv_delete to remove a key.")
    })?;
    check_key(&key)?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(Report::too_long("value", value.len(), VALUE_BYTES_MAX));
    }
    match command(&Command::Put(Put::new(key, value)))? {
        Reply::Put { .. } => Ok(true),
        other => Err(unexpected(&other)),
    }
}

fn delete(key: Option<Text>) -> Result<bool, Report> {
    let Text(key) = key.ok_or_else(|| Report::null_argument("key"))?;
    check_key(&key)?;
    match command(&Command::DeleteRange(DeleteRange::key(key)))? {
        Reply::DeleteRange { .. } => Ok(true),
        other => Err(unexpected(&other)),
    }
}

fn get(key: &str) -> Result<Option<Text>, Report> {
    check_key(key)?;
    let mut reply = range(RangeRequest::key(key))?;
    match reply.kvs.pop() {
        None => Ok(None),
        Some(pair) => match String::from_utf8(pair.value) {
            Ok(value) => Ok(Some(Text(value))),
            Err(_) => Err(Report::not_utf8()),
        },
    }
}

fn exists(key: &str) -> Result<bool, Report> {
    check_key(key)?;
    let request = RangeRequest { count_only: true, ..RangeRequest::key(key) };
    Ok(range(request)?.count > 0)
}

fn list_keys() -> Result<Text, Report> {
    let mut list = String::from("[");
    let mut request =
        RangeRequest { keys_only: true, limit: PAGE_KEYS, ..RangeRequest::prefix(b"") };
    loop {
        let reply = range(request.clone())?;
        // Later pages read the state of the first one.
        request.revision = reply.revision;
        let Some(last) = reply.kvs.last() else { break };
        // The smallest key after the last one.
        request.key = [last.key.as_slice(), b"\0"].concat();
        for pair in &reply.kvs {
            let separator = if list.len() > 1 { "," } else { "" };
            let key = serde_json::Value::from(String::from_utf8_lossy(&pair.key));
            write!(list, "{separator} {key}").expect("writing to a String cannot fail");
        }
        if !reply.more {
            break;
        }
        pgrx::check_for_interrupts!();
    }
    list.push_str(" ]");
    Ok(Text(list))
}

fn check_key(key: &str) -> Result<(), Report> {
    if key.is_empty() {
        return Err(Report::invalid("key must not be empty"));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(Report::too_long("key", key.len(), KEY_BYTES_MAX));
    }
    Ok(())
}

fn command(command: &Command) -> Result<Reply, Report> {
    let (machine, payload) = (MACHINE.to_owned(), command.encode());
    decode(&ask_machine(Op::Command { machine, payload }, refused)?)
}

fn range(request: RangeRequest) -> Result<RangeReply, Report> {
    let (machine, payload) = (MACHINE.to_owned(), Query::Range(request).encode());
    let query = Op::Query { machine, payload, stale: settings::reads_stale() };
    match decode(&ask_machine(query, refused)?)? {
        Reply::Range(reply) => Ok(reply),
        other => Err(unexpected(&other)),
    }
}

fn decode(reply: &[u8]) -> Result<Reply, Report> {
    Reply::decode(reply).map_err(Report::protocol)
}

fn unexpected(reply: &Reply) -> Report {
    Report::protocol(format!("{reply:?} does not answer the request"))
}

fn refused(rejection: &Rejection) -> Report {
    Report::rejection(rejection)
}
