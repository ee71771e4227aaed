//! Linearizability of each machine against its own module as the specification: first the order
//! that the log claims, then a search. Stale reads take part where they claim to have read: they
//! may be late, but what they saw must have been true there.
//!
//! A passed certificate proves linearizability even if the log lies: the order is verified against
//! what clients saw. A broken one is a failure when the log is whole, because an order that clients
//! cannot be told is of no use to them; the search then says whether clients could have noticed.

use std::collections::{BTreeMap, BTreeSet};

use pgraft_host::{Command, HostCode};

use crate::case::Case;
use crate::history::{Call, Reply};
use crate::lin::{
    Asked, Break, Budget, Certificate, Disagreement, Entry, MachineSpecification, Outcome, Place,
    Purpose, Specification, Stamp, Stuck, certify, judge_partitions,
};
use crate::log::{Effect, LogCommand};
use crate::operations::Operation;
use crate::unknowns::Fate;
use crate::verdict::Verdict;

/// A call of a machine as the engines see it.
pub type MachineEntry = Entry<Asked, Reply>;

/// A specification of a machine whose type nobody needs to know.
pub trait Measure {
    /// [`certify`].
    fn certify(&self, entries: &[MachineEntry]) -> Certificate;

    /// [`crate::lin::Specification::is_by_key`].
    fn is_by_key(&self) -> bool;

    /// The key that a call touches; `None`: perhaps all of them. What the history says, unless the
    /// machine itself knows.
    fn key(&self, operation: &Operation<'_>) -> Option<String> {
        operation.invoke.key.clone()
    }

    /// [`judge_partitions`].
    ///
    /// # Errors
    /// When the searches contradict each other.
    fn search(
        &self,
        partitions: &[Vec<MachineEntry>],
        budget: Budget,
    ) -> Result<(Outcome, usize), Disagreement>;
}

impl<S: MachineSpecification> Measure for S {
    fn certify(&self, entries: &[MachineEntry]) -> Certificate {
        certify(self, entries)
    }

    fn is_by_key(&self) -> bool {
        Specification::is_by_key(self)
    }

    fn search(
        &self,
        partitions: &[Vec<MachineEntry>],
        budget: Budget,
    ) -> Result<(Outcome, usize), Disagreement> {
        judge_partitions(self, partitions, budget)
    }
}

/// Number of an entry that is nobody's call: wake-ups, and commands that no client is known for.
const NOBODY: u64 = u64::MAX;

/// Judges every machine that was asked anything.
pub fn check(
    case: &Case<'_>,
    specifications: &BTreeMap<String, Box<dyn Measure>>,
    budget: Budget,
) -> Verdict {
    let machines: BTreeSet<&str> =
        case.operations.iter().map(|operation| operation.invoke.machine.as_str()).collect();
    if machines.is_empty() {
        return Verdict::unknown("no operation");
    }
    let verdicts = machines.into_iter().map(|machine| match specifications.get(machine) {
        Some(measure) => check_machine(case, machine, measure.as_ref(), budget),
        None => Verdict::unknown(format!("{machine}: no specification")),
    });
    let verdicts: Vec<Verdict> = verdicts.collect();
    let all: Vec<&str> = verdicts.iter().map(|verdict| verdict.says.as_str()).collect();
    let passed = Verdict::pass(all.join("; "));
    verdicts.into_iter().fold(passed, Verdict::and)
}

