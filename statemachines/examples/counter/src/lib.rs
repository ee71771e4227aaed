//! The whole of a user's machine: counters with names, and an event for each change.
//!
//! The same machine stands in ../counter-c, ../counter-zig and ../counter-js, and a test compares
//! them. Not here: anything that has to do with a cluster.

use pgraft_sdk::typed::{Caller, Context, Error, Machine, Table, emit};
use serde::{Deserialize, Serialize};

/// Rejection: a counter has a name.
pub const EMPTY_NAME: u32 = 101;
/// Rejection: the name is longer than [`NAME_BYTES_MAX`].
pub const LONG_NAME: u32 = 102;
/// Bytes of a name.
pub const NAME_BYTES_MAX: usize = 64;

/// What changes a counter, in JSON `{"add":"apples"}` or `{"reset":"apples"}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Counts one more; the reply is the new count.
    Add(String),
    /// Forgets the counter; the reply is the last count.
    Reset(String),
}

/// What asks for a counter, in JSON `{"get":"apples"}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// The count, 0 when nothing was counted.
    Get(String),
}

const COUNTS: Table<String, u64> = Table::new(1);

/// The machine.
pub struct Counter;

impl Machine for Counter {
    const NAME: &'static str = "counter";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const API: &'static str = r#"commands {"add":NAME} {"reset":NAME}, query {"get":NAME}"#;
    const KEYED: bool = true;

    type Config = ();
    type Command = Command;
    type Reply = u64;
    type Query = Query;
    type Answer = u64;
    type Error = Error;

    fn apply(_ctx: &Context, _from: &Caller, command: Command) -> Result<u64, Error> {
        let (Command::Add(name) | Command::Reset(name)) = &command;
        if name.is_empty() {
            return Err(Error::new(EMPTY_NAME, "a counter has a name"));
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(Error::new(LONG_NAME, "a name has at most 64 bytes"));
        }
        match command {
            Command::Add(name) => {
                let count = COUNTS.get(&name).unwrap_or(0) + 1;
                COUNTS.put(&name, &count);
                emit(&name, &count);
                Ok(count)
            }
            Command::Reset(name) => {
                let count = COUNTS.take(&name).unwrap_or(0);
                emit(&name, &0);
                Ok(count)
            }
        }
    }

    fn query(_ctx: &Context, query: Query) -> Result<u64, Error> {
        let Query::Get(name) = query;
        Ok(COUNTS.get(&name).unwrap_or(0))
    }

    fn command_key(command: &Command) -> Option<Vec<u8>> {
        let (Command::Add(name) | Command::Reset(name)) = command;
        Some(name.clone().into_bytes())
    }

    fn query_key(query: &Query) -> Option<Vec<u8>> {
        let Query::Get(name) = query;
        Some(name.clone().into_bytes())
    }

    fn invariant(_ctx: &Context) -> Result<(), String> {
        match COUNTS.iter().find(|(_, count)| *count == 0) {
            Some((name, _)) => Err(format!("{name} is kept although nothing was counted")),
            None => Ok(()),
        }
    }
}

pgraft_sdk::export!(Counter);
