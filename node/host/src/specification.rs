//! A machine's own module as a sequential specification: a pure function from a state and an input
//! to the next state and what the machine says. Checkers judge histories with it, and model
//! checkers explore it.
//!
//! The calls are those of a node (`invoke.rs`, `call.rs`, `verdict.rs`: fuel, limits, a fresh
//! instance each); only the rows are in memory. Not here: sessions, the order of an entry's
//! commands, chain hashes and everything else that concerns more than one machine.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use imbl::OrdMap;
use pgraft_replica::Index;
use xxhash_rust::xxh3::xxh3_128;

use crate::apply::Event;
use crate::call::{Call, Requested, Who};
use crate::fault::Fault;
use crate::fields::Writer;
use crate::interface::{Caller, Context, GuestCommand, GuestError, Manifest, Progress, Trigger};
use crate::invoke::{self, Ended, Returned};
use crate::limits::{Limits, MIGRATION_COMMANDS, QUERY_FUEL};
use crate::machines::{Machines, Module};
use crate::outbox::Effect;
use crate::plan::{Turn, rejected};
use crate::query;
use crate::registry;
use crate::rejection::{HostCode, Outcome, Rejection};
use crate::sheet::Sheet;
use crate::tables::Tables;
use crate::verdict::{
    self, Verdict, context, judge, judge_outcomes, judge_progress, settle, together_or_alone,
};

/// A command for the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request<'a> {
    /// Who the machine is told is asking.
    pub principal: &'a str,
    /// The session it comes from, 0 = none. The machine is told; nothing is looked up.
    pub session: u64,
    /// Its number in the session.
    pub seq: u64,
    /// For the machine.
    pub payload: &'a [u8],
}

impl<'a> Request<'a> {
    /// A command of nobody in particular, outside of any session.
    pub fn new(payload: &'a [u8]) -> Request<'a> {
        Request { principal: "", session: 0, seq: 0, payload }
    }
}

/// A machine's state. Cloning takes constant time, and so does comparing: by the 128-bit digest of
/// all that is in it, which nobody who chooses rows on purpose is kept from colliding.
#[derive(Clone)]
pub struct State {
    sheet: Sheet,
    next_effect: u64,
    wake_ms: Option<u64>,
    waiting: OrdMap<u64, Arc<Requested>>,
    /// Wrapping sum of the digests of the effects that wait.
    waiting_digest: u128,
}

/// What an input did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state after it.
    pub state: State,
    /// One per command; one for a reaction.
    pub outcomes: Vec<Outcome>,
    /// What the machine published, numbered from 0.
    pub events: Vec<Event>,
}

/// What a step of a migration did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The state after it; the one before when it failed.
    pub state: State,
    /// How far it is, or why it failed.
    pub progress: Result<Progress, Rejection>,
    /// What the machine published, numbered from 0.
    pub events: Vec<Event>,
}

/// A machine as a function. It can be shared between threads, as far as the engine has instances.
#[derive(Clone)]
pub struct Specification {
    module: Arc<Module>,
    who: Who,
}

/// The state after a call, what the guest said and what it published; or the rule it broke.
type Called<T> = Result<(State, T, Vec<Event>), HostCode>;

impl Specification {
    /// The machine `name`, which runs the module with this SHA-256.
    ///
    /// # Errors
    /// [`Fault::MissingModule`].
    pub fn new(machines: &Machines, name: &str, sha256: &[u8; 32]) -> Result<Specification, Fault> {
        let module = machines.of(name, sha256)?;
        let who = Who {
            machine: registry::fixed_id(name).unwrap_or(registry::OTHERS_ID),
            name: name.into(),
            index: Index::ZERO,
            limits: Limits::DEFAULT,
            may_change_conf: name == registry::MEMBERSHIP,
            sets_aside: false,
        };
        Ok(Specification { module, who })
    }

    /// The machine under another number than the first free one: it is part of digests.
    #[must_use]
    pub fn numbered(mut self, machine: u32) -> Specification {
        self.who.machine = machine;
        self
    }

    /// The machine under other limits than those of a new one.
    #[must_use]
    pub fn limited(mut self, limits: Limits) -> Specification {
        self.who.limits = limits;
        self
    }

    /// The machine's name.
    pub fn name(&self) -> &str {
        &self.who.name
    }

    /// The state that genesis gives the machine. `time_ms` is the time of the log before its first
    /// entry.
    ///
    /// # Errors
    /// [`Fault::Refused`], or when this machine fails.
    pub fn initial(&self, config: &[u8], time_ms: u64) -> Result<State, Fault> {
        let turn = Turn { index: Index::ZERO, term: 0, time_ms, entropy: 0 };
        let machine = || self.who.name.to_string();
        let began = self.begin(config, &turn)?;
        began
            .map(|(state, _)| state)
            .map_err(|rejection| Fault::Refused { machine: machine(), rejection })
    }

