//! Workloads: what clients ask while things go wrong, and what they make of the answers.
//!
//! A workload is shared by all clients of a run and asked one client at a time; all its chance
//! comes from the caller. It says in [`Fact`]s what an operation asks and what an answer tells, for
//! checkers that trust no machine. Not here: sending, waiting, and judging.
//!
//! [`Operation::key`] divides a machine into parts that know nothing of each other. An operation of
//! `kv` with a key says nothing of revisions, because those belong to the whole store; answers
//! still tell them, and [`without_revisions`] takes them out for checks key by key.

mod append;
mod bank;
pub mod custom;
mod kv;
mod leases;
mod members;
mod mixed;
mod register;
mod transactions;
mod watch;

use pgraft_judge::history::{Call, Fact, Reply};
use serde::Deserialize;

pub use append::Append;
pub use bank::Bank;
pub use custom::Custom;
pub use kv::{everything, without_revisions};
pub use leases::Leases;
pub use members::Members;
pub use mixed::Mixed;
pub use register::Register;
pub use transactions::Transactions;
pub use watch::Watch;

use crate::seed::Chance;

/// What clients ask.
pub trait Workload {
    /// The next operation of `client`; `None` when it has nothing to ask just now. After it the
    /// client waits for its end; after an end that is unknown it goes on under a new number.
    fn next(&mut self, client: u64, chance: &mut Chance) -> Option<Operation>;

    /// An operation of `client` ended; `op` is its number in the history. Says what was found out:
    /// nothing, unless it was answered.
    fn ended(&mut self, client: u64, op: u64, operation: &Operation, end: &End) -> Told;
}

/// Something to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The workload that wants to know.
    pub workload: Name,
    /// Name of the machine.
    pub machine: String,
    /// Command, query, or query that may be stale.
    pub call: Call,
    /// Encoded for the machine.
    pub payload: Vec<u8>,
    /// Operations of different keys are independent; `None`: it may touch anything.
    pub key: Option<String>,
    /// For people: `put x 7`.
    pub says: String,
    /// What is asked, in words that need no codec.
    pub facts: Vec<Fact>,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was carried out.
    Ok {
        /// Log index at which.
        index: u64,
        /// What the machine said.
        reply: Reply,
    },
    /// It was certainly not carried out and never will be; why, in words.
    Fail(String),
    /// Nobody knows; why, in words.
    Unknown(String),
}

/// What was found out by an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// For people: `x = 7, revision 9`.
    pub says: String,
    /// In words that need no codec.
    pub facts: Vec<Fact>,
}

/// The workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// Put, get, compare-and-set and delete on many short-lived keys and now and then a hot one.
    Register,
    /// The same, nearly all on one key.
    HotKey,
    /// Several keys at once, with compares on revisions, older revisions, compaction.
    Transactions,
    /// Grant, attach, keep alive, revoke, let expire.
    Leases,
    /// Lists that only grow, several at once, compared by revision before they are written.
    Append,
    /// Transfers between accounts, and the sum of all.
    Bank,
    /// Readers that follow all changes from where they were.
    Watch,
    /// The list of members, while it changes.
    Members,
    /// Commands from templates ([`Custom`]); no scenario can name it.
    #[serde(skip)]
    Custom,
}

impl Name {
    /// The workload of this name.
    ///
    /// # Panics
    /// For [`Name::Custom`], which is made from its templates.
    pub fn workload(self) -> Box<dyn Workload> {
        match self {
            Name::Register => Box::new(Register::new()),
            Name::HotKey => Box::new(Register::hot()),
            Name::Transactions => Box::new(Transactions::new()),
            Name::Leases => Box::new(Leases::new()),
            Name::Append => Box::new(Append::new()),
            Name::Bank => Box::new(Bank::new()),
            Name::Watch => Box::new(Watch::new()),
            Name::Members => Box::new(Members::new()),
            Name::Custom => panic!("a custom workload is made from its templates"),
        }
    }
}

#[cfg(test)]
mod tests;
