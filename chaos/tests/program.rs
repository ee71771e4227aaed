//! The program `pgraft-chaos` as a user runs it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use pgraft_chaos::scenario::Scenario;
use pgraft_judge::History;
use pgraft_judge::history::{Call, Reply, What};
use tempfile::TempDir;

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pgraft-chaos")).args(arguments).output().expect("it runs")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The error of a call that could not be tried.
fn refused(arguments: &[&str]) -> String {
    let output = program(arguments);
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

#[test]
fn list_names_every_scenario() {
    let output = told(&program(&["list"]));
    let names: Vec<&str> = output.lines().filter_map(|line| line.split(' ').next()).collect();
    let known: Vec<String> = Scenario::all().into_iter().map(|scenario| scenario.name).collect();
    assert_eq!(names, known);
}

/// One run, and all that can be done with its history.
#[test]
fn a_run_is_judged_now_and_later_and_shown() {
    let folder = TempDir::new().unwrap();
    let [history, log, report, again] =
        ["history.jsonl", "log.txt", "report.html", "again.html"].map(|name| path(&folder, name));
    let files = ["--history", &history, "--log", &log, "--report", &report];
    let output = program(&[&["run", "quiet", "--seed", "7"], &files[..]].concat());
    let text = told(&output);
    assert!(output.status.success(), "{text}");
    let (first, last) = (text.lines().next().unwrap(), text.lines().last().unwrap());
    assert!(first.contains("-- run quiet --seed 7  (commit "), "{first}");
    assert_eq!(first, last);
    assert!(text.contains("PASSED ("), "{text}");
    assert!(fs::read_to_string(&log).unwrap().contains("leader"));

    let judged = program(&["judge", &history, "--report", &again]);
    assert!(judged.status.success(), "{}", told(&judged));
    assert!(text.contains(told(&judged).trim()), "{}\n{text}", told(&judged));
    assert_eq!(fs::read(&report).unwrap(), fs::read(&again).unwrap());
    assert!(fs::read_to_string(&report).unwrap().contains("PASSED"));

    canary_an_altered_answer_is_noticed(Path::new(&history));
    canary_a_history_of_another_module_is_refused(Path::new(&history));
}

/// What one read was told is changed in the file: only the machine's own module knows better.
fn canary_an_altered_answer_is_noticed(file: &Path) {
    let mut history = History::read(file).expect("a history");
    let reads: Vec<u64> = history
        .events
        .iter()
        .filter_map(|event| match &event.what {
            What::Invoke(invoke) if invoke.machine == "kv" && invoke.call == Call::Query => {
                Some(invoke.op)
            }
            _ => None,
        })
        .collect();
    let altered = history.events.iter_mut().find_map(|event| match &mut event.what {
        What::Ok(done) if reads[reads.len() / 2] == done.op => {
            let Reply::Accepted(bytes) = &mut done.reply else { return None };
            *bytes.last_mut()? ^= 1;
            Some(done.op)
        }
        _ => None,
    });
    let op = altered.expect("the read was answered");
    let altered = file.with_extension("altered");
    fs::write(&altered, history.to_text()).expect("writes");
    let output = program(&["judge", altered.to_str().expect("UTF-8")]);
    let text = told(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let failed = text.lines().find(|line| line.contains("linearizability  failed"));
    assert!(failed.is_some_and(|line| line.contains(&format!("#{op} was told"))), "{text}");
}

fn canary_a_history_of_another_module_is_refused(file: &Path) {
    let mut history = History::read(file).expect("a history");
    let Some(What::Run(run)) = history.events.first_mut().map(|event| &mut event.what) else {
        panic!("a history begins with what was run");
    };
    for (_, sha256) in &mut run.machines {
        *sha256 = "00".repeat(32);
    }
    let other = file.with_extension("other");
    fs::write(&other, history.to_text()).expect("writes");
    let error = refused(&["judge", other.to_str().expect("UTF-8")]);
    let both = [&"00".repeat(32), "judge it with the program of commit"];
    assert!(both.iter().all(|part| error.contains(*part)), "{error}");
}

#[test]
fn a_kept_case_runs_again_and_is_left_when_nothing_fails() {
    let folder = TempDir::new().unwrap();
    let case = path(&folder, "case.json");
    fs::write(
        &case,
        r#"{"scenario": "crashes", "seed": 5, "plan": {"operations": 20, "clients": 2,
            "safety_ms": 4000, "steps": [{"at_ms": 1000, "for_ms": 500,
            "fault": {"crash": {"target": "leader", "power": true}}}]}}"#,
    )
    .unwrap();
    let text = told(&program(&["replay", &case]));
    assert!(text.contains("power loss of the leader"), "{text}");
    assert!(text.contains("leader_changed_with_write_in_flight") || text.contains("sometimes"));
    let text = told(&program(&["shrink", &case, "--keep", &path(&folder, "kept")]));
    assert!(text.contains("history"), "{text}");
}

