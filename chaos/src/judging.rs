//! What the judge is given for a history: the machines' own modules as specifications, a replay of
//! the whole log by them, and what the scenario promises. Not here: the checkers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pgraft_host::MACHINES;
use pgraft_judge::case::Case;
use pgraft_judge::checks::linearizability::MachineEntry;
use pgraft_judge::history::{Committed, Event, History, What};
use pgraft_judge::judge::{Check, Judgement, Options, judge};
use pgraft_judge::lin::{Budget, Certificate, Disagreement, Outcome};
use pgraft_judge::machine_spec::{
    Difference, KeyedSpec, MachineSpec, Origin, ReplayedLog, ReplayedSpec, Seen,
};
use pgraft_judge::{Measure, Verdict};

use crate::modules::{self, Modules};
use crate::promises;
use crate::scenario::Scenario;
use crate::workload::{self, Name};

/// The checker of the caller that replays the log.
const REPLAYED: &str = "replayed log";
/// The machine that is told what became of its effects.
const MEMBERSHIP: &str = "membership";
/// Marks that need a workload, not a fault.
const OF_WORKLOADS: [&str; 1] = ["lease_expired"];
/// The machine whose calls can be looked at key by key.
const KV: &str = "kv";

/// Judges a history; `scenario`: with what it promises and wants to have seen.
///
/// # Errors
/// When the history does not make sense, or was made with other modules.
pub fn judged(
    history: &History,
    scenario: Option<&Scenario>,
    modules: &Modules,
) -> Result<Judgement, String> {
    judge(history, &options(history, scenario, modules)?).map_err(|error| error.to_string())
}

/// What [`judged`] gives to the judge.
///
/// # Errors
/// As [`judged`].
pub fn options(
    history: &History,
    scenario: Option<&Scenario>,
    modules: &Modules,
) -> Result<Options, String> {
    let mut options = Options::default();
    if let Some(scenario) = scenario {
        options.liveness_us = scenario.phases.liveness_ms * 1000;
        options.sometimes.clone_from(&scenario.sometimes.run);
        let custom = history.run().genesis.iter().any(|one| !modules::is_built_in(&one.machine));
        match custom {
            // Clients ask what the templates say, and not what the scenario says.
            true => options.sometimes.retain(|mark| !OF_WORKLOADS.contains(&mark.as_str())),
            false => options.required = required(scenario),
        }
    }
    let origins = modules.origins(history.run())?;
    let committed = history.events.iter().filter_map(|event| match &event.what {
        What::Committed(committed) => Some(committed),
        _ => None,
    });
    let log = (committed.clone().next().is_some() && !origins.is_empty())
        .then(|| replay(&origins, history, committed, modules).map(Arc::new));
    if let Some(log) = &log {
        let verdict = match log {
            Ok(log) => Verdict::pass(format!(
                "{} outcomes and {} digests of {} entries as the modules say{}",
                log.seen.outcomes,
                log.seen.digests,
                log.seen.entries,
                of_changes(&log.seen)
            )),
            Err(difference) => difference.verdict(),
        };
        let check: Box<dyn Check> = Box::new(move |_: &Case<'_>| Some(verdict.clone()));
        options.more.push((REPLAYED.to_owned(), check));
    }
    let log = log.and_then(Result::ok);
    if let Some(log) = &log {
        options.more.extend(promises::checks(&origins, log, history));
    }
    options.specifications = specifications(&origins, log.as_ref())?;
    Ok(options)
}

/// What a replay saw of changes of the machines, in words.
fn of_changes(seen: &Seen) -> String {
    let Seen { switches, steps, given_up, kept_out, .. } = seen;
    if switches + steps == 0 {
        return String::new();
    }
    format!(
        "; {switches} switches of modules, {steps} steps of migrations, {given_up} given up, \
         {kept_out} commands kept out"
    )
}

/// The whole log once more, and what the replicas said their tables came to.
fn replay<'a>(
    origins: &[Origin],
    history: &'a History,
    committed: impl Iterator<Item = &'a Committed> + Clone,
    modules: &Modules,
) -> Result<ReplayedLog, Difference> {
    let mut log = ReplayedLog::new(origins, 0)?;
    if committed.clone().any(changes_machines) {
        log = log.with_library(modules.library().map_err(Difference::Engine)?);
    }
    for entry in committed {
        log.add(entry)?;
    }
    for event in &history.events {
        if let What::Digest(digest) = &event.what {
            log.compare_replica(digest)?;
        }
    }
    Ok(log)
}

