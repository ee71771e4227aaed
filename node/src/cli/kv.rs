//! `pgraft kv`: the key-value store.

use clap::Subcommand;
use pgraft_kv::{Command as Change, DeleteRange, Put, Query, RangeRequest, Reply};
use pgraft_node::rpc::Op;
use serde_json::{Value, json};

use super::{Connection, Error, show, txn};

const MACHINE: &str = "kv";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a key.
    Put {
        /// The key, 1 to 1024 bytes.
        key: String,
        /// The value, up to 1 MiB.
        value: String,
        /// Lease to attach to.
        #[arg(long, default_value_t = 0)]
        lease: i64,
    },
    /// Read a key; exit code 1 when it does not exist.
    Get {
        /// The key.
        key: String,
        /// Read this node's state, however old.
        #[arg(long)]
        stale: bool,
        /// Read the state after this revision.
        #[arg(long, default_value_t = 0)]
        revision: i64,
    },
    /// Delete a key, or all keys with a prefix.
    Del {
        /// The key.
        key: String,
        /// Take it as a prefix.
        #[arg(long)]
        prefix: bool,
    },
    /// List keys and values.
    Range {
        /// Only keys with this prefix; empty = all.
        #[arg(default_value = "")]
        prefix: String,
        /// At most so many; 0 = all.
        #[arg(long, default_value_t = 0)]
        limit: i64,
        /// Read the state after this revision.
        #[arg(long, default_value_t = 0)]
        revision: i64,
        /// Leave the values out.
        #[arg(long)]
        keys_only: bool,
        /// Read this node's state, however old.
        #[arg(long)]
        stale: bool,
    },
    /// Compare, then do one of two lists of operations, all at one revision.
    Txn(txn::Arguments),
}

pub(super) fn run(connection: &Connection, command: Command) -> Result<(), Error> {
    match command {
        Command::Put { key, value, lease } => {
            let put = Put { lease, ..Put::new(key, value) };
            let reply = change(connection, &Change::Put(put))?;
            print(connection, &reply)
        }
        Command::Get { key, stale, revision } => {
            let request = RangeRequest { revision, ..RangeRequest::key(key.clone()) };
            let reply = read(connection, request, stale)?;
            match &reply {
                Reply::Range(range) if range.kvs.is_empty() => {
                    Err(Error::Other(format!("key \"{key}\" does not exist")))
                }
                Reply::Range(range) if !connection.json => {
                    println!("{}", show::text(&range.kvs[0].value));
                    Ok(())
                }
                reply => print(connection, reply),
            }
        }
        Command::Del { key, prefix } => {
            let range =
                if prefix { DeleteRange::prefix(key.as_bytes()) } else { DeleteRange::key(key) };
            print(connection, &change(connection, &Change::DeleteRange(range))?)
        }
        Command::Range { prefix, limit, revision, keys_only, stale } => {
            let request = RangeRequest {
                limit,
                revision,
                keys_only,
                ..RangeRequest::prefix(prefix.as_bytes())
            };
            print(connection, &read(connection, request, stale)?)
        }
        Command::Txn(arguments) => {
            let txn = arguments.parse().map_err(Error::Other)?;
            print(connection, &change(connection, &Change::Txn(txn))?)
        }
    }
}

fn change(connection: &Connection, command: &Change) -> Result<Reply, Error> {
    let op = Op::Command { machine: MACHINE.to_owned(), payload: command.encode() };
    decode(&connection.ask_machine(op)?.1)
}

fn read(connection: &Connection, request: RangeRequest, stale: bool) -> Result<Reply, Error> {
    let payload = Query::Range(request).encode();
    decode(&connection.ask_machine(Op::Query { machine: MACHINE.to_owned(), payload, stale })?.1)
}

fn decode(reply: &[u8]) -> Result<Reply, Error> {
    Reply::decode(reply).map_err(|error| Error::Other(error.to_string()))
}

fn print(connection: &Connection, reply: &Reply) -> Result<(), Error> {
    if connection.json {
        println!("{}", as_json(reply));
    } else {
        print_plain(reply);
    }
    Ok(())
}

fn print_plain(reply: &Reply) {
    match reply {
        Reply::Put { revision, .. } => println!("OK revision {revision}"),
        Reply::DeleteRange { deleted, revision, .. } => {
            println!("deleted {deleted} revision {revision}");
        }
        Reply::Range(range) => {
            for kv in &range.kvs {
                println!("{}\t{}", show::text(&kv.key), show::text(&kv.value));
            }
            if range.more {
                println!("... {} keys in all", range.count);
            }
        }
        Reply::Txn(txn) => {
            println!("{}", if txn.succeeded { "succeeded" } else { "failed" });
            txn.responses.iter().for_each(print_plain);
        }
        other => println!("{other:?}"),
    }
}

fn as_json(reply: &Reply) -> Value {
    match reply {
        Reply::Put { revision, prev_kv } => {
            json!({ "revision": revision, "prev_kv": prev_kv.as_ref().map(show::pair) })
        }
        Reply::DeleteRange { revision, deleted, prev_kvs } => {
            let pairs: Vec<Value> = prev_kvs.iter().map(show::pair).collect();
            json!({ "revision": revision, "deleted": deleted, "prev_kvs": pairs })
        }
        Reply::Range(range) => {
            let kvs: Vec<Value> = range.kvs.iter().map(show::pair).collect();
            json!({
                "revision": range.revision, "kvs": kvs, "more": range.more, "count": range.count
            })
        }
        Reply::Txn(txn) => {
            let responses: Vec<Value> = txn.responses.iter().map(as_json).collect();
            json!({
                "revision": txn.revision, "succeeded": txn.succeeded, "responses": responses
            })
        }
        other => Value::String(format!("{other:?}")),
    }
}