/// What nodes took and gave is replayed after the run and later; a cut file fails by name.
#[test]
fn a_recording_replays_and_a_cut_one_is_told() {
    let folder = TempDir::new().unwrap();
    let recordings = path(&folder, "recordings");
    let output = program(&["run", "quiet", "--seed", "9", "--record", &recordings]);
    let text = told(&output);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("same: ")).count(), 3, "{text}");

    let file = format!("{recordings}/n2.record");
    let output = program(&["replay", &file]);
    let text = told(&output);
    assert!(output.status.success() && text.contains(" steps/s"), "{text}");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let output = program(&["replay", &file]);
    let text = told(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("n2.record: cut: record ") && text.contains("at offset"), "{text}");
}

/// The example machine and what clients ask it, as files.
fn counter(folder: &TempDir) -> [String; 4] {
    let modules = pgraft_bundle::test_modules();
    let module = modules.iter().find(|module| module.name == "counter").expect("it is built");
    let file = path(folder, "counter.wasm");
    fs::write(&file, module.component).expect("writes");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../statemachines/bundle");
    let operations = fixtures.join("counter/operations.toml").display().to_string();
    ["--machine".to_owned(), file, "--operations".to_owned(), operations]
}

#[test]
fn any_machine_is_judged_by_its_own_module() {
    let folder = TempDir::new().unwrap();
    let machine = counter(&folder);
    let machine: Vec<&str> = machine.iter().map(String::as_str).collect();
    let history = path(&folder, "history.jsonl");
    let output = program(
        &[&["run", "crashes", "--seed", "3", "--history", &history], &machine[..]].concat(),
    );
    let text = told(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("linearizability  passed   counter: "), "{text}");
    let judged = program(&[&["judge", &history], &machine[..]].concat());
    assert!(text.contains(told(&judged).trim()), "{}", told(&judged));

    let error = refused(&["judge", &history]);
    assert!(error.contains("module counter") && error.contains("--machine"), "{error}");
    fs::write(machine[1], b"\0asmnonsense").unwrap();
    let error = refused(&[&["run", "crashes"], &machine[..]].concat());
    assert!(error.contains("counter.wasm"), "{error}");
    fs::write(machine[1], b"no machine").unwrap();
    let error = refused(&[&["run", "crashes"], &machine[..]].concat());
    assert!(error.contains("not WASM: the file begins with"), "{error}");
}

#[test]
fn a_sweep_tells_what_it_ran() {
    let arguments = ["sweep", "quiet", "bank", "--seeds", "1", "--seed", "3"];
    let output = program(&arguments);
    let text = told(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("quiet                  1      0       0\n"), "{text}");
    assert!(text.contains("all  2/2 runs"), "{text}");
    assert_eq!(text.lines().next(), text.lines().last());
}

#[test]
fn wrong_words_are_answered_with_the_value_and_what_there_is() {
    let folder = TempDir::new().unwrap();
    let (missing, empty) = (path(&folder, "missing"), path(&folder, "empty"));
    fs::write(&empty, "").unwrap();
    for (arguments, parts) in [
        (&["run", "calm", "--seed", "1"][..], ["there is no scenario \"calm\"", "quiet"]),
        (&["run", "quiet", "--seed", "one"], ["\"one\" is not a seed", "0x and hexadecimal"]),
        (&["sweep", "calm", "--seeds", "1"], ["there is no scenario \"calm\"", "quiet"]),
        (&["sweep"], ["--seconds", "required"]),
        (&["judge", &missing], [&missing, "No such file"]),
        (&["judge", &empty], [&empty, "not a run"]),
        (&["replay", &empty], [&empty, "not a plan"]),
        (&["shrink", &missing], [&missing, "No such file"]),
    ] {
        let error = refused(arguments);
        assert!(parts.iter().all(|part| error.contains(part)), "{arguments:?}: {error}");
    }
}
