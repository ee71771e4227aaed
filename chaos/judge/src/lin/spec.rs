//! What a sequential object would do: the measure that a concurrent history is held against. Not
//! here: histories, and how an order is searched for.

use std::fmt::Debug;
use std::hash::Hash;

use crate::history::{Call, Reply};

/// A sequential object: deterministic, total (a refusal is a reply, too), without side effects.
pub trait Specification {
    /// Everything the object remembers. Cloned at each step of a search and kept in sets, so
    /// cheap to clone, compare and hash (`imbl` maps, shared pages).
    type State: Clone + Eq + Hash;
    /// What it can be asked.
    type Operation;
    /// What it answers.
    type Reply: PartialEq + Debug;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after `operation`, and the answer.
    ///
    /// # Panics
    /// A specification that cannot compute (not: that refuses) panics: the harness is broken.
    fn step(&self, state: &Self::State, operation: &Self::Operation) -> (Self::State, Self::Reply);

    /// Whether `operation` never changes any state, whatever it answers. Such operations need no
    /// place in an order when nobody heard their answer.
    fn is_read(&self, _operation: &Self::Operation) -> bool {
        false
    }

    /// Whether calls of different keys can be judged apart (P-compositionality): what they answer,
    /// as far as [`Specification::agrees`] looks, depends on their own key only. An object whose
    /// answers count the changes of all keys cannot, and need not: they tell the order.
    fn is_by_key(&self) -> bool {
        true
    }

    /// Whether what was observed is what the object would have answered. A specification that is
    /// judged key by key leaves out here what depends on other keys.
    fn agrees(
        &self,
        _operation: &Self::Operation,
        expected: &Self::Reply,
        observed: &Self::Reply,
    ) -> bool {
        expected == observed
    }
}

/// What a machine is asked: the operation of a specification that is the machine's own module.
///
/// The search engines only pass it on. When the committed log is known, `at` is known for
/// everything in it; without it a command is judged by payload and principal alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// Name of the machine.
    pub machine: String,
    /// Who the machine is told is asking.
    pub principal: String,
    /// What for.
    pub purpose: Purpose,
    /// Encoded for the machine; empty for a wake-up.
    pub payload: Vec<u8>,
    /// Where in the log, if known.
    pub at: Option<Stamp>,
}

/// Why a machine is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A command of a client.
    Command,
    /// A read: never changes anything.
    Query,
    /// The time at which the machine wanted to be woken has passed.
    Wake,
}

impl From<Call> for Purpose {
    fn from(call: Call) -> Purpose {
        match call {
            Call::Command => Purpose::Command,
            Call::Query | Call::StaleQuery => Purpose::Query,
        }
    }
}

/// What the log fixes about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// Index of the entry; for a query the last entry that was applied.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Position of the command in the entry's body; for a query `u32::MAX` (behind all of them).
    pub position: u32,
    /// The log's time at that entry, Unix milliseconds.
    pub time_ms: u64,
    /// The leader's chance for that entry (0 where there is none): seeds derive from it.
    pub entropy: u64,
}

/// A specification whose operations are calls of machines: what [`crate::judge::Options`] takes
/// for each machine of a history.
///
/// `Reply` is that of the history, so that answers compare byte by byte.
pub trait MachineSpecification: Specification<Operation = Asked, Reply = Reply> {}

impl<S: Specification<Operation = Asked, Reply = Reply>> MachineSpecification for S {}
