//! Machines: for any module, every order of a few commands from a few clients.
//!
//! A state of the model is a state of the machine's [`Specification`](pgraft_host::Specification)
//! and how far each client's list of commands has come. An action puts one entry into the log: a
//! client's next command, the next commands of two clients together, a client's last command once
//! more, or the wake-up that the machine wanted. After each transition four real hosts over SQLite
//! apply the whole log that led there ([`hosts`]): one entry by entry; one in one transaction, on
//! another engine; one that hands its state to another disk in a snapshot half-way; one that dies
//! at some call of its disk and begins again from what is left. All must say what the module says
//! as a function, and end with equal tables, sessions included.
//!
//! Abstracted, and why that is sound: the network and raft (an order of entries is all that
//! machines see of them); several clients' sessions are opened by the first entry (sessions do not
//! see each other, but for limits that are far away); states of equal digest are one state, and the
//! hosts are asked about the first log that led to it.
//!
//! **Invariants.** What a module exports as `invariant` must hold in every state. Beside it, or for
//! a module without, one can be stated as a query that has the same answer in every state:
//! [`Invariant::Query`], on the command line `--invariant-query QUERY --expect ANSWER` (without
//! `--expect`: any answer, but no rejection). A bank answers the sum of all accounts. For `kv` an
//! invariant is built in ([`kv`]): its revisions are in order, and each pair fits its history.

pub mod file;
pub mod hosts;
pub mod kv;
mod orders;
pub mod subject;

pub use orders::{Action, Orders, State};
pub use subject::{Invariant, Module, Mutant, Subject};

use std::net::SocketAddr;

use crate::bounds::Bounds;
use crate::catalogue::Entry;
use crate::report::{Expected, Report};
use crate::search;

/// The property that hosts and module agree.
pub const AGREE: &str = "hosts say what the module says";
/// The property that the invariant holds.
pub const INVARIANT: &str = "the invariant holds";
/// The property that batches are invisible.
pub const BATCHES: &str = "a batch is as its commands one after another";

/// Checks any machine: every order of the commands of its clients, within `bounds`.
/// `bounds.servers` has no meaning here: the subject has its clients.
pub fn check(name: &str, subject: Subject, bounds: &Bounds) -> Report {
    search::run(name, Orders::new(subject), bounds)
}

/// Serves stateright's Explorer for any machine and never returns.
pub fn explore(subject: Subject, bounds: &Bounds, address: SocketAddr) {
    search::explore(Orders::new(subject), bounds, address);
}

macro_rules! model {
    ($name:literal, $about:literal, $small:expr, $expected:expr, $subject:expr) => {
        Entry {
            name: $name,
            about: $about,
            small: $small,
            expected: $expected,
            check: |bounds| check($name, $subject(bounds.servers), bounds),
            explore: |bounds, address| explore($subject(bounds.servers), bounds, address),
        }
    };
}

/// The models of the machine.
pub fn entries() -> Vec<Entry> {
    vec![
        model!(
            "machine-kv",
            "kv on four hosts: every order of the commands of SERVERS clients",
            Bounds::everything(2),
            Expected::Holds,
            kv::subject
        ),
        model!(
            "machine-kv-function",
            "kv as a function: every order of the commands of SERVERS clients",
            Bounds::everything(3),
            Expected::Holds,
            |clients| kv::subject(clients).repeating(0).alone()
        ),
        model!(
            "machine-kv-half-batch",
            "canary: of two commands in one entry, the second is left out",
            Bounds::everything(2),
            Expected::Refuted(BATCHES),
            |clients| kv::subject(clients).mutated(Mutant::HalfBatch)
        ),
        model!(
            "machine-kv-lost-write",
            "canary: the function forgets a write",
            Bounds::everything(2),
            Expected::Refuted(AGREE),
            |clients| kv::subject(clients).mutated(Mutant::LostWrite)
        ),
        model!(
            "machine-kv-sessions-left-out",
            "canary: a snapshot without the table of sessions",
            Bounds::everything(2),
            Expected::Refuted(AGREE),
            |clients| kv::subject(clients).mutated(Mutant::SnapshotWithoutSessions)
        ),
        model!(
            "machine-kv-own-clock",
            "canary: a host tells the machine its own time",
            Bounds::everything(2),
            Expected::Refuted(AGREE),
            |clients| kv::subject(clients).mutated(Mutant::OwnClock)
        ),
        model!(
            "machine-kv-no-replay",
            "canary: a host that crashed does not apply again what it lost",
            Bounds::everything(2),
            Expected::Refuted(AGREE),
            |clients| kv::subject(clients).mutated(Mutant::EntryLostInCrash)
        ),
        model!(
            "machine-kv-false-invariant",
            "canary: an invariant that does not hold",
            Bounds::everything(2),
            Expected::Refuted(INVARIANT),
            |clients| kv::subject(clients).with_invariant(kv::false_invariant())
        ),
    ]
}

#[cfg(test)]
mod tests;