fn check_machine(case: &Case<'_>, machine: &str, measure: &dyn Measure, budget: Budget) -> Verdict {
    let claimed = claimed(case, machine);
    let calls = claimed.iter().filter(|entry| entry.op != NOBODY).count();
    let certificate = measure.certify(&claimed);
    if certificate == Certificate::Holds {
        return Verdict::pass(format!("{machine}: {calls} calls in the order of the log"));
    }
    let broken = match &certificate {
        Certificate::Broken(broken) if case.log.whole => {
            Some(explain_break(case, machine, broken, &claimed))
        }
        _ => None,
    };
    // Wake-ups, too: what clients saw alone cannot explain what strangers did.
    let strangers = claimed.iter().any(|entry| entry.op == NOBODY);
    if let (Some(broken), true) = (&broken, strangers) {
        return broken.clone();
    }
    let (keys, partitions) = partitions(case, machine, measure);
    let found = match measure.search(&partitions, budget) {
        Ok(found) => found,
        Err(disagreement) => return Verdict::fail(disagreement.to_string(), Vec::new()),
    };
    match (found, broken) {
        ((Outcome::Not(_), number), None) if strangers => {
            let key = keys[number].as_deref().unwrap_or("all keys together");
            Verdict::unknown(format!("{machine}: {key} not explained by what clients did alone"))
        }
        ((Outcome::Not(stuck), number), broken) => {
            let key = keys[number].as_deref();
            let mut verdict = explain_stuck(case, machine, key, &stuck, &partitions[number]);
            if let Some(broken) = broken {
                verdict.window.push(format!("in the order of the log: {}", broken.says));
            }
            verdict
        }
        ((Outcome::Linearizable, _), Some(broken)) => {
            let says = format!("{}, but clients could not notice", broken.says);
            Verdict { says, ..broken }
        }
        ((Outcome::Undecided, _), Some(broken)) => broken,
        ((Outcome::Linearizable, _), None) => {
            Verdict::pass(format!("{machine}: {calls} calls in some order"))
        }
        ((Outcome::Undecided, number), None) => {
            let key = keys[number].as_deref().unwrap_or("all keys together");
            Verdict::unknown(format!("{machine}: {key} not decided within {budget}"))
        }
    }
}

/// What the log claims: every command that took effect, in its place, and every answered read.
fn claimed(case: &Case<'_>, machine: &str) -> Vec<MachineEntry> {
    let mut entries = Vec::new();
    for (number, command) in case.log.commands.iter().enumerate() {
        if command.effect != Effect::Here {
            continue;
        }
        let Some(asked) = asked_by_log(command, machine) else { continue };
        let owner = case.fates.owner.get(&number).and_then(|op| case.operations.get(*op));
        let place = Some(Place { index: command.index, position: command.position });
        entries.push(match owner {
            Some(operation) => entry(case, operation, asked, place),
            None => Entry {
                op: NOBODY,
                called: 0,
                returned: None,
                place,
                operation: asked,
                reply: None,
            },
        });
    }
    for operation in case.operations.iter().filter(|o| o.invoke.machine == machine) {
        let Some(done) = operation.done().filter(|_| !is_kept_out(operation)) else { continue };
        let fate = case.fates.get(operation.op());
        if operation.is_command() && matches!(fate, Fate::Placed(_)) {
            continue; // told above
        }
        let position = if operation.is_command() { 0 } else { Place::AFTER };
        // An acknowledged command that the log lacks has no place in it.
        let absent = operation.is_command() && fate == Fate::Absent;
        let place = Some(Place { index: done.index, position }).filter(|_| !absent);
        entries.push(entry(case, operation, asked(case, operation), place));
    }
    entries
}

fn entry(
    case: &Case<'_>,
    operation: &Operation<'_>,
    asked: Asked,
    place: Option<Place>,
) -> MachineEntry {
    let stale = operation.invoke.call == Call::StaleQuery;
    let returned = match operation.returned() {
        Some(line) => Some(line),
        // It stands in the log: whoever was answered from behind it came after it.
        None if operation.is_command() => {
            place.and_then(|place| case.fates.happened_by(place.index))
        }
        None => None,
    };
    Entry {
        op: operation.op(),
        called: if stale { 0 } else { operation.called as u64 },
        returned: returned.filter(|_| !stale).map(|line| line as u64),
        place,
        operation: asked,
        reply: operation.done().map(|done| done.reply.clone()),
    }
}

fn stamp(command: &LogCommand) -> Stamp {
    let LogCommand { index, term, position, time_ms, entropy, .. } = *command;
    Stamp { index, term, position, time_ms, entropy }
}

fn asked_by_log(command: &LogCommand, of: &str) -> Option<Asked> {
    let (machine, principal, payload, purpose) = match &command.command {
        Command::Machine { machine, principal, payload, .. } => {
            (machine, principal.clone(), payload.to_vec(), Purpose::Command)
        }
        Command::Wake { machine } => (machine, String::new(), Vec::new(), Purpose::Wake),
        _ => return None,
    };
    let asked =
        Asked { machine: machine.clone(), principal, purpose, payload, at: Some(stamp(command)) };
    (machine == of).then_some(asked)
}

