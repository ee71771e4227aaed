//! A machine that says which key each call touches, as the measure of a history: the order of the
//! log is held against all of it, and where an order has to be searched for, it is searched key by
//! key. Not here: whether the module's claim is true ([`super::by_key`]).

use super::MachineSpec;
use crate::checks::linearizability::{MachineEntry, Measure};
use crate::history::Call;
use crate::lin::{Budget, Certificate, Disagreement, Outcome, certify, judge_partitions};
use crate::operations::Operation;

/// See the module's description.
#[derive(Clone)]
pub struct KeyedSpec(MachineSpec);

impl KeyedSpec {
    /// The measure of a machine whose manifest says `keyed`.
    pub fn new(exact: MachineSpec) -> KeyedSpec {
        KeyedSpec(exact)
    }
}

impl Measure for KeyedSpec {
    fn certify(&self, entries: &[MachineEntry]) -> Certificate {
        certify(&self.0, entries)
    }

    fn is_by_key(&self) -> bool {
        true
    }

    fn key(&self, operation: &Operation<'_>) -> Option<String> {
        let payload = &operation.invoke.payload;
        let key = match operation.invoke.call {
            Call::Command => self.0.module.command_key(payload),
            Call::Query | Call::StaleQuery => self.0.module.query_key(payload),
        };
        // A module that fails to name a key is judged with all keys together.
        key.ok().flatten().map(|key| key.escape_ascii().to_string())
    }

    fn search(
        &self,
        partitions: &[Vec<MachineEntry>],
        budget: Budget,
    ) -> Result<(Outcome, usize), Disagreement> {
        judge_partitions(&self.0, partitions, budget)
    }
}
