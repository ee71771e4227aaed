//! A machine's own WASM module as the sequential specification of what the machine does: nobody
//! wrote the rules down a second time, so nobody wrote them down wrong.
//!
//! [`MachineSpec`] is what the searches of [`crate::lin`] step through; [`ReplayedLog`] runs a
//! whole committed log. What they do not see: a mistake of the module itself. Checks that trust no
//! machine are elsewhere.

pub mod by_key;
mod difference;
mod keyed_spec;
mod replayed_log;
mod replayed_spec;
mod sessions;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use pgraft_host::{Outcome, Request, State, Turn};

pub use difference::Difference;
pub use keyed_spec::KeyedSpec;
pub use replayed_log::{Broken, Origin, ReplayedLog, Seen};
pub use replayed_spec::ReplayedSpec;

use crate::history::Reply;
use crate::lin::spec::{Asked, Purpose, Specification, Stamp};

/// What of an answer does not depend on other keys; see [`MachineSpec::seen_as`].
pub type View = Arc<dyn Fn(&Asked, &Reply) -> Reply + Send + Sync>;

/// The specification of one machine.
///
/// A call is made at its [`Stamp`]: index, time and chance of its entry. Calls without one are made
/// at index 0 and time 0, so histories without a committed log can only be judged of machines that
/// look at neither (a put of `kv` does not; leases do).
#[derive(Clone)]
pub struct MachineSpec {
    module: pgraft_host::Specification,
    initial: State,
    view: Option<View>,
    probe: Option<Arc<[u8]>>,
    /// Answers to queries, by the digest of the state: a search asks the same again and again.
    answers: Arc<Mutex<HashMap<(u128, Asked), Reply>>>,
}

/// Answers that are kept at most; beyond, all are forgotten.
const ANSWERS_MAX: usize = 200_000;

/// A state as the searches tell it from others.
#[derive(Clone, Debug)]
pub struct Condition {
    machine: State,
    /// The answer to the probe, if there is one.
    answer: Option<Arc<Reply>>,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Condition) -> bool {
        match (&self.answer, &other.answer) {
            (Some(one), Some(other)) => one == other,
            _ => self.machine == other.machine,
        }
    }
}

impl Eq for Condition {}

impl Hash for Condition {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match &self.answer {
            Some(answer) => answer.hash(hasher),
            None => self.machine.hash(hasher),
        }
    }
}

impl MachineSpec {
    /// The machine from `initial` on: [`pgraft_host::Specification::initial`], or a state of a
    /// [`ReplayedLog`].
    pub fn new(module: pgraft_host::Specification, initial: State) -> MachineSpec {
        MachineSpec { module, initial, view: None, probe: None, answers: Arc::default() }
    }

    /// Compares answers as `view` shows them. Judged key by key, the machine runs with the calls of
    /// one key only: whatever depends on other keys (`kv`: revisions) must be left out then.
    #[must_use]
    pub fn seen_as(self, view: View) -> MachineSpec {
        MachineSpec { view: Some(view), ..self }
    }

    /// States are one state when they answer `query` alike. A machine that keeps its history is
    /// never twice in the same state, so a search that is not told the order (by a view, say) has
    /// to try two to the power of all pairs of changes at the same time. Sound if every answer
    /// that the calls of a history can get depends on nothing but what this query tells: for calls
    /// of `kv` that look at the present only, a range of all keys.
    #[must_use]
    pub fn told_apart_by(self, query: &[u8]) -> MachineSpec {
        MachineSpec { probe: Some(query.into()), ..self }
    }

    fn condition(&self, machine: State) -> Condition {
        let ask = |query: &Arc<[u8]>| {
            let outcome = self.module.query(&machine, &turn(None), query).expect(HARNESS);
            Arc::new(reply(&outcome))
        };
        let answer = self.probe.as_ref().map(ask);
        Condition { machine, answer }
    }

    fn answer(&self, state: &State, asked: &Asked) -> Reply {
        let key = (state.digest(), asked.clone());
        let lock = || self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&key) {
            return known.clone();
        }
        let outcome = self.module.query(state, &turn(asked.at), &asked.payload).expect(HARNESS);
        let answer = reply(&outcome);
        let mut answers = lock();
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(key, answer.clone());
        answer
    }

    /// The machine's name.
    pub fn name(&self) -> &str {
        self.module.name()
    }
}

/// Why a call of the module does not fail.
const HARNESS: &str = "the engine runs on this machine";

impl Specification for MachineSpec {
    type State = Condition;
    type Operation = Asked;
    type Reply = Reply;

    fn initial(&self) -> Condition {
        self.condition(self.initial.clone())
    }

    /// # Panics
    /// When the engine fails: the harness has no memory, or no instance left.
    fn step(&self, state: &Condition, asked: &Asked) -> (Condition, Reply) {
        assert_eq!(asked.machine, self.module.name(), "a call of another machine");
        let turn = turn(asked.at);
        let mut came = match asked.purpose {
            Purpose::Query => return (state.clone(), self.answer(&state.machine, asked)),
            Purpose::Wake => self.module.wake(&state.machine, &turn).expect(HARNESS),
            Purpose::Command => {
                let request =
                    Request { principal: &asked.principal, ..Request::new(&asked.payload) };
                self.module.apply(&state.machine, &turn, request).expect(HARNESS)
            }
        };
        let reply = reply(&came.outcomes.remove(0));
        if came.state == state.machine {
            return (state.clone(), reply);
        }
        (self.condition(came.state), reply)
    }

    fn is_read(&self, asked: &Asked) -> bool {
        asked.purpose == Purpose::Query
    }

    /// Only with a view: answers of `kv` tell the revision of the whole store.
    fn is_by_key(&self) -> bool {
        self.view.is_some()
    }

    fn agrees(&self, asked: &Asked, expected: &Reply, observed: &Reply) -> bool {
        match &self.view {
            Some(view) => view(asked, expected) == view(asked, observed),
            None => expected == observed,
        }
    }
}

fn turn(at: Option<Stamp>) -> Turn {
    let Stamp { index, term, time_ms, entropy, .. } =
        at.unwrap_or(Stamp { index: 0, term: 0, position: 0, time_ms: 0, entropy: 0 });
    Turn { index: pgraft_replica::Index(index), term, time_ms, entropy }
}

/// What a machine said, as histories have it.
pub fn reply(outcome: &Outcome) -> Reply {
    match outcome {
        Ok(bytes) => Reply::Accepted(bytes.clone()),
        Err(rejection) => {
            Reply::Rejected { code: rejection.code, message: rejection.message.clone() }
        }
    }
}

#[cfg(test)]
mod tests;
