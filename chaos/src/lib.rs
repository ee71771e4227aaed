//! Whole clusters under simulated faults.

pub mod plan;
pub mod progress;
pub mod seed;
pub mod mark;
pub mod scenario;
pub mod sim;
pub mod swarm;
pub mod workload;
pub mod regressions;
pub mod shrink;
