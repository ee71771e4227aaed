//! A host in memory, for running machines in plain tests.
//!
//! [`Host`] owns one machine's keyspace and calls the machine the way the real host does: a
//! batch of commands is one entry, a rejected command is undone, a query cannot write. Not here:
//! fuel, memory limits and traps; a panic in the machine is a panic of the test.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use crate::{Command, Context, Error, Machine, Outcome, Progress, Result, Trigger};

pub mod interface;
#[cfg(feature = "typed")]
mod sandbox;
mod script;
#[cfg(feature = "typed")]
pub mod serve;
mod state;

#[cfg(feature = "typed")]
pub use sandbox::Sandbox;
pub use script::Backend;
#[cfg(feature = "typed")]
pub use serve::serve;
pub use state::State;

/// An event, as the machine emitted it: topic and payload.
pub type Event = (Vec<u8>, Vec<u8>);

/// An effect that the machine asked for and that nobody has answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The id under which [`Host::effect_done`] answers it.
    pub id: u64,
    /// What to do.
    pub kind: String,
    /// With what.
    pub payload: Vec<u8>,
}

/// One machine over storage in memory.
pub struct Host<M> {
    state: State,
    context: Context,
    principal: String,
    machine: PhantomData<M>,
}

impl<M: Machine> Default for Host<M> {
    fn default() -> Self {
        Host::new()
    }
}

impl<M: Machine> Host<M> {
    /// An empty keyspace at index 0, term 1, time 0. Nothing has run, not even `init`.
    pub fn new() -> Host<M> {
        let context = Context { index: 0, term: 1, time_ms: 0, seed: 0 };
        let principal = "test".to_owned();
        Host { state: State::default(), context, principal, machine: PhantomData }
    }

    /// The same state under another version of the machine; [`Host::migrate`] is the next call.
    pub fn replaced<N: Machine>(self) -> Host<N> {
        let Host { state, context, principal, machine: _ } = self;
        Host { state, context, principal, machine: PhantomData }
    }

    /// Whom further commands come from; at first it is "test".
    pub fn set_principal(&mut self, principal: &str) {
        self.principal = principal.to_owned();
    }

    /// Runs `init`; its writes are kept when it accepts.
    ///
    /// # Errors
    /// What the machine said.
    pub fn init(&mut self, config: &[u8]) -> Result<()> {
        self.enter(0);
        self.undone_when_rejected(|context| M::init(context, config))
    }

    /// From the next entry on, entries carry this term.
    pub fn set_term(&mut self, term: u64) {
        assert!(term >= self.context.term, "terms never go back");
        self.context.term = term;
    }

    /// Applies one entry with one command. Time never goes back: an earlier one is raised.
    pub fn apply(&mut self, time_ms: u64, payload: &[u8]) -> Outcome {
        let mut outcomes = self.apply_batch(time_ms, &[payload]);
        outcomes.pop().expect("one outcome per command")
    }

    /// Applies one entry with several commands.
    ///
    /// # Panics
    /// When the machine does not return one outcome per command.
    pub fn apply_batch(&mut self, time_ms: u64, payloads: &[&[u8]]) -> Vec<Outcome> {
        let commands: Vec<Command> = payloads.iter().map(|payload| self.command(payload)).collect();
        self.enter(time_ms);
        let context = self.context;
        let outcomes = self.state.lend(false, || M::apply_batch(&context, &commands));
        assert_eq!(outcomes.len(), commands.len(), "one outcome per command");
        self.state.forget_marks();
        outcomes
    }

    /// Asks the machine whether it would take this command.
    ///
    /// # Errors
    /// What the machine said.
    pub fn check(&mut self, payload: &[u8]) -> Result<()> {
        let (context, command) = (self.context, self.command(payload));
        self.state.lend(true, || M::check(&context, &command))
    }

    /// Asks a question. A write of the machine panics.
    ///
    /// # Errors
    /// What the machine said.
    pub fn query(&mut self, request: &[u8]) -> Outcome {
        let context = self.context;
        self.state.lend(true, || M::query(&context, request))
    }

    /// Lets time pass: wakes the machine if it asked to be woken by then. False when it did not.
    ///
    /// # Errors
    /// What the machine said.
    pub fn wake(&mut self, time_ms: u64) -> Result<bool> {
        if self.state.wake_at().is_none_or(|due| due > time_ms) {
            return Ok(false);
        }
        self.state.clear_wake();
        self.enter(time_ms);
        self.undone_when_rejected(|context| M::react(context, &Trigger::Wake))?;
        Ok(true)
    }

    /// Answers an effect.
    ///
    /// # Errors
    /// What the machine said.
    pub fn effect_done(&mut self, time_ms: u64, id: u64, outcome: Outcome) -> Result<()> {
        self.state.effects_mut().retain(|effect| effect.id != id);
        self.enter(time_ms);
        let trigger = Trigger::EffectDone((id, outcome));
        self.undone_when_rejected(|context| M::react(context, &trigger))
    }

    /// Makes one step of a migration, in an entry of its own.
    ///
    /// # Errors
    /// What the machine said.
    pub fn migrate(&mut self, from_schema: u32, step: u32) -> Result<Progress> {
        self.enter(0);
        self.undone_when_rejected(|context| M::migrate(context, from_schema, step))
    }

    /// Asks the machine whether its state is as it must be. A write of the machine panics.
    ///
    /// # Errors
    /// What is wrong.
    pub fn invariant(&mut self) -> Result<(), String> {
        let context = self.context;
        self.state.lend(true, || M::invariant(&context))
    }

    /// The events since the last call, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.state.take_events()
    }

    /// The effects that wait for an answer, oldest first.
    pub fn effects(&self) -> &[Effect] {
        self.state.effects()
    }

    /// When the machine wants to be woken, in unix ms.
    pub fn next_wake(&self) -> Option<u64> {
        self.state.wake_at()
    }

    /// The time of the last entry, in unix ms.
    pub fn time_ms(&self) -> u64 {
        self.context.time_ms
    }

    /// All rows, for comparing two runs.
    pub fn rows(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        self.state.rows()
    }

    fn enter(&mut self, time_ms: u64) {
        self.context.index += 1;
        self.context.time_ms = self.context.time_ms.max(time_ms);
        // Any function of the index will do; the real one is a hash over cluster and machine too.
        self.context.seed = self.context.index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn command(&self, payload: &[u8]) -> Command {
        let caller = crate::Caller { principal: self.principal.clone(), session: 0, seq: 0 };
        Command { caller, payload: payload.to_vec() }
    }

    fn undone_when_rejected<T>(&mut self, call: impl FnOnce(&Context) -> Result<T>) -> Result<T> {
        let context = self.context;
        let outcome = self.state.lend(false, || {
            let mark = interface::storage::mark();
            call(&context).inspect_err(|_: &Error| interface::storage::rollback_to(mark))
        });
        self.state.forget_marks();
        outcome
    }
}
