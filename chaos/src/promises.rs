//! What a module says of itself for its checkers (`verification` of the interface), held against a
//! replayed log: its invariant after every entry, and that its keys do not see each other. Not
//! here: the replay, and how a claim is looked at.

use std::sync::Arc;

use pgraft_judge::Verdict;
use pgraft_judge::case::Case;
use pgraft_judge::history::{Call, History, What};
use pgraft_judge::judge::Check;
use pgraft_judge::machine_spec::by_key::{self, Claim, Compared, Lie};
use pgraft_judge::machine_spec::{Broken, Difference, Origin, ReplayedLog};

/// Name of the checker of invariants.
pub const INVARIANT: &str = "invariant";
/// Name of the checker of keys.
pub const KEYS: &str = "keys";

/// Answers to queries that are compared per machine; more would cost more than they show.
const QUERIES_MAX: usize = 2_000;

/// The checkers that this log and these machines have something to look at for.
pub fn checks(
    origins: &[Origin],
    log: &Arc<ReplayedLog>,
    history: &History,
) -> Vec<(String, Box<dyn Check>)> {
    let mut checks: Vec<(String, Box<dyn Check>)> = Vec::new();
    if log.seen.invariants > 0 {
        let log = Arc::clone(log);
        let check = move |case: &Case<'_>| Some(invariant(case, &log));
        checks.push((INVARIANT.to_owned(), Box::new(check)));
    }
    let claim = |origin| by_key::claim(origin, log, &queries(history, origin.module.name()));
    let mut claims: Vec<Result<Claim, Difference>> = origins.iter().map(claim).collect();
    claims.retain(|claim| *claim != Ok(Claim::NotMade));
    if !claims.is_empty() {
        let check = move |case: &Case<'_>| {
            let verdicts = claims.iter().map(|claim| kept(case, claim));
            verdicts.reduce(Verdict::and)
        };
        checks.push((KEYS.to_owned(), Box::new(check)));
    }
    checks
}

/// Whether a machine is as keyed as it says.
fn kept(case: &Case<'_>, claim: &Result<Claim, Difference>) -> Verdict {
    match claim {
        Ok(Claim::NotMade) => Verdict::pass("not keyed"),
        Ok(Claim::Held(Compared { commands: 0, .. })) => Verdict::unknown("no command named a key"),
        Ok(Claim::Held(Compared { keys, commands, queries })) => Verdict::pass(format!(
            "{keys} keys do not see each other: {commands} commands and {queries} queries \
             answered alike alone"
        )),
        Ok(Claim::Open(why)) => Verdict::unknown(*why),
        Ok(Claim::Refuted(lie)) => refuted(case, lie),
        Err(difference) => difference.verdict(),
    }
}

fn invariant(case: &Case<'_>, log: &ReplayedLog) -> Verdict {
    match &log.broken {
        None => Verdict::pass(format!("it held in {} states", log.seen.invariants)),
        Some(Broken { machine, index, says }) => {
            let says = format!("{machine}: after entry {index}: {says}");
            let operations = applied_at(case, *index);
            let window = case.operations.describe(&operations);
            Verdict::fail(says, operations).with_window(window)
        }
    }
}

fn refuted(case: &Case<'_>, lie: &Lie) -> Verdict {
    let is_it = |operation: &pgraft_judge::operations::Operation<'_>| {
        operation.invoke.machine == lie.machine && operation.invoke.payload == lie.payload
    };
    let mut operations = applied_at(case, lie.index);
    if lie.is_query {
        let asked = case.operations.iter().filter(|operation| {
            is_it(operation) && operation.done().is_some_and(|done| done.index == lie.index)
        });
        operations = asked.map(|operation| operation.op()).take(1).collect();
    } else {
        operations.retain(|op| case.operations.get(*op).is_some_and(is_it));
    }
    let window = case.operations.describe(&operations);
    Verdict::fail(lie.to_string(), operations).with_window(window)
}

/// The calls that an entry carried out.
fn applied_at(case: &Case<'_>, index: u64) -> Vec<u64> {
    let commands = case.log.commands.iter().enumerate();
    let there = commands.filter(|(_, command)| command.index == index);
    there.filter_map(|(number, _)| case.fates.owner.get(&number).copied()).collect()
}

/// What clients asked of a machine, each with the index at which it was answered.
fn queries(history: &History, machine: &str) -> Vec<(u64, Vec<u8>)> {
    let mut asked = std::collections::BTreeMap::new();
    let mut answered = Vec::new();
    for event in &history.events {
        match &event.what {
            What::Invoke(invoke) if invoke.machine == machine && invoke.call != Call::Command => {
                asked.insert(invoke.op, &invoke.payload);
            }
            What::Ok(done) => {
                let payload = asked.remove(&done.op);
                answered.extend(payload.map(|payload| (done.index, payload.clone())));
            }
            _ => {}
        }
    }
    answered.truncate(QUERIES_MAX);
    answered
}
