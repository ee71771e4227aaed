//! The developer's desk: makes a project of a state machine, builds it, tests its module and checks
//! it. What `pgraft machine new|build|test|check` runs.
//!
//! The way of a check: [`candidate`] reads the module, [`operations`] finds what to ask it, and each
//! part looks at one thing: [`facts`] at the file, [`orders`] at every order of a few commands (the
//! model checker), [`faults`] at clusters that crash (the simulation), [`outcomes`] at what the
//! machine said meanwhile. [`tally`] collects their lines and ends with one word. Not here: the
//! model, the simulation and the judges, which know nothing of this crate.
#![warn(missing_docs)]

pub mod candidate;
pub mod check;
pub mod facts;
pub mod faults;
pub mod operations;
pub mod orders;
pub mod outcomes;
pub mod tally;
