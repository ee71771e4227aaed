//! Modules that mean harm, for tests of hosts and clusters: what each does, the command that
//! provokes it, and what must come of it, equally on every replica.
//!
//! They are written as text and made into components when asked for. Not here: hosts to try them
//! on; modules that merely fail are in pgraft-host's own tests.
#![warn(missing_docs)]

mod running;
mod shell;
mod unfit;

pub use shell::{Interface, Parts, component, encode, machine};

/// A module that means harm.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// Names it; good as the name of a machine.
    pub name: &'static str,
    /// The bytes to install.
    pub bytes: Vec<u8>,
    /// What must come of it.
    pub fate: Fate,
}

/// What must come of a hostile module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody compiles it; the refusal holds these words.
    Refused(&'static str),
    /// It compiles, but nobody loads it; the refusal holds these words.
    NotLoaded(&'static str),
    /// It runs; this command is rejected.
    Rejected {
        /// What provokes it.
        command: Vec<u8>,
        /// The host's code of the rejection.
        code: u32,
    },
    /// It runs; this command is answered so, each time when it is alone in its entry.
    Answered {
        /// What provokes it.
        command: Vec<u8>,
        /// The machine's answer.
        reply: Vec<u8>,
    },
}

/// All of them.
pub fn all() -> Vec<Hostile> {
    let mut all = unfit::modules();
    all.extend(running::modules());
    all
}
