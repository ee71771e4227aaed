//! The machine as a program that a tester talks to, to compare it with its own module.
//!
//! Standard input has one JSON object per line, an [`Ask`]; each is answered with one line, a
//! [`Told`]. Bytes are written in hexadecimal. For example:
//!
//! ```text
//! {"call":"init","turn":{"index":1,"term":1,"time_ms":0,"seed":0},"config":""}
//! {"outcomes":[{"ok":""}],"events":[],"effects":[],"wake_at_ms":0,"rows":"6c62..."}
//! {"call":"apply","turn":{...},"commands":[{"principal":"","session":0,"seq":0,"payload":"22"}]}
//! {"outcomes":[{"error":{"code":100,"message":"malformed: ..."}}],...}
//! ```
//!
//! A command that panics is undone and answered with `{"trap":"..."}`; as in a node, the commands
//! of its entry are run again one by one. Nothing ends a command that does not end.

use std::io::{self, BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use super::{State, interface::storage};
use crate::{Caller, Command, Context, Error, Machine, Outcome, Progress, Trigger};

/// What a log entry fixes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// Raft index.
    pub index: u64,
    /// Raft term.
    pub term: u64,
    /// Unix ms.
    pub time_ms: u64,
    /// What the machine is told as its seed.
    pub seed: u64,
}

/// One command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// Who sent it.
    #[serde(default)]
    pub principal: String,
    /// 0 = no session.
    #[serde(default)]
    pub session: u64,
    /// Its number in the session.
    #[serde(default)]
    pub seq: u64,
    /// What the machine reads.
    pub payload: Hex,
}

/// A line of the input.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each field is the parameter of that name in machine.wit")]
pub enum Ask {
    /// The manifest, in the first outcome as JSON text.
    Describe,
    /// Creates the machine: forgets all state first.
    Init { turn: Turn, config: Hex },
    /// The commands of one entry.
    Apply { turn: Turn, commands: Vec<Sent> },
    /// Admission check.
    Check { turn: Turn, command: Sent },
    /// A wake-up, whether or not it is due.
    Wake { turn: Turn },
    /// The outcome of an effect.
    EffectDone { turn: Turn, id: u64, outcome: Came },
    /// A question.
    Query { turn: Turn, request: Hex },
    /// One step; the reply is `00` (done) or `01` (more).
    Migrate { turn: Turn, from_schema: u32, step: u32 },
    /// The key of a command: the reply is empty (none), or `01` and the key.
    CommandKey { payload: Hex },
    /// The key of a query.
    QueryKey { request: Hex },
    /// The message of the error is what is wrong; its code is 0.
    Invariant { turn: Turn },
}

/// A line of the output: what the call came to, and the state after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// One per command, else one.
    pub outcomes: Vec<Came>,
    /// Topics and payloads.
    pub events: Vec<(Hex, Hex)>,
    /// Kinds and payloads of the effects asked for in this call.
    pub effects: Vec<(String, Hex)>,
    /// When the machine wants to be woken; 0 = not.
    pub wake_at_ms: u64,
    /// [`rows_digest`] of all rows.
    pub rows: String,
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Came {
    /// A reply.
    Ok(Hex),
    /// A rejection.
    Error {
        /// 100 and above.
        code: u32,
        /// For people.
        message: String,
    },
    /// The machine panicked; what it said.
    Trap(String),
}

/// Bytes, written in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex(pub Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Hex, String> {
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
        match digits {
            Some(digits) if digits.len() % 2 == 0 => {
                Ok(Hex(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
            }
            _ => Err(format!("not pairs of hexadecimal digits: {text:?}")),
        }
    }
}

