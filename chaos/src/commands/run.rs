//! `pgraft-chaos run`: one scenario with one seed.

use pgraft_chaos::dossier;
use pgraft_chaos::oracle;
use pgraft_chaos::scenario::Scenario;
use pgraft_chaos::seed::Seed;
use pgraft_chaos::suite::{Keep, Suite, Trial};

use super::{has_passed, keep_failure, told_replays, write};
use crate::RunArguments;

/// Runs, judges, and keeps what failed.
pub(crate) fn run(arguments: &RunArguments) -> Result<bool, String> {
    let scenario = Scenario::find(&arguments.scenario).map_err(|error| error.to_string())?;
    let seed = arguments.seed.unwrap_or_else(Seed::fresh);
    let suite = super::suite(&arguments.machine)?;
    let repeat = format!("{}  (commit {})", suite.repeats(&scenario.name, seed), suite.commit);
    println!("{repeat}");
    let case = suite.case(&scenario, seed);
    println!("{}", case.plan);
    let (history, record) = (arguments.history.as_deref(), arguments.record.as_deref());
    let keep = Keep { history, logs: arguments.log.is_some(), record };
    let trial = suite.run(&scenario, &case, keep)?;
    println!("{}", trial.judgement);
    let (simulated, ran, judged) =
        [trial.simulated, trial.ran, trial.judged].map(|time| time.as_secs_f64()).into();
    println!("simulated in {ran:.2} s ({:.0} s/s), judged in {judged:.2} s", simulated / ran);
    if let Some(file) = &arguments.log {
        write(file, &trial.log)?;
    }
    if let Some(file) = &arguments.report {
        let reproduce = suite.repeats(&scenario.name, seed);
        let page = dossier::page(&trial.history.events, &trial.judgement, reproduce, None);
        write(file, &page)?;
    }
    let passed = has_passed(&trial.judgement);
    if !passed {
        let trial = with_log(&suite, &scenario, &case, trial)?;
        keep_failure(&suite, &scenario, (&case, &trial), arguments.shrink, &arguments.keep)?;
    }
    let same = match record {
        Some(folder) => told_replays(&oracle::replay_folder(folder)?),
        None => true,
    };
    println!("{repeat}");
    Ok(passed && same)
}

/// The same run once more with the nodes' log lines, unless they are there.
pub(super) fn with_log(
    suite: &Suite,
    scenario: &Scenario,
    case: &pgraft_chaos::plan::Case,
    trial: Trial,
) -> Result<Trial, String> {
    match trial.log.is_empty() {
        true => suite.run(scenario, case, Keep { logs: true, ..Keep::default() }),
        false => Ok(trial),
    }
}
