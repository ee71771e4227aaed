//! A history as checkers look at it: calls with their ends, the committed log, and what became of
//! every command. Not here: any judgement.

use crate::history::{Call, Fact, History};
use crate::log::{Log, LogCommand, LogError};
use crate::operations::{Operation, Operations, PairError};
use crate::unknowns::{Fate, Fates};

/// A history, ready to be judged.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// The history.
    pub history: &'a History,
    /// Calls with their ends.
    pub operations: Operations<'a>,
    /// The committed log, as far as it is told.
    pub log: Log<'a>,
    /// What became of every command.
    pub fates: Fates,
}

/// Why a history cannot be judged: whoever wrote it is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// Calls and ends do not fit together.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl<'a> Case<'a> {
    /// Prepares a history.
    ///
    /// # Errors
    /// When it does not make sense.
    pub fn of(history: &'a History) -> Result<Case<'a>, CaseError> {
        let operations = Operations::of(history)?;
        let log = Log::of(history)?;
        let fates = Fates::of(history, &operations, &log);
        Ok(Case { history, operations, log, fates })
    }

    /// Where a command of a client was carried out, if that is known.
    pub fn placed(&self, operation: &Operation<'_>) -> Option<&LogCommand> {
        match self.fates.get(operation.op()) {
            Fate::Placed(number) => Some(&self.log.commands[number]),
            Fate::Absent | Fate::Open => None,
        }
    }

    /// Where an operation stands in the log: index and position; reads stand behind all commands.
    /// Without the log, acknowledged commands stand where they were told.
    pub fn place(&self, operation: &Operation<'_>) -> Option<(u64, u32)> {
        match operation.invoke.call {
            Call::Command => match self.placed(operation) {
                Some(command) => Some((command.index, command.position)),
                None => operation.done().map(|done| (done.index, 0)),
            },
            Call::Query | Call::StaleQuery => operation.done().map(|done| (done.index, u32::MAX)),
        }
    }

    /// Whether an operation was carried out, as far as anybody knows; a command whose condition
    /// did not hold was not.
    pub fn took_effect(&self, operation: &Operation<'_>) -> Taken {
        let skipped = |done: &crate::history::Done| {
            matches!(done.reply, crate::history::Reply::Rejected { .. })
                || done.facts.contains(&Fact::Skipped)
        };
        match operation.done() {
            Some(done) if skipped(done) => Taken::No,
            Some(_) => Taken::Yes,
            None if operation.is_failed() => Taken::No,
            None => match self.fates.get(operation.op()) {
                // It was carried out, but with what condition nobody heard.
                Fate::Placed(_) | Fate::Open => Taken::Perhaps,
                Fate::Absent => Taken::No,
            },
        }
    }
}

/// Whether an operation was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was.
    Yes,
    /// It was not.
    No,
    /// Nobody knows.
    Perhaps,
}