    /// The state that an installed machine begins with, and what it publishes; or why it refuses
    /// its configuration.
    ///
    /// # Errors
    /// When this machine fails.
    pub fn begin(
        &self,
        config: &[u8],
        turn: &Turn,
    ) -> Result<Result<(State, Vec<Event>), Rejection>, Fault> {
        let fuel = self.who.limits.command_fuel;
        let done = self.attempt(
            &State::default(),
            turn,
            |module, call, context| invoke::init(module, call, fuel, context, config),
            judge,
        )?;
        Ok(match done {
            Ok((state, Ok(_), events)) => Ok((state, events)),
            Ok((_, Err(rejection), _)) => Err(rejection),
            Err(code) => Err(Rejection::host(code)),
        })
    }

    /// What one command does.
    ///
    /// # Errors
    /// When this machine fails.
    pub fn apply(
        &self,
        state: &State,
        turn: &Turn,
        request: Request<'_>,
    ) -> Result<Transition, Fault> {
        self.apply_all(state, turn, &[request])
    }

    /// What the commands of one entry do, in order: together in one call, or, if that ends badly,
    /// each in one of its own. For a well-behaved machine it is the same as one after the other.
    ///
    /// # Errors
    /// When this machine fails.
    pub fn apply_all(
        &self,
        state: &State,
        turn: &Turn,
        requests: &[Request<'_>],
    ) -> Result<Transition, Fault> {
        let commands: Vec<GuestCommand<'_>> = requests.iter().map(guest_command).collect();
        let (mut now, mut events) = (state.clone(), Vec::new());
        let outcomes = together_or_alone(&self.who.limits, &commands, |commands, fuel| {
            let tried = self.attempt(
                &now,
                turn,
                |module, call, context| invoke::apply(module, call, fuel, context, commands),
                judge_outcomes(commands.len()),
            )?;
            Ok(tried.map(|(state, outcomes, published)| {
                now = state;
                events.extend(published);
                outcomes
            }))
        })?;
        for (event, sequence) in events.iter_mut().zip(0..) {
            event.sequence = sequence;
        }
        Ok(Transition { state: now, outcomes, events })
    }

    /// What the host's [`crate::Command::Wake`] does: nothing before it is time.
    ///
    /// # Errors
    /// When this machine fails.
    pub fn wake(&self, state: &State, turn: &Turn) -> Result<Transition, Fault> {
        if state.wake_ms.is_none_or(|time_ms| time_ms > turn.time_ms) {
            return Ok(nothing_done(state));
        }
        // Cleared first and for good: a machine whose reaction fails is not woken for ever.
        let cleared = State { wake_ms: None, ..state.clone() };
        self.react(cleared, turn, &Trigger::Wake)
    }

    /// What the outcome of an effect does: nothing when the effect does not wait (any more).
    ///
    /// # Errors
    /// When this machine fails.
    pub fn effect_done(
        &self,
        state: &State,
        turn: &Turn,
        id: u64,
        outcome: Outcome,
    ) -> Result<Transition, Fault> {
        let mut done = state.clone();
        let Some(effect) = done.waiting.remove(&id) else { return Ok(nothing_done(state)) };
        done.waiting_digest = done.waiting_digest.wrapping_sub(digest_of(&effect));
        let outcome = outcome
            .map_err(|rejection| GuestError { code: rejection.code, message: rejection.message });
        self.react(done, turn, &Trigger::EffectDone((id, outcome)))
    }

    /// What the machine answers. `turn` is that of the last applied entry; its entropy is not told.
    ///
    /// # Errors
    /// When this machine fails.
    pub fn query(&self, state: &State, turn: &Turn, request: &[u8]) -> Result<Outcome, Fault> {
        let (call, context) = self.question(state, turn);
        let (_, returned) = invoke::query(&self.module, call, QUERY_FUEL, context, request);
        query::answered(returned.map(verdict::outcome))
    }

    /// Whether the machine would take a command; `Ok` says nothing more.
    ///
    /// # Errors
    /// When this machine fails.
    pub fn check(
        &self,
        state: &State,
        turn: &Turn,
        request: Request<'_>,
    ) -> Result<Outcome, Fault> {
        let (call, context) = self.question(state, turn);
        let command = guest_command(&request);
        let (_, returned) = invoke::check(&self.module, call, QUERY_FUEL, context, command);
        query::answered(returned.map(query::admitted))
    }

    /// A step of the way from the rows of schema `from_schema` to those of the module's own.
    ///
    /// # Errors
    /// When this machine fails.
    pub fn migrate(
        &self,
        state: &State,
        turn: &Turn,
        from_schema: u32,
        step: u32,
    ) -> Result<Migrated, Fault> {
        let fuel = self.who.limits.command_fuel.saturating_mul(MIGRATION_COMMANDS);
        let done = self.attempt(
            state,
            turn,
            |module, call, context| invoke::migrate(module, call, fuel, context, from_schema, step),
            judge_progress,
        )?;
        Ok(match done {
            Ok((state, progress, events)) => Migrated { state, progress, events },
            Err(code) => Migrated {
                state: state.clone(),
                progress: Err(Rejection::host(code)),
                events: Vec::new(),
            },
        })
    }

    /// The seed that the machine is told at a turn.
    pub fn seed(&self, turn: &Turn) -> u64 {
        context(&self.who.name, turn).seed
    }

    /// What the module says about itself.
    pub fn manifest(&self) -> &Manifest {
        self.module.manifest()
    }

    /// Whether the module exports `verification`; if not, the three below have nothing to say.
    pub fn verifies(&self) -> bool {
        self.module.verifies()
    }

    /// The key that a command touches; `None` when it may touch all of them, or the machine is not
    /// keyed.
    ///
    /// # Errors
    /// [`Fault::Module`] when the module's function ends badly; when this machine fails.
    pub fn command_key(&self, payload: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.key(|module, call| invoke::command_key(module, call, QUERY_FUEL, payload))
    }

    /// The same for a query.
    ///
    /// # Errors
    /// As [`Specification::command_key`].
    pub fn query_key(&self, request: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.key(|module, call| invoke::query_key(module, call, QUERY_FUEL, request))
    }

    fn key(
        &self,
        ask: impl FnOnce(&Module, Call) -> Returned<Option<Vec<u8>>>,
    ) -> Result<Option<Vec<u8>>, Fault> {
        if !(self.manifest().keyed && self.verifies()) {
            return Ok(None);
        }
        let (_, returned) = ask(&self.module, Call::new(Tables::Nothing, self.who.clone(), 1));
        returned.map_err(|ended| match ended {
            Ended::Here(fault) => fault,
            Ended::Everywhere(code) => Fault::Module {
                name: self.who.name.to_string(),
                why: format!("asked for the key of a payload: {}", Rejection::host(code)),
            },
        })
    }

    /// Whether what must hold after every entry does, or what is wrong, in words. A module without
    /// `verification` has nothing to object to.
    ///
    /// # Errors
    /// When this machine fails.
    pub fn invariant(&self, state: &State, turn: &Turn) -> Result<Result<(), String>, Fault> {
        if !self.verifies() {
            return Ok(Ok(()));
        }
        let (call, context) = self.question(state, turn);
        let (_, returned) = invoke::invariant(&self.module, call, QUERY_FUEL, context);
        match returned {
            Ok(holds) => Ok(holds),
            Err(Ended::Everywhere(code)) => {
                Ok(Err(format!("asked for the invariant: {}", Rejection::host(code))))
            }
            Err(Ended::Here(fault)) => Err(fault),
        }
    }

    fn question(&self, state: &State, turn: &Turn) -> (Call, Context) {
        let who = Who { index: turn.index, may_change_conf: false, ..self.who.clone() };
        let Turn { index, term, time_ms, .. } = *turn;
        let context = Context { index: index.0, term, time_ms, seed: 0 };
        (Call::new(Tables::Copy(state.sheet.clone()), who, 1), context)
    }

    /// The effects that wait to be performed, oldest first.
    pub fn effects(&self, state: &State) -> Vec<Effect> {
        let effect = |requested: &Arc<Requested>| Effect {
            machine: self.who.machine,
            machine_name: self.who.name.to_string(),
            id: requested.id,
            kind: requested.kind.clone(),
            payload: requested.payload.clone(),
        };
        state.waiting.values().map(effect).collect()
    }

    fn react(&self, state: State, turn: &Turn, trigger: &Trigger) -> Result<Transition, Fault> {
        let fuel = self.who.limits.command_fuel;
        let reacted = self.attempt(
            &state,
            turn,
            |module, call, context| invoke::react(module, call, fuel, context, trigger.clone()),
            judge,
        )?;
        let (state, outcome, events) =
            reacted.unwrap_or_else(|code| (state, rejected(code), Vec::new()));
        Ok(Transition { state, outcomes: vec![outcome], events })
    }

    /// One call. Nothing is undone: whoever does not like what came of it has the state before.
    fn attempt<R, T>(
        &self,
        state: &State,
        turn: &Turn,
        make: impl FnOnce(&Module, Call, Context) -> (Call, Result<R, Ended>),
        judge: impl FnOnce(R) -> Verdict<T>,
    ) -> Result<Called<T>, Fault> {
        let who = Who { index: turn.index, ..self.who.clone() };
        let call = Call::new(Tables::Sheet(state.sheet.clone()), who, state.next_effect);
        let (mut call, returned) = make(&self.module, call, context(&self.who.name, turn));
        Ok(match settle(&mut call, returned, state.waiting.len(), judge)? {
            Verdict::Keep(kept) => {
                let (state, events) = self.keep(state, call);
                Ok((state, kept, events))
            }
            Verdict::Undo(outcome) => Ok((state.clone(), outcome, Vec::new())),
            Verdict::Break(code) => Err(code),
        })
    }

    /// The state after a call, and what it published.
    fn keep(&self, before: &State, call: Call) -> (State, Vec<Event>) {
        let Tables::Sheet(sheet) = call.tables else { unreachable!("it went in as a sheet") };
        let next_effect = call.next_effect;
        let mut after = State { sheet, next_effect, ..before.clone() };
        for effect in call.changes.effects {
            after.waiting_digest = after.waiting_digest.wrapping_add(digest_of(&effect));
            after.waiting.insert(effect.id, Arc::new(effect));
        }
        match call.changes.wake {
            None => {}
            Some(0) => after.wake_ms = None,
            Some(time_ms) => after.wake_ms = Some(time_ms),
        }
        let events = call.changes.events.into_iter().zip(0..);
        let event = |((topic, payload), sequence)| Event {
            machine: self.who.name.to_string(),
            topic,
            payload,
            sequence,
        };
        (after, events.map(event).collect())
    }
}

impl fmt::Debug for Specification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Specification({}, {})", self.who.machine, self.who.name)
    }
}

