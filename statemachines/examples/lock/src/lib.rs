//! Locks with a deadline and a fencing token.
//!
//! A lock that is not renewed in time falls to the next who asks. Its old holder may not know yet,
//! so each time a lock is taken its token grows, and whatever the lock guards refuses a token
//! smaller than the last it saw. Not here: waiting in line; whoever is refused watches the lock's
//! events and asks again.

use std::fmt;

use pgraft_sdk::typed::{Caller, Context, Machine, Rejection, Table, emit, wake_at};
use serde::{Deserialize, Serialize};

/// Bytes of a lock's or an owner's name.
pub const NAME_BYTES_MAX: usize = 128;
/// Milliseconds for which a lock can be held without being renewed.
pub const TTL_MS_MAX: u64 = 86_400_000;

/// What changes a lock. The reply is its fencing token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Takes a lock that is free; for its owner, the same as renewing it.
    Acquire {
        /// The lock.
        name: String,
        /// Who takes it.
        owner: String,
        /// For how long.
        ttl_ms: u64,
    },
    /// Holds it for longer.
    Renew {
        /// The lock.
        name: String,
        /// What acquiring it told.
        token: u64,
        /// For how long from now.
        ttl_ms: u64,
    },
    /// Gives it back.
    Release {
        /// The lock.
        name: String,
        /// What acquiring it told.
        token: u64,
    },
}

/// What asks for a lock.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// Who holds it, if anybody does.
    Holder(String),
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who took it.
    pub owner: String,
    /// Its token.
    pub token: u64,
    /// Until when, in unix ms; not included.
    pub until_ms: u64,
}

/// An event about a lock; its topic is the lock's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Somebody took it.
    Acquired(Holder),
    /// Its holder gave it back.
    Released,
    /// Its time was over.
    Expired,
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another holds the lock.
    Held(Holder),
    /// The lock is not held under that token (any more).
    NotHeld {
        /// The token that was given.
        token: u64,
    },
    /// A name that is empty or too long.
    Name {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A time of 0, or too long.
    Ttl {
        /// The time.
        ms: u64,
    },
}

impl Rejection for Refused {
    fn code(&self) -> u32 {
        match self {
            Refused::Held(_) => 101,
            Refused::NotHeld { .. } => 102,
            Refused::Name { .. } => 103,
            Refused::Ttl { .. } => 104,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Held(Holder { owner, until_ms, .. }) => {
                write!(f, "{owner} holds it until {until_ms}")
            }
            Refused::NotHeld { token } => write!(f, "it is not held under token {token}"),
            Refused::Name { bytes } => {
                write!(f, "a name has 1 to {NAME_BYTES_MAX} bytes, not {bytes}")
            }
            Refused::Ttl { ms } => write!(f, "a time is 1 to {TTL_MS_MAX} ms, not {ms}"),
        }
    }
}

/// A lock's row. It stays when the lock is given back: tokens must never repeat.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    token: u64,
    holder: Option<(String, u64)>,
}

const LOCKS: Table<String, Row> = Table::new(1);
/// When locks that are held expire, in order.
const DEADLINES: Table<(u64, String), ()> = Table::new(2);

/// The machine.
pub struct Lock;

impl Machine for Lock {
    const NAME: &'static str = "lock";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const KEYED: bool = true;

    type Config = ();
    type Command = Command;
    type Reply = u64;
    type Query = Query;
    type Answer = Option<Holder>;
    type Error = Refused;

    fn apply(ctx: &Context, _from: &Caller, command: Command) -> Result<u64, Refused> {
        let token = match command {
            Command::Acquire { name, owner, ttl_ms } => acquire(ctx, name, owner, ttl_ms)?,
            Command::Renew { name, token, ttl_ms } => {
                let Holder { owner, .. } = held_under(ctx, &name, token)?;
                hold(&name, token, owner, deadline(ctx, ttl_ms)?);
                token
            }
            Command::Release { name, token } => {
                held_under(ctx, &name, token)?;
                free(&name);
                emit(&name, &Event::Released);
                token
            }
        };
        set_alarm();
        Ok(token)
    }

