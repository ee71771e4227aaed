//! A rate limiter for a whole cluster: a bucket of tokens per client, which fills with time.
//!
//! The bucket is a pair of numbers that are brought up to date when somebody takes from it; a
//! wake-up forgets the buckets that are full again. Not here: queueing whoever is refused; the
//! rejection says when to come back.

use std::fmt;

use pgraft_sdk::typed::{Caller, Context, Item, Machine, Rejection, Table, wake_at};
use serde::{Deserialize, Serialize};

/// Bytes of a client's name.
pub const NAME_BYTES_MAX: usize = 128;
/// Buckets forgotten in one wake-up.
const FORGOTTEN_MAX: usize = 1_000;

/// What all clients may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Tokens in a full bucket, at most a million.
    pub capacity: u64,
    /// Tokens that come back in a second, at most a million.
    pub per_second: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config { capacity: 10, per_second: 5 }
    }
}

/// What takes tokens. The reply is how many are left.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// All of them or none.
    Take {
        /// Whose bucket.
        client: String,
        /// How many.
        tokens: u64,
    },
}

/// What asks for a bucket.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// How many tokens there are, at the time of the last log entry.
    Left(String),
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too few tokens.
    Limited {
        /// When there will be enough, in ms from now.
        after_ms: u64,
    },
    /// More than a full bucket has.
    TooMany {
        /// A full bucket.
        capacity: u64,
    },
    /// A name that is empty or too long.
    Name {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A number of the configuration is not 1 to a million.
    Config(Config),
}

impl Rejection for Refused {
    fn code(&self) -> u32 {
        match self {
            Refused::Limited { .. } => 101,
            Refused::TooMany { .. } => 102,
            Refused::Name { .. } => 103,
            Refused::Config(_) => 104,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Limited { after_ms } => write!(f, "try again in {after_ms} ms"),
            Refused::TooMany { capacity } => write!(f, "a full bucket has {capacity} tokens"),
            Refused::Name { bytes } => {
                write!(f, "a name has 1 to {NAME_BYTES_MAX} bytes, not {bytes}")
            }
            Refused::Config(config) => write!(f, "not 1 to {NUMBER_MAX}: {config:?}"),
        }
    }
}

const NUMBER_MAX: u64 = 1_000_000;

/// What was in a bucket, in thousandths of a token, and when.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Bucket {
    milli: u64,
    at_ms: u64,
}

const CONFIG: Item<Config> = Item::new(1);
const BUCKETS: Table<String, Bucket> = Table::new(2);
/// When buckets are full again, in order.
const FULL: Table<(u64, String), ()> = Table::new(3);

/// The machine.
pub struct Limiter;

impl Machine for Limiter {
    const NAME: &'static str = "limiter";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const KEYED: bool = true;

    type Config = Config;
    type Command = Command;
    type Reply = u64;
    type Query = Query;
    type Answer = u64;
    type Error = Refused;

    fn init(_ctx: &Context, config: Config) -> Result<(), Refused> {
        let sound = |number: u64| (1..=NUMBER_MAX).contains(&number);
        if !sound(config.capacity) || !sound(config.per_second) {
            return Err(Refused::Config(config));
        }
        CONFIG.put(&config);
        Ok(())
    }

    fn apply(ctx: &Context, _from: &Caller, command: Command) -> Result<u64, Refused> {
        let Command::Take { client, tokens } = command;
        let config = config();
        if !(1..=NAME_BYTES_MAX).contains(&client.len()) {
            return Err(Refused::Name { bytes: client.len() });
        }
        if tokens > config.capacity {
            return Err(Refused::TooMany { capacity: config.capacity });
        }
        let has = left(ctx, config, &client);
        let Some(milli) = has.checked_sub(tokens * 1000) else {
            let after_ms = (tokens * 1000 - has).div_ceil(config.per_second);
            return Err(Refused::Limited { after_ms });
        };
        fill(ctx.time_ms, config, &client, milli);
        wake_at(FULL.keys(..).next().map(|(at_ms, _)| at_ms));
        Ok(milli / 1000)
    }

    fn query(ctx: &Context, query: Query) -> Result<u64, Refused> {
        let Query::Left(client) = query;
        Ok(left(ctx, config(), &client) / 1000)
    }

    fn wake(ctx: &Context) -> Result<(), Refused> {
        let due: Vec<(u64, String)> =
            FULL.keys(..(ctx.time_ms + 1, String::new())).take(FORGOTTEN_MAX).collect();
        for (at_ms, client) in due {
            BUCKETS.delete(&client);
            FULL.delete((at_ms, client));
        }
        wake_at(FULL.keys(..).next().map(|(at_ms, _)| at_ms));
        Ok(())
    }

    fn command_key(command: &Command) -> Option<Vec<u8>> {
        let Command::Take { client, .. } = command;
        Some(client.clone().into_bytes())
    }

    fn query_key(query: &Query) -> Option<Vec<u8>> {
        let Query::Left(client) = query;
        Some(client.clone().into_bytes())
    }

    fn invariant(_ctx: &Context) -> Result<(), String> {
        let Config { capacity, per_second } = config();
        let mut kept = 0;
        for (client, Bucket { milli, at_ms }) in BUCKETS.iter() {
            if milli > capacity * 1000 {
                return Err(format!("{client} has {milli} thousandths of {capacity}"));
            }
            let full_ms = at_ms + (capacity * 1000 - milli).div_ceil(per_second);
            if !FULL.has((full_ms, &client)) {
                return Err(format!("{client} is full at {full_ms}, but not in the list"));
            }
            kept += 1;
        }
        match FULL.keys(..).count() {
            listed if listed == kept => Ok(()),
            listed => Err(format!("{kept} buckets, but {listed} will be full")),
        }
    }
}

fn config() -> Config {
    CONFIG.get().expect("a machine begins with init")
}

/// Thousandths of a token in a client's bucket now.
fn left(ctx: &Context, config: Config, client: &str) -> u64 {
    let full = config.capacity * 1000;
    // A token a second is a thousandth a millisecond.
    BUCKETS.get(client).map_or(full, |Bucket { milli, at_ms }| {
        full.min(milli + ctx.time_ms.saturating_sub(at_ms).saturating_mul(config.per_second))
    })
}

fn fill(now_ms: u64, Config { capacity, per_second }: Config, client: &str, milli: u64) {
    let full_ms = |milli: u64, at_ms: u64| at_ms + (capacity * 1000 - milli).div_ceil(per_second);
    if let Some(Bucket { milli, at_ms }) = BUCKETS.get(client) {
        FULL.delete((full_ms(milli, at_ms), client));
    }
    FULL.put((full_ms(milli, now_ms), client), &());
    BUCKETS.put(client, &Bucket { milli, at_ms: now_ms });
}

pgraft_sdk::export!(Limiter);
