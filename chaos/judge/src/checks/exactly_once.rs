//! Exactly once: a command of a client is in effect in the log once if it was acknowledged, at most
//! once if nobody knows, never if the client was told that it failed; and a repeated number of a
//! session is answered with the first outcome. Not here: whether an acknowledged one is missing
//! ([`super::durability`]).

use std::collections::BTreeMap;

use pgraft_host::Command;

use crate::case::Case;
use crate::history::Reply;
use crate::log::{Effect, LogCommand};
use crate::unknowns::Fate;
use crate::verdict::Verdict;

/// Looks for commands in the log that were carried out and should not have been.
pub fn check(case: &Case<'_>) -> Verdict {
    if case.log.entries.is_empty() {
        return Verdict::unknown("the history tells no committed log");
    }
    for operation in case.operations.iter().filter(|operation| operation.is_failed()) {
        if let Fate::Placed(number) = case.fates.get(operation.op()) {
            let index = case.log.commands[number].index;
            let op = operation.op();
            let says = format!("#{op} was told that it failed, and took effect at index {index}");
            return Verdict::fail(says, vec![op]).with_window(vec![operation.describe()]);
        }
    }
    let mut replays = 0;
    for command in &case.log.commands {
        let Effect::Before(first) = command.effect else { continue };
        replays += 1;
        let first = &case.log.commands[first];
        if let (Some(one), Some(other)) = (&first.outcome, &command.outcome)
            && one != other
        {
            return two_outcomes(case, first, command);
        }
    }
    if let Some(verdict) = nobodys(case) {
        return verdict;
    }
    let owned = case.fates.owner.len();
    Verdict::pass(format!("{owned} commands once each, {replays} repeated and not applied again"))
}

fn two_outcomes(case: &Case<'_>, first: &LogCommand, again: &LogCommand) -> Verdict {
    let (one, other) = (first.index, again.index);
    let owner = case
        .log
        .commands
        .iter()
        .position(|command| (command.index, command.position) == (first.index, first.position));
    let owner = owner.and_then(|number| case.fates.owner.get(&number)).copied();
    let says = format!("one command was carried out at index {one} and again at index {other}");
    let window = vec![
        format!("index {one}: {:?}", first.outcome),
        format!("index {other}: {:?}", again.outcome),
    ];
    Verdict::fail(says, owner.into_iter().collect()).with_window(window)
}

/// A command in effect that is no client's call: carried out twice under two numbers, or invented.
fn nobodys(case: &Case<'_>) -> Option<Verdict> {
    let mut asked: BTreeMap<(&str, &str), ()> = BTreeMap::new();
    for operation in case.operations.iter() {
        asked.insert((&operation.invoke.machine, &operation.invoke.principal), ());
    }
    let stranger = case.log.commands.iter().enumerate().find(|(number, command)| {
        let Command::Machine { machine, principal, .. } = &command.command else { return false };
        command.effect == Effect::Here
            && matches!(command.outcome, Some(Reply::Accepted(_)))
            && asked.contains_key(&(machine.as_str(), principal.as_str()))
            && !case.fates.owner.contains_key(number)
    });
    let (_, command) = stranger?;
    let Command::Machine { machine, principal, payload, .. } = &command.command else {
        return None;
    };
    let twins = case.operations.iter().filter(|operation| {
        operation.invoke.machine == *machine
            && operation.invoke.principal == *principal
            && operation.invoke.payload == payload.as_ref()
    });
    let twins: Vec<u64> = twins.map(|operation| operation.op()).collect();
    let index = command.index;
    let what = if twins.is_empty() { "nobody sent it" } else { "it was sent less often" };
    let says = format!("a command of {machine} took effect at index {index}, but {what}");
    let window = case.operations.describe(&twins);
    Some(Verdict::fail(says, twins).with_window(window))
}
