//! Calls that change state: each inside a savepoint, kept as a whole or undone as a whole.
//! `verdict.rs` decides which.

use crate::apply::{Applier, Event};
use crate::call::{Call, Changes};
use crate::fault::Fault;
use crate::interface::{Caller, Context, GuestCommand, GuestError, Progress, Trigger};
use crate::invoke::{self, Ended};
use crate::kept_events;
use crate::limits::MIGRATION_COMMANDS;
use crate::machines::Module;
use crate::plan::{Given, Turn, rejected};
use crate::registry::hash_outcomes;
use crate::rejection::{HostCode, Outcome, Rejection};
use crate::tables::Tables;
use crate::verdict::{
    Verdict, context, judge, judge_outcomes, rejection, settle, together_or_alone,
};

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
        let known = self.rows.registry.known(machine);
        if !known.may_run(turn.time_ms) {
            return Ok(vec![rejected(HostCode::Throttled); given.len()]);
        }
        let limits = *known.limits();
        let commands: Vec<GuestCommand<'_>> = given.iter().map(guest_command).collect();
        let outcomes = together_or_alone(&limits, &commands, |commands, fuel| {
            self.attempt(
                machine,
                turn,
                events,
                |module, call, context| invoke::apply(module, call, fuel, context, commands),
                judge_outcomes(commands.len()),
            )
        })?;
        let answered = hash_outcomes(outcomes.iter());
        self.rows.registry.known(machine).chain(turn.index, answered);
        Ok(outcomes)
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
        let fuel = self.rows.registry.known(machine).limits().command_fuel;
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
        events: &mut Vec<Event>,
    ) -> Result<Outcome, Fault> {
        let fuel = self.rows.registry.known(machine).limits().command_fuel;
        let done = self.attempt(
            machine,
            turn,
            events,
            |module, call, context| invoke::init(module, call, fuel, context, config),
            judge,
        )?;
        Ok(done.unwrap_or_else(rejected))
    }

    /// One step of a migration from `schema`, by the machine's module.
    ///
    /// # Errors
    /// When this machine fails.
    pub(crate) fn migrate(
        &mut self,
        machine: u32,
        (schema, step): (u32, u32),
        turn: &Turn,
        events: &mut Vec<Event>,
    ) -> Result<Result<Progress, Rejection>, Fault> {
        let limits = *self.rows.registry.known(machine).limits();
        let fuel = limits.command_fuel.saturating_mul(MIGRATION_COMMANDS);
        let judge = |returned: Result<Progress, GuestError>| match returned {
            Ok(progress) => Verdict::Keep(Ok(progress)),
            Err(error) => match rejection(error) {
                Ok(rejection) => Verdict::Undo(Err(rejection)),
                Err(code) => Verdict::Break(code),
            },
        };
        let done = self.attempt(
            machine,
            turn,
            events,
            |module, call, context| invoke::migrate(module, call, fuel, context, schema, step),
            judge,
        )?;
        Ok(done.unwrap_or_else(|code| Err(Rejection::host(code))))
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
        let settled = settle(&mut call, returned, self.rows.outbox.count(id), judge);
        let Tables::Writer(store) = call.tables else { unreachable!("it went in as the writer") };
        self.state = Some(store);
        self.rows.registry.known(id).charge(call.fuel_used, turn.time_ms);
        let verdict = settled?;
        if !matches!(verdict, Verdict::Keep(_)) {
            self.undo()?;
        }
        match verdict {
            Verdict::Keep(kept) => {
                self.store().release()?;
                self.rows.registry.known(id).chain(turn.index, call.written.digest128());
                self.keep(id, call.changes, call.next_effect, turn.index.0, events)?;
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
        index: u64,
        events: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let before = events.len();
        let known = self.rows.registry.known(machine);
        for (topic, payload) in changes.events {
            let sequence = u32::try_from(events.len()).expect("EVENTS_MAX bounds them");
            events.push(Event { machine: known.name.to_string(), topic, payload, sequence });
        }
        let published = &events[before..];
        let first = known.number_events(published.len() as u64);
        let kept = known.limits().events_kept;
        let state = self.state.as_mut().expect("no call is going on");
        if kept > 0 && !published.is_empty() {
            kept_events::keep(state, machine, (first, kept), index, published)?;
        }
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
