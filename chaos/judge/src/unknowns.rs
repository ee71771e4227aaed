//! Finds every call of a client in the committed log: the acknowledged ones at the index they
//! name, and those of which nobody heard again wherever they are. An unknown call that is nowhere
//! after the last entry never happened; one that is there has a place, and an end no later than the
//! first answer that was given behind it (the idea is that of etcd's `patch_history.go`). That
//! takes the exponent out of unknown calls. Not here: what is wrong if a call is missing.
//!
//! A gateway numbers commands, not the client, so calls are matched by machine, principal and
//! payload. Workloads make the payloads of writes unique; where several are equal, which is which
//! makes no difference to the object, and they are matched in order.

use std::collections::BTreeMap;

use pgraft_host::Command;

use crate::history::{History, Invoke, What};
use crate::log::{Effect, Log, LogCommand};
use crate::operations::{Operation, Operations};

/// What became of a command of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was carried out by the command with this number in [`Log::commands`].
    Placed(usize),
    /// It is not in the log and never will be.
    Absent,
    /// The log does not say.
    Open,
}

/// What became of all commands of clients.
#[derive(Clone, Debug, Default)]
pub struct Fates {
    by_op: BTreeMap<u64, Fate>,
    /// Which call a command in the log belongs to.
    pub owner: BTreeMap<usize, u64>,
    /// By index: the earliest line on which an answer from there or behind was heard.
    heard: BTreeMap<u64, usize>,
}

/// What equal commands have in common.
type Identity<'a> = (&'a str, &'a str, &'a [u8]);

fn of_command(command: &LogCommand) -> Option<Identity<'_>> {
    match &command.command {
        Command::Machine { machine, principal, payload, .. } => {
            Some((machine.as_str(), principal.as_str(), payload.as_ref()))
        }
        _ => None,
    }
}

fn of_invoke(invoke: &Invoke) -> Identity<'_> {
    (&invoke.machine, &invoke.principal, &invoke.payload)
}

impl Fates {
    /// Matches the calls with the log.
    pub fn of(history: &History, operations: &Operations<'_>, log: &Log<'_>) -> Fates {
        let mut fates = Fates { heard: heard(operations), ..Fates::default() };
        if log.entries.is_empty() {
            for operation in operations.iter().filter(|operation| operation.is_command()) {
                fates.by_op.insert(operation.op(), Fate::Open);
            }
            return fates;
        }
        for operation in operations.iter().filter(|operation| operation.is_command()) {
            if let Some(done) = operation.done() {
                fates.match_acknowledged(operation, done.index, log);
            }
        }
        // Whoever was told that it failed is asked last: it should find nothing.
        fates.match_silent(operations, log, |operation| operation.is_unknown());
        fates.match_silent(operations, log, |operation| operation.is_failed());
        let rest = if log.whole && has_ended(history) { Fate::Absent } else { Fate::Open };
        for operation in operations.iter().filter(|operation| operation.is_command()) {
            fates.by_op.entry(operation.op()).or_insert(rest);
        }
        fates
    }

    /// What became of a command; of queries, nothing is known.
    pub fn get(&self, op: u64) -> Fate {
        self.by_op.get(&op).copied().unwrap_or(Fate::Open)
    }

    /// Matches a call with a command of the entry it names. Of a repeated command it is the first
    /// one that counts, wherever it stands.
    fn match_acknowledged(&mut self, operation: &Operation<'_>, index: u64, log: &Log<'_>) {
        let identity = of_invoke(operation.invoke);
        let reply = operation.done().map(|done| &done.reply);
        let mut candidates: Vec<(usize, &LogCommand)> = log
            .commands_at(index)
            .filter(|(_, command)| of_command(command) == Some(identity))
            .map(|(number, command)| match command.effect {
                Effect::Before(first) => (first, &log.commands[first]),
                Effect::Here | Effect::Refused => (number, command),
            })
            .filter(|(number, _)| !self.owner.contains_key(number))
            .collect();
        candidates.sort_by_key(|(_, command)| command.outcome.as_ref() != reply);
        let fate = match candidates.first() {
            Some((number, _)) => {
                self.owner.insert(*number, operation.op());
                Fate::Placed(*number)
            }
            None if log.whole && index <= log.last() => Fate::Absent,
            None => Fate::Open,
        };
        self.by_op.insert(operation.op(), fate);
    }

    /// Matches calls without an answer with what is left in the log, in order of both.
    fn match_silent(
        &mut self,
        operations: &Operations<'_>,
        log: &Log<'_>,
        which: impl Fn(&Operation<'_>) -> bool,
    ) {
        let mut waiting: BTreeMap<Identity<'_>, Vec<(usize, u64)>> = BTreeMap::new();
        for operation in operations.iter().filter(|o| o.is_command() && which(o)) {
            let calls = waiting.entry(of_invoke(operation.invoke)).or_default();
            calls.push((operation.called, operation.op()));
        }
        for (number, command) in log.commands.iter().enumerate() {
            let Some(identity) = of_command(command) else { continue };
            if command.effect != Effect::Here || self.owner.contains_key(&number) {
                continue;
            }
            let Some(calls) = waiting.get_mut(&identity) else { continue };
            if calls.first().is_some_and(|(called, _)| *called < command.line) {
                let (_, op) = calls.remove(0);
                self.owner.insert(number, op);
                self.by_op.insert(op, Fate::Placed(number));
            }
        }
    }

    /// A line by which what stands at `index` had certainly happened, because an answer from
    /// behind it was heard there.
    pub fn happened_by(&self, index: u64) -> Option<usize> {
        self.heard.range(index + 1..).next().map(|(_, line)| *line)
    }
}

/// For each index that was named: the earliest line with an answer from there or behind.
fn heard(operations: &Operations<'_>) -> BTreeMap<u64, usize> {
    let mut heard: BTreeMap<u64, usize> = BTreeMap::new();
    let answers = operations.iter().filter_map(|o| Some((o.done()?.index, o.returned()?)));
    for (index, line) in answers {
        let earliest = heard.entry(index).or_insert(line);
        *earliest = line.min(*earliest);
    }
    let mut earliest = usize::MAX;
    for line in heard.values_mut().rev() {
        earliest = earliest.min(*line);
        *line = earliest;
    }
    heard
}

/// After this nothing is committed any more.
fn has_ended(history: &History) -> bool {
    let mut phases = history.events.iter().rev().filter_map(|event| match &event.what {
        What::Phase(phase) => Some(phase),
        _ => None,
    });
    phases.next().is_some_and(|phase| phase.name == "end")
}
