//! Calls paired with their ends. The order of lines is the order of time. Not here: what became of
//! calls that nobody heard of again ([`crate::unknowns`]).

use std::collections::BTreeMap;

use crate::history::{Call, Done, Ended, History, Invoke, What};

/// A call and its end.
#[derive(Clone, Debug)]
pub struct Operation<'a> {
    /// What was asked.
    pub invoke: &'a Invoke,
    /// Position of its line among the events.
    pub called: usize,
    /// When it was asked, microseconds.
    pub called_us: u64,
    /// When it ended, microseconds; `None`: the history ended first.
    pub ended_us: Option<u64>,
    /// How it ended.
    pub end: End<'a>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// It was carried out.
    Ok {
        /// Position of the line among the events.
        line: usize,
        /// Microseconds.
        at_us: u64,
        /// What was heard.
        done: &'a Done,
    },
    /// It was not, and never will be.
    Fail {
        /// Position of the line among the events.
        line: usize,
        /// What was heard.
        ended: &'a Ended,
    },
    /// Nobody knows; also when the history ends before the call did.
    Unknown,
}

impl<'a> Operation<'a> {
    /// Its number.
    pub fn op(&self) -> u64 {
        self.invoke.op
    }

    /// What was heard, if it was carried out.
    pub fn done(&self) -> Option<&'a Done> {
        match self.end {
            End::Ok { done, .. } => Some(done),
            End::Fail { .. } | End::Unknown => None,
        }
    }

    /// Position of the line of its good end.
    pub fn returned(&self) -> Option<usize> {
        match self.end {
            End::Ok { line, .. } => Some(line),
            End::Fail { .. } | End::Unknown => None,
        }
    }

    /// Whether nobody knows what became of it.
    pub fn is_unknown(&self) -> bool {
        matches!(self.end, End::Unknown)
    }

    /// Whether it certainly was not carried out.
    pub fn is_failed(&self) -> bool {
        matches!(self.end, End::Fail { .. })
    }

    /// Whether it went through the log.
    pub fn is_command(&self) -> bool {
        self.invoke.call == Call::Command
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let Invoke { op, client, says, .. } = self.invoke;
        let end = match self.end {
            End::Ok { done, .. } => format!("{} at index {}", done.says, done.index),
            End::Fail { ended, .. } => format!("failed: {}", ended.why),
            End::Unknown => "unknown".to_owned(),
        };
        let ended_us = match self.end {
            End::Ok { at_us, .. } => format!("{at_us}"),
            End::Fail { .. } | End::Unknown => "?".to_owned(),
        };
        let called_us = self.called_us;
        format!("#{op} client {client} [{called_us} us .. {ended_us}] {says} -> {end}")
    }
}

/// All calls of a history, in order of their beginning.
#[derive(Clone, Debug, Default)]
pub struct Operations<'a> {
    all: Vec<Operation<'a>>,
    by_op: BTreeMap<u64, usize>,
}

/// Why a history does not make sense: its writer is wrong, and no verdict would mean anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// Two calls have one number.
    #[error("event {line}: operation {op} is invoked a second time")]
    InvokedTwice {
        /// Position among the events, from 1.
        line: usize,
        /// Its number.
        op: u64,
    },
    /// An end without a call.
    #[error("event {line}: operation {op} ends and was never invoked")]
    NeverInvoked {
        /// Position among the events, from 1.
        line: usize,
        /// Its number.
        op: u64,
    },
    /// Two ends of one call.
    #[error("event {line}: operation {op} ends a second time")]
    EndedTwice {
        /// Position among the events, from 1.
        line: usize,
        /// Its number.
        op: u64,
    },
    /// A client that does not wait for its answer.
    #[error("event {line}: client {client} invokes operation {op} before {before} has ended")]
    TwoAtOnce {
        /// Position among the events, from 1.
        line: usize,
        /// Who.
        client: u64,
        /// The second call.
        op: u64,
        /// The first one.
        before: u64,
    },
}

impl<'a> Operations<'a> {
    /// Pairs the calls of a history with their ends.
    ///
    /// # Errors
    /// When the history does not make sense.
    pub fn of(history: &'a History) -> Result<Operations<'a>, PairError> {
        let mut operations = Operations::default();
        let mut ended = BTreeMap::new();
        let mut busy: BTreeMap<u64, u64> = BTreeMap::new();
        for (line, event) in history.events.iter().enumerate() {
            let (op, end) = match &event.what {
                What::Invoke(invoke) => {
                    let (op, client) = (invoke.op, invoke.client);
                    if let Some(before) = busy.insert(client, op) {
                        return Err(PairError::TwoAtOnce { line: line + 1, client, op, before });
                    }
                    if operations.by_op.insert(op, operations.all.len()).is_some() {
                        return Err(PairError::InvokedTwice { line: line + 1, op });
                    }
                    let called_us = event.at_us;
                    let (end, ended_us) = (End::Unknown, None);
                    let operation = Operation { invoke, called: line, called_us, ended_us, end };
                    operations.all.push(operation);
                    continue;
                }
                What::Ok(done) => (done.op, End::Ok { line, at_us: event.at_us, done }),
                What::Fail(fail) => (fail.op, End::Fail { line, ended: fail }),
                What::Unknown(unknown) => (unknown.op, End::Unknown),
                _ => continue,
            };
            let Some(number) = operations.by_op.get(&op) else {
                return Err(PairError::NeverInvoked { line: line + 1, op });
            };
            if ended.insert(op, line).is_some() {
                return Err(PairError::EndedTwice { line: line + 1, op });
            }
            operations.all[*number].end = end;
            operations.all[*number].ended_us = Some(event.at_us);
            busy.remove(&operations.all[*number].invoke.client);
        }
        Ok(operations)
    }

    /// In order of their beginning.
    pub fn iter(&self) -> impl Iterator<Item = &Operation<'a>> + Clone {
        self.all.iter()
    }

    /// The operation with this number.
    pub fn get(&self, op: u64) -> Option<&Operation<'a>> {
        self.by_op.get(&op).map(|number| &self.all[*number])
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// One line each, for people, in order of their beginning.
    pub fn describe(&self, ops: &[u64]) -> Vec<String> {
        let mut told: Vec<&Operation<'_>> = ops.iter().filter_map(|op| self.get(*op)).collect();
        told.sort_by_key(|operation| operation.called);
        told.dedup_by_key(|operation| operation.called);
        told.into_iter().map(Operation::describe).collect()
    }
}
