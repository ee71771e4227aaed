//! Whole clusters under simulated faults.

pub mod mark;
pub mod plan;
pub mod progress;
pub mod regressions;
pub mod scenario;
pub mod seed;
pub mod shrink;
pub mod sim;
pub mod swarm;
pub mod workload;
