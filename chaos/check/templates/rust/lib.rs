//! The state machine `{{name}}`: a stock of things by name. Replace it with your own.
//!
//! Every replica runs this code on the same commands in the same order, so it may use nothing that
//! could differ: time and chance come from the context, state stands in tables, and a `static`
//! does not survive a command.

use pgraft_sdk::typed::{Caller, Context, Error, Machine, Table, emit};
use serde::{Deserialize, Serialize};

/// Rejection: there is not so much of it. Codes of your own begin at 101.
pub const NOT_ENOUGH: u32 = 101;
/// Rejection: nobody counts so far.
pub const TOO_MUCH: u32 = 102;

/// What changes the stock. In JSON: `{"put":{"what":"apples","amount":3}}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Adds to it; the reply is what is there now.
    Put { what: String, amount: u64 },
    /// Takes from it; the reply is what is left.
    Take { what: String, amount: u64 },
}

/// What asks for it. In JSON: `{"get":"apples"}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// How much is there.
    Get(String),
}

/// How much there is of each; a row that would be 0 is deleted.
const STOCK: Table<String, u64> = Table::new(1);

/// The machine.
pub struct {{Type}};

impl Machine for {{Type}} {
    const NAME: &'static str = "{{name}}";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    /// Commands on different keys do not see each other; see `command_key`.
    const KEYED: bool = true;

    type Config = ();
    type Command = Command;
    type Reply = u64;
    type Query = Query;
    type Answer = u64;
    type Error = Error;

    /// What a command does. An `Err` undoes all that it wrote.
    fn apply(_ctx: &Context, _from: &Caller, command: Command) -> Result<u64, Error> {
        let (what, left) = match command {
            Command::Put { what, amount } => {
                let there = STOCK.get(&what).unwrap_or(0);
                let sum = there.checked_add(amount);
                let sum = sum.ok_or(Error::new(TOO_MUCH, "that would be too much"))?;
                (what, sum)
            }
            Command::Take { what, amount } => {
                let there = STOCK.get(&what).unwrap_or(0);
                let left = there.checked_sub(amount);
                let left = left.ok_or(Error::new(NOT_ENOUGH, "there is not so much of it"))?;
                (what, left)
            }
        };
        match left {
            0 => {
                STOCK.delete(&what);
            }
            left => STOCK.put(&what, &left),
        }
        // Whoever watches the machine is told.
        emit(&what, &left);
        Ok(left)
    }

    /// Answers on a snapshot; it cannot change anything.
    fn query(_ctx: &Context, query: Query) -> Result<u64, Error> {
        let Query::Get(what) = query;
        Ok(STOCK.get(&what).unwrap_or(0))
    }

    /// For `pgraft machine check`: the key that a command touches.
    fn command_key(command: &Command) -> Option<Vec<u8>> {
        let (Command::Put { what, .. } | Command::Take { what, .. }) = command;
        Some(what.clone().into_bytes())
    }

    /// The same for a query.
    fn query_key(query: &Query) -> Option<Vec<u8>> {
        let Query::Get(what) = query;
        Some(what.clone().into_bytes())
    }

    /// For `pgraft machine check`: what is true after every entry, whatever was asked.
    fn invariant(_ctx: &Context) -> Result<(), String> {
        match STOCK.iter().find(|(_, amount)| *amount == 0) {
            Some((what, _)) => Err(format!("there is a row for {what}, but nothing of it")),
            None => Ok(()),
        }
    }
}

pgraft_sdk::export!({{Type}});
