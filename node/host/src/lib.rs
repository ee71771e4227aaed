//! The module host: applies committed entries in replicated state machines, and answers queries.
//!
//! A machine is a WebAssembly component. Its state is a keyspace of state.db, so the host can do
//! everything that makes it safe: a fresh instance per entry, so that nothing survives in memory;
//! a savepoint, so that a trap leaves nothing half-done; fuel and limits that are equal on every
//! replica. What a machine does is a function of module, keyspace and entry, or the host stops:
//! a *rejection* is an outcome and equal everywhere, a *fault* is this machine's and never becomes
//! one (WASM.md 4.3).
//!
//! The way of a batch: [`Applier::apply`] (`apply.rs`) opens one transaction; `plan.rs` sorts the
//! commands of an entry into calls, after `sessions.rs` has answered what was applied before;
//! `attempt.rs` makes the calls through `invoke.rs`, whose guests reach back through `call.rs`, and
//! `verdict.rs` says what they come to; `registry.rs`, `outbox.rs`, `wake.rs` and `digest.rs` keep
//! the host's own rows, in keyspace 0.
//!
//! [`Specification`] runs the same calls over rows in memory: a machine as a pure function, for
//! whoever checks what nodes did.
//!
//! Absent on purpose: a compiler, threads, clocks, and what a command means.
#![warn(missing_docs)]

mod apply;
mod attempt;
mod blobs;
mod cache;
mod call;
mod change;
mod command;
mod copy;
mod digest;
mod fault;
mod fields;
mod imports;
mod interface;
mod invoke;
mod kept_events;
mod lifecycle;
pub mod limits;
mod machines;
mod outbox;
mod overlay;
mod plan;
mod query;
mod registration;
mod registry;
mod rehearsal;
mod rejection;
mod rows;
mod sessions;
mod share;
mod sheet;
mod specification;
mod tables;
mod verdict;
mod wake;

pub use apply::{Applied, Applier, Bootstrap, Event};
pub use cache::{CacheError, CachedCode, CodeCache};
pub use change::{Change, MACHINES, NewLimits, Sha256Bytes};
pub use command::{Command, CommandError};
pub use fault::Fault;
pub use interface::{Manifest, Progress};
pub use kept_events::KeptEvent;
pub use lifecycle::is_name;
pub use machines::{Code, Machines, hex};
pub use outbox::Effect;
pub use pgraft_engine::{Place, fingerprint as engine_fingerprint};
pub use plan::Turn;
pub use query::{Answer, Listed, Querier};
pub use registration::{Migration, Ran, Registration};
pub use registry::is_built_in;
pub use rehearsal::Rehearsal;
pub use rejection::{HostCode, Outcome, Rejection};
pub use specification::{Migrated, Request, Specification, State, Transition};

#[cfg(test)]
mod tests;
