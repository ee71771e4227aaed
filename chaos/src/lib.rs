//! Whole clusters under simulated faults.

mod compiled;
pub mod dossier;
pub mod judging;
pub mod mark;
pub mod modules;
pub mod oracle;
pub mod plan;
pub mod progress;
pub mod promises;
pub mod regressions;
pub mod scenario;
pub mod seed;
pub mod shrink;
pub mod sim;
pub mod suite;
pub mod swarm;
pub mod trace;
pub mod tree;
pub mod variants;
pub mod workload;