    fn query(ctx: &Context, query: Query) -> Result<Option<Holder>, Refused> {
        let Query::Holder(name) = query;
        Ok(holder(ctx, &name))
    }

    fn wake(ctx: &Context) -> Result<(), Refused> {
        let due: Vec<(u64, String)> = DEADLINES.keys(..(ctx.time_ms + 1, String::new())).collect();
        for (_, name) in due {
            free(&name);
            emit(&name, &Event::Expired);
        }
        set_alarm();
        Ok(())
    }

    fn command_key(command: &Command) -> Option<Vec<u8>> {
        let (Command::Acquire { name, .. }
        | Command::Renew { name, .. }
        | Command::Release { name, .. }) = command;
        Some(name.clone().into_bytes())
    }

    fn query_key(query: &Query) -> Option<Vec<u8>> {
        let Query::Holder(name) = query;
        Some(name.clone().into_bytes())
    }

    fn invariant(_ctx: &Context) -> Result<(), String> {
        let mut held = 0;
        for (name, Row { token, holder }) in LOCKS.iter() {
            if token == 0 {
                return Err(format!("{name} has a row, but was never taken"));
            }
            let Some((_, until_ms)) = holder else { continue };
            held += 1;
            if !DEADLINES.has((until_ms, &name)) {
                return Err(format!("{name} is held until {until_ms}, but would never expire"));
            }
        }
        match DEADLINES.keys(..).count() {
            deadlines if deadlines == held => Ok(()),
            deadlines => Err(format!("{held} locks are held, {deadlines} will expire")),
        }
    }
}

fn acquire(ctx: &Context, name: String, owner: String, ttl_ms: u64) -> Result<u64, Refused> {
    for text in [&name, &owner] {
        if !(1..=NAME_BYTES_MAX).contains(&text.len()) {
            return Err(Refused::Name { bytes: text.len() });
        }
    }
    let until_ms = deadline(ctx, ttl_ms)?;
    match holder(ctx, &name) {
        Some(held) if held.owner != owner => Err(Refused::Held(held)),
        Some(held) => {
            hold(&name, held.token, owner, until_ms);
            Ok(held.token)
        }
        None => {
            let token = LOCKS.get(&name).map_or(0, |row| row.token) + 1;
            hold(&name, token, owner.clone(), until_ms);
            emit(&name, &Event::Acquired(Holder { owner, token, until_ms }));
            Ok(token)
        }
    }
}

fn deadline(ctx: &Context, ttl_ms: u64) -> Result<u64, Refused> {
    let sound = (1..=TTL_MS_MAX).contains(&ttl_ms);
    if sound { Ok(ctx.time_ms + ttl_ms) } else { Err(Refused::Ttl { ms: ttl_ms }) }
}

/// Who holds the lock at this time, whether or not the wake-up has come that frees it.
fn holder(ctx: &Context, name: &str) -> Option<Holder> {
    let Row { token, holder } = LOCKS.get(name)?;
    let (owner, until_ms) = holder.filter(|(_, until_ms)| *until_ms > ctx.time_ms)?;
    Some(Holder { owner, token, until_ms })
}

fn held_under(ctx: &Context, name: &str, token: u64) -> Result<Holder, Refused> {
    holder(ctx, name).filter(|held| held.token == token).ok_or(Refused::NotHeld { token })
}

fn hold(name: &str, token: u64, owner: String, until_ms: u64) {
    free(name);
    DEADLINES.put((until_ms, name), &());
    LOCKS.put(name, &Row { token, holder: Some((owner, until_ms)) });
}

fn free(name: &str) {
    let Some(Row { token, holder: Some((_, until_ms)) }) = LOCKS.get(name) else { return };
    DEADLINES.delete((until_ms, name));
    LOCKS.put(name, &Row { token, holder: None });
}

fn set_alarm() {
    wake_at(DEADLINES.keys(..).next().map(|(until_ms, _)| until_ms));
}

pgraft_sdk::export!(Lock);
