//! The built-in modules: their components, and those compiled for the machine of the build.
//!
//! Plain `cargo build` makes them (see `build.rs`), so a program that links this crate carries
//! the right bytes and needs no compiler. The hash of a component goes into a cluster's genesis;
//! the hash of the compiled code guards native code against damage on the way.
//!
//! Not here: running them (pgraft-host), and modules that enter through the log.
#![warn(missing_docs)]

/// A module that comes with the program.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// Its name; machines made of it at bootstrap are named alike.
    pub name: &'static str,
    /// The component, in WebAssembly.
    pub component: &'static [u8],
    /// SHA-256 of `component`: the identity of the module, equal on all nodes.
    pub sha256: [u8; 32],
    /// `component`, compiled by pgraft-engine for the target of this build.
    pub compiled: &'static [u8],
    /// SHA-256 of `compiled`; check it before running the code.
    pub compiled_sha256: [u8; 32],
}

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// All built-in modules: "kv" and "membership".
pub fn modules() -> &'static [Module] {
    &MODULES
}

/// The example machine "counter", and "counter-v1" with the older schema of its rows; "kv-next" and
/// "kv-torn", later versions of "kv": the first migrates in several steps, the second fails on the
/// way.
#[cfg(feature = "test-guests")]
pub fn test_modules() -> &'static [Module] {
    &TEST_MODULES
}
