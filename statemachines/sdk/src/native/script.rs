//! What a golden script needs of whatever runs the machine.
//!
//! Scripts run twice: here over [`Host`], and in the host crate's tests over the compiled
//! module and the real store. Both must print the same, which is how the two are kept alike.

use super::{Effect, Event, Host};
use crate::{Machine, Outcome, Result};

/// One machine, created and empty, at log time 0.
pub trait Backend {
    /// Creates the machine with its configuration. Called once, before anything else.
    ///
    /// # Errors
    /// What the machine said; the backend is not used any more then.
    fn init(&mut self, config: &[u8]) -> Result<()>;

    /// From the next entry on, entries carry this term. It never goes back.
    fn set_term(&mut self, term: u64);

    /// Applies one log entry with these commands, at this log time (unix ms, never going back).
    fn apply(&mut self, time_ms: u64, payloads: &[Vec<u8>]) -> Vec<Outcome>;

    /// Asks the machine whether it would take this command.
    ///
    /// # Errors
    /// What the machine said.
    fn check(&mut self, payload: &[u8]) -> Result<()>;

    /// Asks a question. The context's time is that of the last entry.
    ///
    /// # Errors
    /// What the machine said.
    fn query(&mut self, request: &[u8]) -> Outcome;

    /// When the machine wants to be woken, in unix ms.
    fn next_wake(&mut self) -> Option<u64>;

    /// Applies one entry that wakes the machine; called only when [`Backend::next_wake`] is due.
    ///
    /// # Errors
    /// What the machine said.
    fn wake(&mut self, time_ms: u64) -> Result<()>;

    /// The effects that wait for an answer, oldest first. Their ids need not be those of another
    /// backend: scripts print positions.
    fn effects(&mut self) -> Vec<Effect>;

    /// Applies one entry that answers an effect.
    ///
    /// # Errors
    /// What the machine said.
    fn effect_done(&mut self, time_ms: u64, id: u64, outcome: Outcome) -> Result<()>;

    /// The events since the last call, in order.
    fn take_events(&mut self) -> Vec<Event>;
}

impl<M: Machine> Backend for Host<M> {
    fn init(&mut self, config: &[u8]) -> Result<()> {
        Host::init(self, config)
    }

    fn set_term(&mut self, term: u64) {
        Host::set_term(self, term);
    }

    fn apply(&mut self, time_ms: u64, payloads: &[Vec<u8>]) -> Vec<Outcome> {
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        self.apply_batch(time_ms, &payloads)
    }

    fn check(&mut self, payload: &[u8]) -> Result<()> {
        Host::check(self, payload)
    }

    fn query(&mut self, request: &[u8]) -> Outcome {
        Host::query(self, request)
    }

    fn next_wake(&mut self) -> Option<u64> {
        Host::next_wake(self)
    }

    fn wake(&mut self, time_ms: u64) -> Result<()> {
        let woken = Host::wake(self, time_ms)?;
        assert!(woken, "the wake-up at {time_ms} was not due");
        Ok(())
    }

    fn effects(&mut self) -> Vec<Effect> {
        Host::effects(self).to_vec()
    }

    fn effect_done(&mut self, time_ms: u64, id: u64, outcome: Outcome) -> Result<()> {
        Host::effect_done(self, time_ms, id, outcome)
    }

    fn take_events(&mut self) -> Vec<Event> {
        Host::take_events(self)
    }
}