impl From<Hex> for String {
    fn from(hex: Hex) -> String {
        hex.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// FNV-1a of 128 bits over the rows in the order of their keys, each as the length of the key (u32
/// little endian), the key, the length of the value, the value; in hexadecimal.
pub fn rows_digest<'a>(rows: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> String {
    const START: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut digest = START;
    let mut mix = |bytes: &[u8]| {
        for byte in (bytes.len() as u32).to_le_bytes().iter().chain(bytes) {
            digest = (digest ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    };
    for (key, value) in rows {
        mix(key);
        mix(value);
    }
    format!("{digest:032x}")
}

/// Answers the lines of standard input until it ends. The whole of a machine's native program:
///
/// ```no_run
/// # use pgraft_sdk::{Command, Context, Machine, Result};
/// # struct Counter;
/// # impl Machine for Counter {
/// #     const NAME: &'static str = "counter";
/// #     fn apply(_: &Context, _: &Command) -> Result<Vec<u8>> { Ok(Vec::new()) }
/// # }
/// fn main() -> std::io::Result<()> {
///     pgraft_sdk::native::serve::<Counter>()
/// }
/// ```
///
/// # Errors
/// When a line is no [`Ask`], or a stream fails.
pub fn serve<M: Machine>() -> io::Result<()> {
    let mut server: Server<M> = Server::default();
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let ask: Ask = serde_json::from_str(&line?)?;
        serde_json::to_writer(&mut output, &server.answer(ask))?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

/// A machine that answers lines.
#[derive(Debug)]
pub struct Server<M> {
    state: State,
    machine: std::marker::PhantomData<M>,
}

impl<M> Default for Server<M> {
    fn default() -> Server<M> {
        Server { state: State::default(), machine: std::marker::PhantomData }
    }
}

impl<M: Machine> Server<M> {
    /// Answers one line.
    pub fn answer(&mut self, ask: Ask) -> Told {
        let known: Vec<u64> = self.state.effects().iter().map(|effect| effect.id).collect();
        let outcomes = self.carry_out(ask);
        let asked = self.state.effects().iter().filter(|effect| !known.contains(&effect.id));
        let effects = asked.map(|effect| (effect.kind.clone(), Hex(effect.payload.clone())));
        Told {
            effects: effects.collect(),
            outcomes,
            events: self.state.take_events().into_iter().map(|(t, p)| (Hex(t), Hex(p))).collect(),
            wake_at_ms: self.state.wake_at().unwrap_or(0),
            rows: rows_digest(self.state.rows().iter().map(|(k, v)| (&k[..], &v[..]))),
        }
    }

    fn carry_out(&mut self, ask: Ask) -> Vec<Came> {
        let replied = |()| Vec::new();
        match ask {
            Ask::Describe => vec![Came::Ok(Hex(manifest::<M>()))],
            Ask::Init { turn, config } => {
                self.state = State::default();
                vec![self.write(|| M::init(&turn.into(), &config.0).map(replied))]
            }
            Ask::Apply { turn, commands } => self.apply(turn, commands),
            Ask::Check { turn, command } => {
                vec![self.read(|| M::check(&turn.into(), &command.into()).map(replied))]
            }
            Ask::Wake { turn } => {
                self.state.clear_wake();
                vec![self.write(|| M::react(&turn.into(), &Trigger::Wake).map(replied))]
            }
            Ask::EffectDone { turn, id, outcome } => {
                self.state.effects_mut().retain(|effect| effect.id != id);
                let what = Trigger::EffectDone((id, outcome.into()));
                vec![self.write(|| M::react(&turn.into(), &what).map(replied))]
            }
            Ask::Query { turn, request } => {
                vec![self.read(|| M::query(&turn.into(), &request.0))]
            }
            Ask::Migrate { turn, from_schema, step } => vec![self.write(|| {
                let progress = M::migrate(&turn.into(), from_schema, step)?;
                Ok(vec![u8::from(progress == Progress::More)])
            })],
            Ask::CommandKey { payload } => vec![self.read(|| Ok(key(M::command_key(&payload.0))))],
            Ask::QueryKey { request } => vec![self.read(|| Ok(key(M::query_key(&request.0))))],
            Ask::Invariant { turn } => vec![self.read(|| {
                let held = M::invariant(&turn.into());
                held.map(replied).map_err(|message| Error { code: 0, message })
            })],
        }
    }

    fn apply(&mut self, turn: Turn, commands: Vec<Sent>) -> Vec<Came> {
        let context = turn.into();
        let commands: Vec<Command> = commands.into_iter().map(Into::into).collect();
        if let Ok(outcomes) = self.attempt(|| M::apply_batch(&context, &commands)) {
            return outcomes.into_iter().map(Into::into).collect();
        }
        let mut alone = |command: &Command| {
            let one = std::slice::from_ref(command);
            match self.attempt(|| M::apply_batch(&context, one)) {
                Ok(mut outcomes) => outcomes.pop().expect("one outcome per command").into(),
                Err(trap) => Came::Trap(trap),
            }
        };
        commands.iter().map(&mut alone).collect()
    }

    /// A call that may write; undone when it is rejected or panics.
    fn write(&mut self, call: impl FnOnce() -> Outcome) -> Came {
        let attempted = self.attempt(|| {
            let mark = storage::mark();
            call().inspect_err(|_| storage::rollback_to(mark))
        });
        attempted.map_or_else(Came::Trap, Came::from)
    }

    fn read(&mut self, call: impl FnOnce() -> Outcome) -> Came {
        let answered = self.state.lend(true, || catch_unwind(AssertUnwindSafe(call)));
        answered.map_or_else(|panic| Came::Trap(said(panic.as_ref())), Came::from)
    }

    /// What the call returned, or what it said when it panicked; then it is undone.
    fn attempt<T>(&mut self, call: impl FnOnce() -> T) -> Result<T, String> {
        let attempted = self.state.lend(false, || {
            let before = storage::mark();
            catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
                storage::rollback_to(before);
                said(panic.as_ref())
            })
        });
        self.state.forget_marks();
        attempted
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

fn manifest<M: Machine>() -> Vec<u8> {
    let crate::Manifest { name, version, schema, migrates_from, api, keyed } = M::manifest();
    let told = serde_json::json!({
        "name": name, "version": version, "schema": schema, "migrates_from": migrates_from,
        "api": api, "keyed": keyed,
    });
    told.to_string().into_bytes()
}

fn key(key: Option<Vec<u8>>) -> Vec<u8> {
    key.map_or_else(Vec::new, |key| [&[1], &key[..]].concat())
}

impl From<Turn> for Context {
    fn from(Turn { index, term, time_ms, seed }: Turn) -> Context {
        Context { index, term, time_ms, seed }
    }
}

impl From<Sent> for Command {
    fn from(Sent { principal, session, seq, payload }: Sent) -> Command {
        Command { caller: Caller { principal, session, seq }, payload: payload.0 }
    }
}

impl From<Outcome> for Came {
    fn from(outcome: Outcome) -> Came {
        match outcome {
            Ok(reply) => Came::Ok(Hex(reply)),
            Err(Error { code, message }) => Came::Error { code, message },
        }
    }
}

impl From<Came> for Outcome {
    fn from(came: Came) -> Outcome {
        match came {
            Came::Ok(reply) => Ok(reply.0),
            Came::Error { code, message } => Err(Error { code, message }),
            // What the host puts in its place.
            Came::Trap(message) => Err(Error { code: 1, message }),
        }
    }
}
