//! The words of the key-value machine's golden scripts, `testscripts/**`.
//!
//! ```text
//! put KEY VALUE [lease=N] [prev_kv] [ignore_value] [ignore_lease]
//! get KEY [end=KEY] [rev=N] [limit=N] [order=asc|desc] [sort=key|version|create|mod|value]
//!               [min_mod=N] [max_mod=N] [min_create=N] [max_create=N] [keys_only] [count_only]
//! del KEY [end=KEY] [prev_kv]
//! txn ... commit                  between them: if TARGET KEY eq|ne|lt|gt VALUE [end=KEY], then,
//!                                 else, and put, get, del, txn; a txn inside is nested
//! batch ... run                   the commands between them are one log entry
//! compact REV   grant ID TTL   revoke ID   keepalive ID   ttl ID [keys]   leases
//! status   history REV [KEY [end=KEY]]
//! advance MS                      log time passes; the machine is woken when it asked for it
//! late MS                         log time passes, but nobody wakes the machine
//! term N   timer                  a new leader; when the machine wants to be woken
//! fill PREFIX COUNT [lease=N]     COUNT keys; raw TEXT: any bytes as a command
//! ```
//!
//! A command with the tag `[check]` is only asked about. `key_bytes=N` and `value_bytes=N` pad a
//! put. A character of a script up to U+00FF is one byte of a key or value.
//!
//! To run the scripts elsewhere, implement [`Backend`] and pass a [`Script`] over it to
//! `goldenscript::run` with the path of each file under `statemachines/kv/testscripts`.

use std::error::Error as StdError;
use std::fmt::Write as _;

use goldenscript::{ArgumentConsumer, Context, Runner};
use pgraft_sdk::Error;

pub use pgraft_sdk::native::Backend;

use crate::model::*;

mod parse;
mod show;

use parse::{amount, bytes, parse_compare, parse_delete, parse_put, parse_range};
use show::{show_event, show_reply};

type Fail = Box<dyn StdError>;
type Said = Result<String, Fail>;

/// Commands that `fill` packs into one log entry.
const FILL_COMMANDS_PER_ENTRY: usize = 500;

/// Runs scripts over a backend.
pub struct Script<B> {
    backend: B,
    time_ms: u64,
    /// Open transactions, the innermost last.
    open: Vec<Open>,
    /// Commands of an entry that is being put together.
    batch: Option<Vec<Command>>,
}

/// A transaction that is being put together.
#[derive(Default)]
struct Open {
    txn: Txn,
    in_failure: bool,
}

impl<B: Backend> Script<B> {
    /// `backend` is a machine that was not initialised yet.
    pub fn new(backend: B) -> Script<B> {
        Script { backend, time_ms: 0, open: Vec::new(), batch: None }
    }

    /// Adds an operation to the open transaction, or hands it back.
    fn collect(&mut self, op: Op) -> Option<Op> {
        let Some(open) = self.open.last_mut() else { return Some(op) };
        let branch = if open.in_failure { &mut open.txn.failure } else { &mut open.txn.success };
        branch.push(op);
        None
    }

    fn op(&mut self, op: Op, context: &Context) -> Said {
        match self.collect(op) {
            None => Ok(String::new()),
            Some(Op::Put(put)) => self.command(Command::Put(put), context),
            Some(Op::DeleteRange(delete)) => self.command(Command::DeleteRange(delete), context),
            Some(Op::Txn(txn)) => self.command(Command::Txn(txn), context),
            Some(Op::Range(range)) => self.query(&Query::Range(range)),
        }
    }

    fn command(&mut self, command: Command, context: &Context) -> Said {
        if context.tags.contains("check") {
            return Ok(match self.backend.check(&command.encode()) {
                Ok(()) => "would be accepted\n".to_owned(),
                Err(error) => rejected(&error),
            });
        }
        if let Some(batch) = &mut self.batch {
            batch.push(command);
            return Ok(String::new());
        }
        self.apply(&[command.encode()])
    }

    fn apply(&mut self, payloads: &[Vec<u8>]) -> Said {
        let mut told = String::new();
        for outcome in self.backend.apply(self.time_ms, payloads) {
            match outcome {
                Ok(reply) => show_reply(&mut told, &Reply::decode(&reply)?, 0),
                Err(error) => told.push_str(&rejected(&error)),
            }
        }
        self.tell_events(&mut told)?;
        Ok(told)
    }

    fn query(&mut self, query: &Query) -> Said {
        let mut told = String::new();
        match self.backend.query(&query.encode()) {
            Ok(reply) => show_reply(&mut told, &Reply::decode(&reply)?, 0),
            Err(error) => told = rejected(&error),
        }
        Ok(told)
    }

    fn tell_events(&mut self, told: &mut String) -> Result<(), Fail> {
        for (topic, payload) in self.backend.take_events() {
            let event = Event::decode(&payload)?;
            assert_eq!(topic, event.kv.key, "the topic is the key");
            writeln!(told, "event {}", show_event(&event))?;
        }
        Ok(())
    }

    fn advance(&mut self, ms: u64) -> Said {
        self.time_ms += ms;
        let mut told = String::new();
        while let Some(due) = self.backend.next_wake().filter(|due| *due <= self.time_ms) {
            writeln!(told, "wake due {due}")?;
            if let Err(error) = self.backend.wake(self.time_ms) {
                told.push_str(&rejected(&error));
                break;
            }
            self.tell_events(&mut told)?;
        }
        Ok(told)
    }

