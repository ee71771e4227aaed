//! The model of the driver: real replicas over modelled disks and a modelled network.

use crate::catalogue::Entry;

mod catalogue;
mod cluster;
mod disk;
#[cfg(test)]
mod fidelity;
mod history;
mod marks;
mod mutant;
mod network;
mod node;
mod rules;
mod scope;
mod table;
mod words;

#[cfg(test)]
mod tests;

/// The models of the driver.
pub fn entries() -> Vec<Entry> {
    catalogue::entries()
}