/// Whether an entry may change the machines themselves.
fn changes_machines(entry: &Committed) -> bool {
    entry.body.windows(MACHINES.len()).any(|bytes| bytes == MACHINES.as_bytes())
}

/// The measure of each machine.
fn specifications(
    origins: &[Origin],
    log: Option<&Arc<ReplayedLog>>,
) -> Result<BTreeMap<String, Box<dyn Measure>>, String> {
    let mut measures: BTreeMap<String, Box<dyn Measure>> = BTreeMap::new();
    for Origin { module, number, config, .. } in origins {
        let name = module.name().to_owned();
        // What it does depends on more than its commands, or on modules that came later.
        if name == MEMBERSHIP || log.is_some_and(|log| log.has_changed(&name)) {
            let replayed = log.map(|log| ReplayedSpec::new(Arc::clone(log)));
            measures.extend(replayed.map(|spec| (name, Box::new(spec) as Box<dyn Measure>)));
            continue;
        }
        let module = module.clone().numbered(*number);
        let initial =
            module.initial(config, 0).map_err(|fault| format!("{name} cannot be made: {fault}"))?;
        let keyed = module.manifest().keyed;
        let exact = MachineSpec::new(module, initial);
        let measure: Box<dyn Measure> = match name.as_str() {
            KV => Box::new(Keyed::new(exact)),
            _ if keyed => Box::new(KeyedSpec::new(exact)),
            _ => Box::new(exact),
        };
        measures.insert(name, measure);
    }
    Ok(measures)
}

/// `kv`: in the order of the log every answer must be right to the last byte. Where an order has to
/// be searched for, it is searched key by key, without the revisions, which belong to all keys.
struct Keyed {
    exact: MachineSpec,
    by_key: MachineSpec,
}

impl Keyed {
    fn new(exact: MachineSpec) -> Keyed {
        let by_key = exact.clone().seen_as(Arc::new(workload::without_revisions));
        let by_key = by_key.told_apart_by(&workload::everything());
        Keyed { exact, by_key }
    }
}

impl Measure for Keyed {
    fn certify(&self, entries: &[MachineEntry]) -> Certificate {
        self.exact.certify(entries)
    }

    fn is_by_key(&self) -> bool {
        true
    }

    fn search(
        &self,
        partitions: &[Vec<MachineEntry>],
        budget: Budget,
    ) -> Result<(Outcome, usize), Disagreement> {
        match partitions {
            [all] => self.exact.search(std::slice::from_ref(all), budget),
            many => self.by_key.search(many, budget),
        }
    }
}

/// Checkers that the scenario's workloads must give something to look at.
fn required(scenario: &Scenario) -> Vec<String> {
    let asked = scenario.workloads.iter().filter(|(_, weight)| **weight > 0);
    let checkers: BTreeSet<&str> =
        asked.flat_map(|(name, _)| looked_at_by(*name)).copied().collect();
    checkers.into_iter().map(str::to_owned).collect()
}

fn looked_at_by(workload: Name) -> &'static [&'static str] {
    match workload {
        Name::Register | Name::HotKey | Name::Transactions => &["revisions"],
        Name::Leases => &["leases"],
        Name::Append => &["append"],
        Name::Bank => &["bank"],
        Name::Watch => &["event order"],
        Name::Members | Name::Custom => &[],
    }
}

/// The operations that the checkers blame, in order, each once.
pub fn blamed(judgement: &Judgement) -> Vec<u64> {
    let all = judgement.verdicts.iter().flat_map(|(_, verdict)| &verdict.operations);
    all.copied().collect::<BTreeSet<u64>>().into_iter().collect()
}

/// A history of these events, whole.
pub fn history(events: Vec<Event>) -> History {
    History { events, cut_short: false }
}
