//! Histories, and everything that judges them: linearizability with a machine's own module as the
//! specification, exactly-once, durability, and checks that trust no machine at all.
//!
//! The way of a judgement: [`history`] reads the lines, [`operations`] pairs calls with their
//! ends, [`log`] reads the committed entries, [`unknowns`] finds in them what became of every
//! call, [`checks`] look, each for one thing, and [`mod@judge`] puts their [`verdict`]s together;
//! [`shrink`] makes a history that fails short. [`lin`] holds the engines for linearizability. Not
//! here: clusters and faults; and what a command of a machine means, which its module knows
//! ([`lin::MachineSpecification`]) and workloads tell ([`history::Fact`]).
#![warn(missing_docs)]

pub mod case;
pub mod checks;
pub mod history;
pub mod judge;
pub mod lin;
pub mod log;
pub mod machine_spec;
pub mod operations;
pub mod shrink;
pub mod unknowns;
pub mod verdict;

pub use checks::linearizability::Measure;
pub use history::History;
pub use judge::{Judgement, Options, judge};
pub use verdict::{Rank, Verdict};

#[cfg(test)]
mod tests;
