//! What happened in a run, put together from its events: operations from invoke to return, faults
//! from beginning to end, the standing of each node. It judges nothing and leaves nothing out.

use std::collections::{BTreeMap, BTreeSet};

use pgraft_judge::history::{Ended, Event, Invoke, Reply, Role, Run, Violation, What};

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Accepted by the machine.
    Ok,
    /// Refused by the machine, at an index.
    Rejected,
    /// Certainly not carried out.
    Fail,
    /// Nobody knows; also when the history has no answer at all.
    Unknown,
}

/// One operation from invoke to return. Times in microseconds since the start of the run.
pub(crate) struct Operation<'a> {
    pub(crate) invoke: &'a Invoke,
    pub(crate) from_us: u64,
    pub(crate) to_us: u64,
    pub(crate) outcome: Outcome,
    /// Log index at which it took effect, or up to which it read.
    pub(crate) index: Option<u64>,
    /// In words.
    pub(crate) reply: String,
}

/// One fault. Without an end it happened once, or lasted until the end of the run.
pub(crate) struct FaultSpan<'a> {
    pub(crate) number: u64,
    pub(crate) says: &'a str,
    pub(crate) from_us: u64,
    pub(crate) to_us: Option<u64>,
}

/// The standing of a node until its next one or the end of the run.
pub(crate) struct Standing<'a> {
    pub(crate) role: &'a Role,
    pub(crate) from_us: u64,
    pub(crate) to_us: u64,
}

/// How often a mark was seen, and when first.
pub(crate) struct MarkCount {
    pub(crate) count: u64,
    pub(crate) first_us: u64,
}

/// A whole run.
#[derive(Default)]
pub(crate) struct Story<'a> {
    pub(crate) run: Option<&'a Run>,
    /// In the order of their invocation.
    pub(crate) operations: Vec<Operation<'a>>,
    /// In the order of their beginning.
    pub(crate) faults: Vec<FaultSpan<'a>>,
    /// In the order of their beginning.
    pub(crate) standings: Vec<Standing<'a>>,
    pub(crate) marks: BTreeMap<&'a str, MarkCount>,
    pub(crate) violations: Vec<(u64, &'a Violation)>,
    pub(crate) phases: Vec<(u64, &'a str)>,
    pub(crate) nodes: BTreeSet<u64>,
    /// Entries that were committed.
    pub(crate) committed: u64,
    /// Microseconds from the start of the run to its last event.
    pub(crate) end_us: u64,
}

impl<'a> Story<'a> {
    /// Puts the events together. Answers to operations that were never invoked are passed over.
    pub(crate) fn of(history: &'a [Event]) -> Story<'a> {
        let mut story = Story::default();
        let mut place = BTreeMap::new();
        for event in history {
            story.end_us = story.end_us.max(event.at_us);
            story.hear(event, &mut place);
        }
        for operation in &mut story.operations {
            if operation.reply.is_empty() && operation.to_us == u64::MAX {
                operation.to_us = story.end_us;
                "no answer before the end of the history".clone_into(&mut operation.reply);
            }
        }
        let mut next = BTreeMap::new();
        for standing in story.standings.iter_mut().rev() {
            standing.to_us =
                next.insert(standing.role.node, standing.from_us).unwrap_or(story.end_us);
        }
        story
    }

    /// Operations that ended so.
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.operations.iter().filter(|operation| operation.outcome == outcome).count()
    }

    /// Whether the history has its last line; a run that died has none.
    pub(crate) fn is_complete(&self) -> bool {
        self.phases.iter().any(|(_, name)| *name == "end")
    }

    fn hear(&mut self, event: &'a Event, place: &mut BTreeMap<u64, usize>) {
        let at_us = event.at_us;
        match &event.what {
            What::Run(run) => {
                self.run = Some(run);
                self.nodes.extend(&run.nodes);
            }
            What::Invoke(invoke) => {
                place.insert(invoke.op, self.operations.len());
                self.operations.push(Operation {
                    invoke,
                    from_us: at_us,
                    to_us: u64::MAX,
                    outcome: Outcome::Unknown,
                    index: None,
                    reply: String::new(),
                });
            }
            What::Ok(done) => {
                let (outcome, says) = match &done.reply {
                    Reply::Accepted(_) => (Outcome::Ok, done.says.clone()),
                    Reply::Rejected { code, message } => {
                        (Outcome::Rejected, format!("rejected ({code}): {message}"))
                    }
                };
                if let Some(operation) = self.answered(place, done.op, at_us, outcome, says) {
                    operation.index = Some(done.index);
                }
            }
            What::Fail(ended) => self.ended(place, ended, at_us, Outcome::Fail),
            What::Unknown(ended) => self.ended(place, ended, at_us, Outcome::Unknown),
            What::Committed(_) => self.committed += 1,
            What::Fault(fault) if fault.begins => self.faults.push(FaultSpan {
                number: fault.number,
                says: &fault.says,
                from_us: at_us,
                to_us: None,
            }),
            What::Fault(fault) => {
                let begun = self.faults.iter_mut().rev().find(|span| span.number == fault.number);
                if let Some(span) = begun {
                    span.to_us.get_or_insert(at_us);
                }
            }
            What::Role(role) => {
                self.nodes.insert(role.node);
                self.standings.push(Standing { role, from_us: at_us, to_us: at_us });
            }
            What::Mark(mark) => {
                let seen = self.marks.entry(&mark.name);
                seen.or_insert(MarkCount { count: 0, first_us: at_us }).count += 1;
            }
            What::Violation(violation) => self.violations.push((at_us, violation)),
            What::Phase(phase) => self.phases.push((at_us, &phase.name)),
            _ => {}
        }
    }

    fn ended(&mut self, place: &BTreeMap<u64, usize>, ended: &Ended, at_us: u64, outcome: Outcome) {
        self.answered(place, ended.op, at_us, outcome, ended.why.clone());
    }

    fn answered(
        &mut self,
        place: &BTreeMap<u64, usize>,
        op: u64,
        at_us: u64,
        outcome: Outcome,
        reply: String,
    ) -> Option<&mut Operation<'a>> {
        let operation = self.operations.get_mut(*place.get(&op)?)?;
        operation.to_us = at_us.max(operation.from_us);
        operation.outcome = outcome;
        operation.reply = reply;
        Some(operation)
    }
}