impl State {
    /// The digest of everything in it.
    pub fn digest(&self) -> u128 {
        let State { sheet, next_effect, wake_ms, waiting, waiting_digest } = self;
        let mut out = Writer(Vec::with_capacity(72));
        out.u128(sheet.totals().digest);
        out.u64(sheet.totals().rows);
        out.u64(sheet.totals().bytes);
        out.u64(*next_effect);
        out.u64(wake_ms.unwrap_or_default());
        out.u64(waiting.len() as u64);
        out.u128(*waiting_digest);
        xxh3_128(&out.0)
    }

    /// The digest of the rows alone: what a node's tables say of this machine.
    pub fn rows_digest(&self) -> u128 {
        self.sheet.totals().digest
    }

    /// Bytes of keys and values.
    pub fn size(&self) -> u64 {
        self.sheet.totals().bytes
    }

    /// The rows, in order of their keys.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.sheet.rows()
    }

    /// This state with the rows of an earlier one, and with the time at which the machine wanted to
    /// be woken then: what a rollback makes of it that puts a kept copy back.
    #[must_use]
    pub fn with_rows_of(&self, before: &State) -> State {
        let (sheet, wake_ms) = (before.sheet.clone(), before.wake_ms);
        State { sheet, wake_ms, ..self.clone() }
    }

    /// When the machine wants to be woken, Unix milliseconds.
    pub fn wake_ms(&self) -> Option<u64> {
        self.wake_ms
    }
}

