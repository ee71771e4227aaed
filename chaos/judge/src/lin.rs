//! Linearizability: whether the answers that concurrent clients got could have come from one
//! sequential object. Not here: what the object is ([`Specification`]), and histories with more
//! than one object ([`crate::checks`]).
//!
//! Three ways to an answer. [`certificate`] verifies the order that the log claims: fast, and sound
//! because the claim is checked and not believed. [`wgl`] goes back from dead ends, [`jit`]
//! carries all orders along at once; neither believes anything, and [`competition`] lets them run
//! against each other, because each is slow where the other is fast.

pub mod certificate;
pub mod competition;
pub mod entry;
mod hash;
pub mod jit;
pub mod spec;
pub mod table;
pub mod wgl;

pub use certificate::{Break, Certificate, certify};
pub use competition::{Budget, Disagreement, Outcome, compete, judge_partitions};
pub use entry::{Entry, Place, Stuck};
pub use spec::{Asked, MachineSpecification, Purpose, Specification, Stamp};
