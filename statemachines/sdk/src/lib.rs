//! What a replicated state machine is written with.
//!
//! A machine is a type that implements [`typed::Machine`], whose commands and rows are types, or
//! [`Machine`], to which all of them are bytes; [`export!`] makes the module of either. All its
//! state lives in [`storage`], an ordered keyspace of bytes that the host keeps inside the
//! transaction of the log entry; it reads no clock and no random number but those of its
//! [`Context`]. Compiled for `wasm32-unknown-unknown` the functions here are the host's; compiled
//! for any other target they are a store in memory ([`native`]), so that the same machine runs
//! in plain tests.
//!
//! Not here: the host's side, and limits in force (they belong to the host). What a command's
//! bytes mean is the machine's own affair; [`codec`] has primitives for those who want some.
//!
//! # Building a module
//!
//! ```text
//! pgraft machine build my-machine
//! ```
//!
//! It runs cargo for `wasm32-unknown-unknown` with a small stack (the host makes a fresh instance
//! for each log entry; clearing a stack of 1 MiB, the default, costs more than all the rest) and
//! makes a component of what comes out. Programs do the same with the crate pgraft-build.

#![warn(missing_docs)]

pub mod codec;
mod keyspace;
mod machine;

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, missing_docs, reason = "generated: the boundary to the host is a C interface")]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
mod guest;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
#[cfg(feature = "typed")]
pub mod typed;

pub use keyspace::{Rows, Scan, prefix_end, scan, scan_back, scan_keys, successor};
pub use machine::{Machine, Result, each};

#[cfg(target_arch = "wasm32")]
pub use bindings::{
    exports::pgraft::machine::guest::{Manifest, Progress},
    pgraft::machine::{effects, events, log, storage, types::*},
};
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use guest::Shim;
#[cfg(not(target_arch = "wasm32"))]
pub use native::interface::{
    Caller, Command, Context, Error, Manifest, Outcome, Progress, Trigger, effects, events, log,
    storage,
};

impl Error {
    /// A rejection. `code` must be at least 100: lower ones are the host's.
    pub fn new(code: u32, message: impl Into<String>) -> Error {
        Error { code, message: message.into() }
    }
}

/// Asks that another machine of this cluster carry out a command, exactly once; its outcome comes
/// back as [`Trigger::EffectDone`] under the returned id.
pub fn request_command(machine: &str, payload: &[u8]) -> u64 {
    let mut request = Vec::with_capacity(4 + machine.len() + payload.len());
    request.extend_from_slice(&(machine.len() as u32).to_le_bytes());
    request.extend_from_slice(machine.as_bytes());
    request.extend_from_slice(payload);
    effects::request(COMMAND_EFFECT, &request)
}

/// The kind of effect by which one machine sends another a command.
pub const COMMAND_EFFECT: &str = "command";

/// Makes a module of a [`Machine`]. Use it once, in the crate that is built as `cdylib`.
///
/// On other targets than `wasm32` it does nothing, so that the crate can also be a library.
#[cfg(target_arch = "wasm32")]
#[macro_export]
macro_rules! export {
    ($machine:ty) => {
        type __PgraftMachine = $crate::Shim<$machine>;
        $crate::bindings::export_component!(__PgraftMachine with_types_in $crate::bindings);
    };
}

/// Makes a module of a [`Machine`]. Use it once, in the crate that is built as `cdylib`.
///
/// On other targets than `wasm32` it does nothing, so that the crate can also be a library.
#[cfg(not(target_arch = "wasm32"))]
#[macro_export]
macro_rules! export {
    ($machine:ty) => {};
}
