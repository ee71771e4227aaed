//! The records of `pgraft:machine@0.1.0` (statemachines/wit) as the engine passes them. Names and
//! versions of the interfaces are in pgraft-engine.
//!
//! Parameters borrow, so that a batch crosses into the guest with one copy.

use wasmtime::component::{ComponentType, Lift, Lower};

/// What the log fixes about the entry being applied.
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Context {
    pub(crate) index: u64,
    pub(crate) term: u64,
    #[component(name = "time-ms")]
    pub(crate) time_ms: u64,
    pub(crate) seed: u64,
}

/// Who sent a command.
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Caller<'a> {
    pub(crate) principal: &'a str,
    pub(crate) session: u64,
    pub(crate) seq: u64,
}

/// A command.
#[derive(Clone, Copy, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct GuestCommand<'a> {
    pub(crate) caller: Caller<'a>,
    pub(crate) payload: &'a [u8],
}

/// A rejection.
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct GuestError {
    pub(crate) code: u32,
    pub(crate) message: String,
}

/// What a command came to, as the guest says it.
pub(crate) type GuestOutcome = Result<Vec<u8>, GuestError>;

/// Why `react` is called.
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(variant)]
pub(crate) enum Trigger {
    #[component(name = "wake")]
    Wake,
    #[component(name = "effect-done")]
    EffectDone((u64, GuestOutcome)),
}

/// One page of a scan.
#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct GuestPage {
    pub(crate) rows: Vec<u8>,
    pub(crate) count: u32,
    pub(crate) more: bool,
}

/// How far a migration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum Progress {
    /// The rows are the new schema's.
    #[component(name = "done")]
    Done,
    /// Another step is needed.
    #[component(name = "more")]
    More,
}

/// Level of a guest's log line.
#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "the engine makes them, from the guest's number")]
pub(crate) enum Level {
    #[component(name = "error")]
    Error,
    #[component(name = "warn")]
    Warn,
    #[component(name = "info")]
    Info,
    #[component(name = "debug")]
    Debug,
}

/// What a module says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct Manifest {
    /// For people.
    pub name: String,
    /// Semantic version of the module, as its author writes it.
    pub version: String,
    /// Schema of the rows that it reads and writes.
    pub schema: u32,
    /// The oldest schema that its `migrate` can start from.
    #[component(name = "migrates-from")]
    pub migrates_from: u32,
    /// Description of commands and queries for tools; may be empty.
    pub api: String,
    /// Whether commands and queries on different keys do not see each other's effects.
    pub keyed: bool,
}
