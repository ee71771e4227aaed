//! The whole of a user's machine: named counters with a change feed.
//!
//! A command is a name; it counts that name up by one and replies with the count and the
//! entry's seed. A query is a name; the answer is its count. Schema 1 (feature `v1`) kept a
//! `u32` per name, schema 2 keeps a `u64` and migrates.
//!
//! Names that begin with `!` exercise the ways in which a command can fail; tests of the host
//! use them:
//!
//! | command | does |
//! |---|---|
//! | `!panic` | writes the row `torn`, then panics |
//! | `!spin` | never ends by itself: out of fuel |
//! | `!big` | asks for 1 GiB: out of memory |
//! | `!half` | writes the row `half`, then rejects itself |
//! | `!fill` | writes rows of 1 MiB for ever: quota, or out of fuel |
//! | `!deep` | recurses for ever: stack overflow |
//! | `!break` | writes a row that the invariant forbids |
//! | `!peek` | says that it touches a key of its own, and tells how many names there are |
//! | `!write` (query) | writes, which a query may not |

use std::hint::black_box;

use pgraft_sdk::{Command, Context, Error, Machine, Result, events, storage};
#[cfg(not(feature = "v1"))]
use pgraft_sdk::{Progress, scan};

#[cfg(feature = "v1")]
type Count = u32;
#[cfg(not(feature = "v1"))]
type Count = u64;

/// Rejection: a name is missing.
pub const EMPTY_NAME: u32 = 100;
/// Rejection of `!half`.
pub const HALF_DONE: u32 = 101;

/// The row of `!break`.
const BROKEN: &[u8] = b"!broken";

/// The machine.
pub struct Counter;

impl Machine for Counter {
    const NAME: &'static str = "counter";
    const VERSION: &'static str = if cfg!(feature = "v1") { "0.1.0" } else { "0.2.0" };
    const SCHEMA: u32 = if cfg!(feature = "v1") { 1 } else { 2 };
    const MIGRATES_FROM: u32 = 1;
    const KEYED: bool = true;

    fn apply(ctx: &Context, command: &Command) -> Result<Vec<u8>> {
        let name = &command.payload;
        match &name[..] {
            b"" => return Err(Error::new(EMPTY_NAME, "empty name")),
            b"!panic" => panic_half_way(),
            b"!spin" => spin(),
            b"!big" => return Ok(vec![black_box(vec![1_u8; 1 << 30])[7]]),
            b"!half" => {
                storage::put(b"half", b"1");
                return Err(Error::new(HALF_DONE, "undone by mark and rollback-to"));
            }
            b"!fill" => fill(),
            b"!break" => {
                storage::put(BROKEN, b"1");
                return Ok(Vec::new());
            }
            b"!peek" => return Ok(storage::count(b"", b"", u32::MAX).to_le_bytes().to_vec()),
            b"!deep" => return Ok(deep(0).to_le_bytes().to_vec()),
            _ => {}
        }
        let count = read(name) + 1;
        storage::put(name, &count.to_le_bytes());
        events::emit(name, &count.to_le_bytes());
        let mut reply = count.to_le_bytes().to_vec();
        reply.extend_from_slice(&ctx.seed.to_le_bytes());
        Ok(reply)
    }

    fn query(_ctx: &Context, name: &[u8]) -> Result<Vec<u8>> {
        if name == b"!write" {
            storage::put(b"written", b"by a query");
        }
        Ok(read(name).to_le_bytes().into())
    }

    fn command_key(name: &[u8]) -> Option<Vec<u8>> {
        Some(name.to_vec())
    }

    fn query_key(name: &[u8]) -> Option<Vec<u8>> {
        Some(name.to_vec())
    }

    fn invariant(_ctx: &Context) -> core::result::Result<(), String> {
        match storage::get(BROKEN) {
            Some(_) => Err("somebody sent !break".to_owned()),
            None => Ok(()),
        }
    }

    #[cfg(not(feature = "v1"))]
    fn migrate(_ctx: &Context, from_schema: u32, _step: u32) -> Result<Progress> {
        if from_schema == 1 {
            let rows: Vec<(Vec<u8>, Vec<u8>)> = scan(b"", b"").collect();
            for (name, count) in rows {
                let count = u32::from_le_bytes(count[..].try_into().expect("schema 1 kept u32"));
                storage::put(&name, &u64::from(count).to_le_bytes());
            }
        }
        Ok(Progress::Done)
    }
}

fn read(name: &[u8]) -> Count {
    storage::get(name).map_or(0, |count| {
        Count::from_le_bytes(count[..].try_into().expect("only this machine writes its rows"))
    })
}

fn panic_half_way() -> ! {
    storage::put(b"torn", b"1");
    panic!("as asked")
}

fn spin() -> ! {
    let mut x = 1_u64;
    loop {
        x = black_box(x.wrapping_mul(3));
    }
}

fn fill() -> ! {
    let value = vec![7_u8; 1 << 20];
    let mut row = 0_u64;
    loop {
        storage::put(&row.to_be_bytes(), &value);
        row += 1;
    }
}

#[expect(unconditional_recursion, reason = "that is what the command is for")]
fn deep(level: u64) -> u64 {
    // The result is used after the call, so that it cannot become a loop.
    black_box(deep(black_box(level + 1))) + 1
}

pgraft_sdk::export!(Counter);
