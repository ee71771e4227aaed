//! Calls that change state: each inside a savepoint, kept as a whole or undone as a whole.
//!
//! A batch that ends badly is undone and its commands are run one by one, each in a fresh instance
//! and a savepoint of its own, so that only the offending one is rejected. Both ways are functions
//! of the entry alone, so all replicas take the same.

use sha2::{Digest, Sha256};

use crate::apply::{Applier, Event};
use crate::call::{Call, Changes, Tables};
use crate::fault::Fault;
use crate::interface::{Caller, Context, GuestCommand, GuestError, GuestOutcome, Trigger};
use crate::invoke::{self, Ended};
use crate::limits::{MESSAGE_BYTES_MAX, OUTBOX_EFFECTS_MAX, REPLY_BYTES_MAX};
use crate::machines::Module;
use crate::plan::{Given, Turn, rejected};
use crate::registry::hash_outcomes;
use crate::rejection::{HostCode, Outcome, Rejection};

/// The first code that is a machine's own.
const MACHINE_CODE_MIN: u32 = 100;

/// What the host makes of what a guest returned.
enum Verdict<T> {
    /// Its writes stay.
    Keep(T),
    /// Its writes go, and this is the outcome.
    Undo(T),
    /// It broke a rule.
    Break(HostCode),
}

impl Applier {
    /// Applies the commands of one entry for one machine: one outcome per command, in order.
    ///
    /// # Errors
    /// When this machine fails.
    pub(crate) fn apply_commands(
        &mut self,
        machine: u32,
        given: &[Given],
        turn: &Turn,
        events: &mut Vec<Event>,
    ) -> Result<Vec<Outcome>, Fault> {
        let commands: Vec<GuestCommand<'_>> = given.iter().map(guest_command).collect();
        let limits = self.rows.registry.known(machine).limits;
        let fuel = limits.command_fuel.saturating_mul(commands.len() as u64);
        let fuel = fuel.min(limits.entry_fuel);
        let outcomes = match self.try_commands(machine, &commands, fuel, turn, events)? {
            Ok(outcomes) => outcomes,
            Err(code) if commands.len() == 1 => vec![rejected(code)],
            Err(_) => {
                let mut outcomes = Vec::with_capacity(commands.len());
                for command in &commands {
                    let (one, fuel) = (std::slice::from_ref(command), limits.command_fuel);
                    let tried = self.try_commands(machine, one, fuel, turn, events)?;
                    outcomes.push(match tried {
                        Ok(mut outcomes) => outcomes.pop().expect("one outcome per command"),
                        Err(code) => rejected(code),
                    });
                }
                outcomes
            }
        };
        let answered = hash_outcomes(outcomes.iter());
        self.rows.registry.known(machine).chain(turn.index, answered);
        Ok(outcomes)
    }