    fn fill(&mut self, args: &mut ArgumentConsumer<'_>) -> Said {
        let prefix = bytes(args.next_pos().ok_or("fill needs a prefix")?)?;
        let count: u64 = args.next_pos().ok_or("fill needs a count")?.parse()?;
        let lease = amount(args, "lease")?;
        let put = |number: u64| {
            let key = [&prefix[..], format!("{number:05}").as_bytes()].concat();
            Command::Put(Put { lease, ..Put::new(key, number.to_string()) }).encode()
        };
        let payloads: Vec<Vec<u8>> = (0..count).map(put).collect();
        let (mut ok, mut events) = (0, 0);
        for entry in payloads.chunks(FILL_COMMANDS_PER_ENTRY) {
            let outcomes = self.backend.apply(self.time_ms, entry);
            ok += outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            events += self.backend.take_events().len();
        }
        Ok(format!("{ok} puts, {events} events\n"))
    }

    fn commit(&mut self, context: &Context) -> Said {
        let open = self.open.pop().ok_or("no transaction is open")?;
        self.op(Op::Txn(open.txn), context)
    }

    fn run_batch(&mut self) -> Said {
        let batch = self.batch.take().ok_or("no batch is open")?;
        let payloads: Vec<Vec<u8>> = batch.iter().map(Command::encode).collect();
        self.apply(&payloads)
    }

    /// Words about transactions and entries.
    fn structure(
        &mut self,
        word: &str,
        args: &mut ArgumentConsumer<'_>,
        context: &Context,
    ) -> Said {
        match word {
            "txn" => self.open.push(Open::default()),
            "commit" => return self.commit(context),
            "batch" => self.batch = Some(Vec::new()),
            "run" => return self.run_batch(),
            _ => {
                let open = self.open.last_mut().ok_or("no transaction is open")?;
                match word {
                    "if" => open.txn.compare.push(parse_compare(args)?),
                    "then" => open.in_failure = false,
                    _ => open.in_failure = true,
                }
            }
        }
        Ok(String::new())
    }

    /// Words with one number, or none.
    fn plain(&mut self, word: &str, args: &mut ArgumentConsumer<'_>, context: &Context) -> Said {
        let mut number = || -> Result<i64, Fail> {
            Ok(args.next_pos().ok_or(format!("{word} needs a number"))?.parse()?)
        };
        let command = match word {
            "compact" => Command::Compact { revision: number()? },
            "grant" => Command::LeaseGrant { id: number()?, ttl: number()? },
            "revoke" => Command::LeaseRevoke { id: number()? },
            "keepalive" => Command::LeaseKeepAlive { id: number()? },
            "ttl" => {
                let id = number()?;
                let keys = args.next_pos() == Some("keys");
                return self.query(&Query::LeaseTimeToLive { id, keys });
            }
            "leases" => return self.query(&Query::Leases),
            "status" => return self.query(&Query::Status),
            "advance" => {
                let ms = u64::try_from(number()?)?;
                return self.advance(ms);
            }
            "late" => {
                self.time_ms += u64::try_from(number()?)?;
                return Ok(String::new());
            }
            "term" => {
                self.backend.set_term(u64::try_from(number()?)?);
                return Ok(String::new());
            }
            "timer" => {
                let next = self.backend.next_wake();
                return Ok(next.map_or("never\n".to_owned(), |ms| format!("wake at {ms}\n")));
            }
            _ => return Err(format!("unknown word {word}").into()),
        };
        self.command(command, context)
    }
}

impl<B: Backend> Runner for Script<B> {
    type Command = goldenscript::Command;

    fn start_script(&mut self) -> Result<(), Fail> {
        self.backend.init(&[]).map_err(|error| rejected(&error).into())
    }

    fn end_script(&mut self) -> Result<(), Fail> {
        assert!(self.open.is_empty() && self.batch.is_none(), "the script leaves nothing open");
        Ok(())
    }

    fn run(&mut self, command: &goldenscript::Command, context: &Context) -> Said {
        let mut args = command.consume_args();
        let word = command.name.as_str();
        let said = match word {
            "put" => self.op(Op::Put(parse_put(&mut args)?), context)?,
            "get" => self.op(Op::Range(parse_range(&mut args)?), context)?,
            "del" => self.op(Op::DeleteRange(parse_delete(&mut args)?), context)?,
            "txn" | "if" | "then" | "else" | "commit" | "batch" | "run" => {
                self.structure(word, &mut args, context)?
            }
            "history" => {
                let start_revision = args.next_pos().ok_or("history needs a revision")?.parse()?;
                let key = args.next_pos().unwrap_or("\0");
                let all = if key == "\0" { "\0" } else { "" };
                let range_end = bytes(args.take_key("end").unwrap_or(all))?;
                let key = bytes(key)?;
                self.query(&Query::History(HistoryRequest { key, range_end, start_revision }))?
            }
            "fill" => self.fill(&mut args)?,
            "raw" => {
                let payload = bytes(args.next_pos().unwrap_or_default())?;
                self.apply(&[payload])?
            }
            word => self.plain(word, &mut args, context)?,
        };
        args.reject_next()?;
        Ok(said)
    }
}

fn rejected(error: &Error) -> String {
    format!("rejected {} {}\n", error.code, error.message)
}
