//! The developer's desk: makes a project of a state machine, builds it, tests its module and
//! checks it. What `pgraft machine new|build|test|check` runs.
//!
//! [`fresh`] writes a project, [`project`] has it built. [`candidate`] reads a module,
//! [`operations`] finds what to ask it, and each part looks at one thing. A [`check`]: [`facts`] at
//! the file, [`orders`] at every order of a few commands (the model checker), [`faults`] at
//! clusters that crash (the simulation), [`outcomes`] at what the machine said meanwhile. A
//! [`mod@test`]: a [`mod@log`] is written by the module as a function, and must read the same on
//! other [`hosts`] and in the machine as a [`native`] program. [`tally`] collects the lines and
//! ends with one word. Not here: the model, the simulation and the judges, which know nothing of
//! this crate.
#![warn(missing_docs)]

pub mod candidate;
pub mod check;
pub mod facts;
pub mod faults;
pub mod fresh;
pub mod hosts;
pub mod log;
pub mod native;
pub mod operations;
pub mod orders;
pub mod outcomes;
pub mod project;
pub mod tally;
pub mod test;