    fn try_commands(
        &mut self,
        machine: u32,
        commands: &[GuestCommand<'_>],
        fuel: u64,
        turn: &Turn,
        events: &mut Vec<Event>,
    ) -> Result<Result<Vec<Outcome>, HostCode>, Fault> {
        self.attempt(
            machine,
            turn,
            events,
            |module, call, context| invoke::apply(module, call, fuel, context, commands),
            |outcomes| {
                if outcomes.len() != commands.len() {
                    return Verdict::Break(HostCode::BadInterface);
                }
                match outcomes.into_iter().map(outcome).collect() {
                    Ok(outcomes) => Verdict::Keep(outcomes),
                    Err(code) => Verdict::Break(code),
                }
            },
        )
    }

    /// Tells a machine about something. When it fails, nothing happened but the log line.
    ///
    /// # Errors
    /// When this machine fails.
    pub(crate) fn react(
        &mut self,
        machine: u32,
        trigger: &Trigger,
        turn: &Turn,
        events: &mut Vec<Event>,
    ) -> Result<Outcome, Fault> {
        let fuel = self.rows.registry.known(machine).limits.command_fuel;
        let reacted = self.attempt(
            machine,
            turn,
            events,
            |module, call, context| invoke::react(module, call, fuel, context, trigger.clone()),
            judge,
        )?;
        let outcome = reacted.unwrap_or_else(rejected);
        if let Err(rejection) = &outcome {
            let name = self.rows.registry.name(machine);
            let (index, code, message) = (turn.index.0, rejection.code, &rejection.message);
            tracing::warn!(machine = name, index, code, message, "reaction failed; nothing done");
        }
        let answered = hash_outcomes(std::iter::once(&outcome));
        self.rows.registry.known(machine).chain(turn.index, answered);
        Ok(outcome)
    }

    /// Gives a new machine its first configuration.
    ///
    /// # Errors
    /// When this machine fails.
    pub(crate) fn init(
        &mut self,
        machine: u32,
        config: &[u8],
        turn: &Turn,
    ) -> Result<Outcome, Fault> {
        let fuel = self.rows.registry.known(machine).limits.command_fuel;
        let mut events = Vec::new();
        let done = self.attempt(
            machine,
            turn,
            &mut events,
            |module, call, context| invoke::init(module, call, fuel, context, config),
            judge,
        )?;
        Ok(done.unwrap_or_else(rejected))
    }

    /// One call inside a savepoint.
    fn attempt<R, T>(
        &mut self,
        id: u32,
        turn: &Turn,
        events: &mut Vec<Event>,
        make: impl FnOnce(&Module, Call, Context) -> (Call, Result<R, Ended>),
        judge: impl FnOnce(R) -> Verdict<T>,
    ) -> Result<Result<T, HostCode>, Fault> {
        self.store().savepoint()?;
        let machine = self.rows.registry.known(id);
        let context = context(&machine.name, turn);
        let who = machine.who(turn.index);
        let store = self.state.take().expect("the store is away only during a call");
        let call = Call::new(Tables::Writer(store), who, machine.next_effect);
        let (mut call, returned) = make(&machine.module, call, context);
        let closed = if call.fault.is_none() { call.close_marks() } else { Ok(()) };
        let Tables::Writer(store) = call.tables else { unreachable!("it went in as the writer") };
        self.state = Some(store);
        let returned = match returned {
            Ok(returned) => Ok(returned),
            Err(Ended::Everywhere(code)) => Err(code),
            Err(Ended::Here(fault)) => return Err(fault),
        };
        closed?;
        let room = self.rows.outbox.count(id) + call.changes.effects.len() <= OUTBOX_EFFECTS_MAX;
        let verdict = match returned {
            Ok(_) if !room => Verdict::Break(HostCode::Quota),
            Ok(returned) => judge(returned),
            Err(code) => Verdict::Break(code),
        };
        if !matches!(verdict, Verdict::Keep(_)) {
            self.undo()?;
        }
        match verdict {
            Verdict::Keep(kept) => {
                self.store().release()?;
                self.rows.registry.known(id).chain(turn.index, call.written.digest128());
                self.keep(id, call.changes, call.next_effect, events)?;
                Ok(Ok(kept))
            }
            Verdict::Undo(outcome) => Ok(Ok(outcome)),
            Verdict::Break(code) => Ok(Err(code)),
        }
    }

    fn undo(&mut self) -> Result<(), Fault> {
        #[cfg(test)]
        if crate::tests::planted(crate::tests::Plant::ForgottenRollback) {
            return self.store().release().map_err(Fault::from);
        }
        self.store().rollback_to().map_err(Fault::from)
    }

    fn keep(
        &mut self,
        machine: u32,
        changes: Changes,
        next_effect: u64,
        events: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let name = self.rows.registry.name(machine).to_owned();
        for (topic, payload) in changes.events {
            let sequence = u32::try_from(events.len()).expect("EVENTS_MAX bounds them");
            events.push(Event { machine: name.clone(), topic, payload, sequence });
        }
        let state = self.state.as_mut().expect("no call is going on");
        self.rows.registry.set_next_effect(state, machine, next_effect)?;
        for effect in changes.effects {
            self.rows.outbox.add(state, machine, effect)?;
        }
        if let Some(time_ms) = changes.wake {
            self.rows.wakes.set(state, machine, time_ms)?;
        }
        Ok(())
    }
}

fn guest_command(given: &Given) -> GuestCommand<'_> {
    let Given { principal, session, seq, payload, .. } = given;
    GuestCommand { caller: Caller { principal, session: *session, seq: *seq }, payload }
}

fn judge(returned: Result<(), GuestError>) -> Verdict<Outcome> {
    match returned {
        Ok(()) => Verdict::Keep(Ok(Vec::new())),
        Err(error) => match rejection(error) {
            Ok(rejection) => Verdict::Undo(Err(rejection)),
            Err(code) => Verdict::Break(code),
        },
    }
}

/// The outcome a guest returned, held to the host's limits.
pub(crate) fn outcome(returned: GuestOutcome) -> Result<Outcome, HostCode> {
    match returned {
        Ok(reply) if reply.len() > REPLY_BYTES_MAX => Err(HostCode::Quota),
        Ok(reply) => Ok(Ok(reply)),
        Err(error) => rejection(error).map(Err),
    }
}

/// A guest's rejection; the host's codes are not its to use.
pub(crate) fn rejection(error: GuestError) -> Result<Rejection, HostCode> {
    let GuestError { code, mut message } = error;
    if code < MACHINE_CODE_MIN {
        return Err(HostCode::BadInterface);
    }
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    Ok(Rejection { code, message })
}

/// What the log fixes, as one machine sees it.
fn context(machine: &str, turn: &Turn) -> Context {
    let Turn { index, term, time_ms, entropy } = *turn;
    let mut hasher = Sha256::new();
    hasher.update((machine.len() as u32).to_le_bytes());
    hasher.update(machine);
    hasher.update(index.0.to_le_bytes());
    hasher.update(entropy.to_le_bytes());
    let hash: [u8; 32] = hasher.finalize().into();
    let seed = u64::from_le_bytes(hash[..8].try_into().expect("32 bytes begin with 8"));
    Context { index: index.0, term, time_ms, seed }
}
