//! Several workloads at once, each as often as its weight says. Not here: what they ask.

use super::{End, Name, Operation, Told, Workload};
use crate::seed::Chance;

/// Several workloads, shared by all clients.
pub struct Mixed {
    parts: Vec<(Name, u64, Box<dyn Workload>)>,
}

impl Mixed {
    /// The workloads by weight.
    ///
    /// # Panics
    /// When no weight is above 0: there would be nothing to ask.
    pub fn new(weights: &[(Name, u64)]) -> Mixed {
        assert!(weights.iter().any(|(_, weight)| *weight > 0), "a mixture of nothing");
        let part = |(name, weight): &(Name, u64)| (*name, *weight, name.workload());
        Mixed { parts: weights.iter().map(part).collect() }
    }
}

impl Workload for Mixed {
    fn next(&mut self, client: u64, chance: &mut Chance) -> Option<Operation> {
        let weights: Vec<u64> = self.parts.iter().map(|(_, weight, _)| *weight).collect();
        let (_, _, workload) = &mut self.parts[chance.weighted(&weights)];
        workload.next(client, chance)
    }

    fn ended(&mut self, client: u64, op: u64, operation: &Operation, end: &End) -> Told {
        let part = self.parts.iter_mut().find(|(name, _, _)| *name == operation.workload);
        let (_, _, workload) = part.expect("an operation comes from one of the parts");
        workload.ended(client, op, operation, end)
    }
}
