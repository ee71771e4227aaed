//! The subcommands of the program: words in, words out. Each says whether everything passed.

pub(crate) mod run;
pub(crate) mod sweep;

use std::fs;
use std::path::Path;

use pgraft_chaos::dossier::{self, Dossier};
use pgraft_chaos::oracle::{self, Replayed};
use pgraft_chaos::plan::Case;
use pgraft_chaos::progress::Ticker;
use pgraft_chaos::scenario::Scenario;
use pgraft_chaos::seed::Seed;
use pgraft_chaos::suite::{Keep, Smallest, Suite, Trial};
use pgraft_judge::{History, Judgement, Rank};

use crate::{JudgeArguments, MachineArguments, ReplayArguments, ShrinkArguments};

/// The suite with the machine that is asked for.
fn suite(arguments: &MachineArguments) -> Result<Suite, String> {
    match (&arguments.machine, &arguments.operations) {
        (Some(machine), Some(operations)) => Suite::with_machine(machine, operations),
        _ => Ok(Suite::new()),
    }
}

/// Lists the scenarios.
pub(crate) fn list() {
    for Scenario { name, about, .. } in Scenario::all() {
        println!("{name:18} {about}");
    }
}

/// Runs a kept case, or steps a recording through fresh replicas.
pub(crate) fn replay(arguments: &ReplayArguments) -> Result<bool, String> {
    if oracle::is_recording(&arguments.file)? {
        return Ok(told_replays(&[oracle::replay_file(&arguments.file)?]));
    }
    let (scenario, case) = read_case(&arguments.file)?;
    let suite = suite(&arguments.machine)?;
    println!("{}\n{}", repeats_file("replay", &arguments.file, &suite), case.plan);
    let trial = suite.run(&scenario, &case, Keep::default())?;
    println!("{}", trial.judgement);
    if let Some(file) = &arguments.report {
        let reproduce = repeats_file("replay", &arguments.file, &suite);
        let page = dossier::page(&trial.history.events, &trial.judgement, reproduce, None);
        write(file, &page)?;
    }
    println!("{}", repeats_file("replay", &arguments.file, &suite));
    Ok(has_passed(&trial.judgement))
}

/// Makes a kept case small.
pub(crate) fn shrink(arguments: &ShrinkArguments) -> Result<bool, String> {
    let (scenario, case) = read_case(&arguments.file)?;
    let suite = suite(&arguments.machine)?;
    let trial = suite.run(&scenario, &case, Keep { logs: true, ..Keep::default() })?;
    println!("{}", trial.judgement);
    match keep_failure(&suite, &scenario, (&case, &trial), arguments.runs, &arguments.keep)? {
        Some(_) => Ok(false),
        None if has_passed(&trial.judgement) => {
            println!("nothing failed, so there is nothing to make small");
            Ok(true)
        }
        None => Ok(false),
    }
}

/// Judges a history.
pub(crate) fn judge(arguments: &JudgeArguments) -> Result<bool, String> {
    let shown = arguments.file.display();
    let suite = suite(&arguments.machine)?;
    let history = History::read(&arguments.file).map_err(|error| format!("{shown}: {error}"))?;
    let judgement = suite.judge(&history).map_err(|why| format!("{shown}: {why}"))?;
    if history.cut_short {
        println!("{shown}: the last line was cut short; judged without it");
    }
    if arguments.json {
        let text = serde_json::to_string_pretty(&judgement).map_err(|error| error.to_string())?;
        println!("{text}");
    } else {
        println!("{judgement}");
    }
    if let Some(file) = &arguments.report {
        let run = history.run();
        let reproduce = suite.repeats(&run.scenario, Seed::new(run.seed));
        write(file, &dossier::page(&history.events, &judgement, reproduce, None))?;
    }
    Ok(has_passed(&judgement))
}

/// Prints what came of recordings; whether all gave the same.
fn told_replays(replays: &[Replayed]) -> bool {
    replays.iter().for_each(|replayed| println!("{replayed}"));
    replays.iter().all(Replayed::is_same)
}

fn read_case(file: &Path) -> Result<(Scenario, Case), String> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
    let case = Case::from_json(&text).map_err(|error| format!("{shown}: {error}"))?;
    let scenario = Scenario::find(&case.scenario).map_err(|error| format!("{shown}: {error}"))?;
    Ok((scenario, case))
}

fn repeats_file(command: &str, file: &Path, suite: &Suite) -> String {
    let (program, words) = (suite.program(command), &suite.words);
    format!("{program} {}{words}  (commit {})", file.display(), suite.commit)
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn has_passed(judgement: &Judgement) -> bool {
    judgement.overall == Rank::Pass
}

/// Makes a failure small, prints it as a story, and keeps everything about it in a folder; the
/// smallest case, if there is one.
fn keep_failure(
    suite: &Suite,
    scenario: &Scenario,
    (case, trial): (&Case, &Trial),
    runs_max: u64,
    parent: &Path,
) -> Result<Option<Smallest>, String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", parent.display());
    let dossier = Dossier::of(parent, &scenario.name, case.seed).map_err(wrong)?;
    dossier.keep(case, trial).map_err(wrong)?;
    let reproduce = suite.repeats(&scenario.name, Seed::new(case.seed));
    let mut ticker = Ticker::new();
    let mut told = |runs: u64| ticker.tell(&format!("making it small: run {runs} of {runs_max}"));
    let smallest = match runs_max {
        0 => None,
        _ => suite.shrink(scenario, (case, trial), runs_max, &mut told)?,
    };
    ticker.end();
    if let Some(smallest) = &smallest {
        dossier.keep_smallest(smallest).map_err(wrong)?;
        println!("\n{}", dossier::trace(smallest));
    }
    let report = dossier.report(trial, smallest.as_ref(), reproduce).map_err(wrong)?;
    println!("kept in {}; read {}", dossier.folder().display(), report.display());
    Ok(smallest)
}
