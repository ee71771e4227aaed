//! Whole clusters under simulated faults.

pub mod plan;
