//! A replayed log as the measure of a machine that is told what became of its effects: what it
//! knows comes not from commands alone, so a search cannot step it from call to call. The replay
//! has carried it through the whole log; here its answers are compared, and the order of the log
//! is held against real time.

use std::sync::Arc;

use super::ReplayedLog;
use crate::checks::linearizability::{MachineEntry, Measure};
use crate::history::Reply;
use crate::lin::spec::{Asked, Purpose, Specification};
use crate::lin::{Budget, Certificate, Disagreement, Outcome, certify};

/// Machines as a replayed log knows them.
#[derive(Clone)]
pub struct ReplayedSpec(Arc<ReplayedLog>);

impl ReplayedSpec {
    /// The machines of this log.
    pub fn new(log: Arc<ReplayedLog>) -> ReplayedSpec {
        ReplayedSpec(log)
    }

    /// What is answered there; `None` when the replay cannot tell.
    fn answer(&self, asked: &Asked) -> Option<Reply> {
        let at = asked.at?;
        match asked.purpose {
            Purpose::Query => {
                self.0.query(&asked.machine, at.index, &asked.payload).expect(super::HARNESS)
            }
            Purpose::Command | Purpose::Wake => {
                let position = usize::try_from(at.position).ok()?;
                self.0.outcome(at.index, position).cloned()
            }
        }
    }
}

/// The order that the log claims, stepped without a state: the replay has them all.
struct Claimed<'a>(&'a ReplayedSpec);

impl Specification for Claimed<'_> {
    type State = ();
    type Operation = Asked;
    type Reply = Reply;

    fn initial(&self) {}

    fn step(&self, _: &(), asked: &Asked) -> ((), Reply) {
        ((), self.0.answer(asked).unwrap_or(Reply::Accepted(Vec::new())))
    }

    fn agrees(&self, asked: &Asked, _: &Reply, observed: &Reply) -> bool {
        self.0.answer(asked).is_none_or(|answer| answer == *observed)
    }
}

impl Measure for ReplayedSpec {
    fn certify(&self, entries: &[MachineEntry]) -> Certificate {
        certify(&Claimed(self), entries)
    }

    fn is_by_key(&self) -> bool {
        false
    }

    fn search(
        &self,
        partitions: &[Vec<MachineEntry>],
        _: Budget,
    ) -> Result<(Outcome, usize), Disagreement> {
        match partitions.is_empty() {
            true => Ok((Outcome::Linearizable, 0)),
            false => Ok((Outcome::Undecided, 0)),
        }
    }
}