fn asked(case: &Case<'_>, operation: &Operation<'_>) -> Asked {
    let invoke = operation.invoke;
    let at = if operation.is_command() {
        case.placed(operation).map(stamp)
    } else {
        operation.done().and_then(|done| {
            let (time_ms, term) = (case.log.time_ms(done.index)?, case.log.term(done.index)?);
            let position = Place::AFTER;
            Some(Stamp { index: done.index, term, position, time_ms, entropy: 0 })
        })
    };
    Asked {
        machine: invoke.machine.clone(),
        principal: invoke.principal.clone(),
        purpose: invoke.call.into(),
        payload: invoke.payload.clone(),
        at,
    }
}

/// Answered by the host: the machine never saw the command.
fn is_kept_out(operation: &Operation<'_>) -> bool {
    let code = HostCode::SessionExpired as u32;
    let refused = |reply: &Reply| matches!(reply, Reply::Rejected { code: of, .. } if *of == code);
    operation.done().is_some_and(|done| refused(&done.reply))
}

/// What clients saw, without the log's order: by key where that is right and every call names one.
/// Unknown calls that the log has resolved are gone, or have an end.
fn partitions(
    case: &Case<'_>,
    machine: &str,
    measure: &dyn Measure,
) -> (Vec<Option<String>>, Vec<Vec<MachineEntry>>) {
    let calls = case.operations.iter().filter(|operation| {
        operation.invoke.machine == machine
            && !operation.is_failed()
            && !is_kept_out(operation)
            && operation.invoke.call != Call::StaleQuery
            && !(operation.is_unknown() && case.fates.get(operation.op()) == Fate::Absent)
    });
    let keys: Vec<Option<String>> = match measure.is_by_key() {
        true => calls.clone().map(|operation| measure.key(operation)).collect(),
        false => Vec::new(),
    };
    let by_key = measure.is_by_key() && keys.iter().all(Option::is_some);
    let mut keys = keys.into_iter();
    let mut partitions: BTreeMap<Option<String>, Vec<MachineEntry>> = BTreeMap::new();
    for operation in calls {
        let key = keys.next().flatten().filter(|_| by_key);
        let place = case.placed(operation);
        let place = place.map(|at| Place { index: at.index, position: at.position });
        let call = entry(case, operation, asked(case, operation), place);
        partitions.entry(key).or_default().push(call);
    }
    partitions.into_iter().unzip()
}

fn explain_break(
    case: &Case<'_>,
    machine: &str,
    broken: &Break,
    entries: &[MachineEntry],
) -> Verdict {
    let op = |at: usize| entries[at].op;
    let (says, ops) = match broken {
        Break::Answer { at, after, expected, heard } => {
            let place = entries[*at].place.map_or(0, |place| place.index);
            let says = format!(
                "#{} was told {heard} at index {place}, where the answer is {expected}",
                op(*at)
            );
            (says, after.iter().map(|after| op(*after)).chain([op(*at)]).collect::<Vec<u64>>())
        }
        Break::RealTime { first, second } => {
            let (first, second) = (op(*first), op(*second));
            let says = format!(
                "#{second} was invoked after #{first} had been answered, and stands before it \
                 in the log"
            );
            (says, vec![first, second])
        }
        Break::SamePlace { one, other } => {
            let (one, other) = (op(*one), op(*other));
            (format!("#{one} and #{other} claim one place in the log"), vec![one, other])
        }
    };
    let ops: Vec<u64> = ops.into_iter().filter(|op| *op != NOBODY).collect();
    let window = case.operations.describe(&ops);
    Verdict::fail(format!("{machine}: {says}"), ops).with_window(window)
}

fn explain_stuck(
    case: &Case<'_>,
    machine: &str,
    key: Option<&str>,
    stuck: &Stuck,
    entries: &[MachineEntry],
) -> Verdict {
    let at = entries[stuck.at].op;
    let heard = case.operations.get(at).and_then(Operation::done);
    let key = key.map_or(String::new(), |key| format!(" {key}:"));
    let told = heard.map_or("nothing", |done| done.says.as_str());
    let says = format!("{machine}:{key} not linearizable: no order explains #{at}, told {told}");
    let mut ops = vec![at];
    ops.extend(stuck.concurrent.iter().map(|number| entries[*number].op));
    ops.extend(stuck.instead.iter().filter_map(|(last, _)| Some(entries[(*last)?].op)));
    ops.sort_unstable();
    ops.dedup();
    let mut window = case.operations.describe(&ops);
    for (last, answer) in &stuck.instead {
        let after = last
            .map_or("at the beginning".to_owned(), |last| format!("after #{}", entries[last].op));
        window.push(format!("{after} the answer to #{at} would be {answer}"));
    }
    Verdict::fail(says, ops).with_window(window)
}