/// A machine before its first configuration.
impl Default for State {
    fn default() -> State {
        State {
            sheet: Sheet::default(),
            next_effect: 1,
            wake_ms: None,
            waiting: OrdMap::new(),
            waiting_digest: 0,
        }
    }
}

impl PartialEq for State {
    fn eq(&self, other: &State) -> bool {
        self.sheet.totals() == other.sheet.totals()
            && self.next_effect == other.next_effect
            && self.wake_ms == other.wake_ms
            && self.waiting.len() == other.waiting.len()
            && self.waiting_digest == other.waiting_digest
    }
}

impl Eq for State {}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u128(self.digest());
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} effects wait", self.sheet, self.waiting.len())?;
        match self.wake_ms {
            Some(time_ms) => write!(f, ", wakes at {time_ms}"),
            None => Ok(()),
        }
    }
}

fn guest_command<'a>(request: &Request<'a>) -> GuestCommand<'a> {
    let Request { principal, session, seq, payload } = *request;
    GuestCommand { caller: Caller { principal, session, seq }, payload }
}

fn nothing_done(state: &State) -> Transition {
    Transition { state: state.clone(), outcomes: vec![Ok(Vec::new())], events: Vec::new() }
}

fn digest_of(effect: &Requested) -> u128 {
    let mut out = Writer::default();
    out.u64(effect.id);
    out.bytes(effect.kind.as_bytes());
    out.bytes(&effect.payload);
    xxh3_128(&out.0)
}
