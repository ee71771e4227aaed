//! Tests of scenarios: the built-in files make sense, and what does not is refused by name.

use std::collections::BTreeSet;

use super::*;

const SMALL: &str = r#"
name = "small"
about = "Two sides now and then."
nodes = 3

[phases]
safety_ms = [1000, 2000]
liveness_ms = 1000

[clients]
count = [1, 2]
operations = [10, 20]
timeout_ms = [100, 200]

[workloads]
register = 1

[faults.pause]
per_minute = [1, 10]
for_ms = [100, 200]
targets = ["leader"]

[sometimes]
run = ["leader_elected"]
"#;

#[test]
fn built_in_files_are_read_and_say_different_things() {
    let all = Scenario::all();
    assert_eq!(all.len(), FILES.len());
    let names: BTreeSet<&str> = all.iter().map(|scenario| &scenario.name[..]).collect();
    assert_eq!(names.len(), all.len());
    for scenario in &all {
        let budget = scenario.budget();
        let away_ms = |range: &Range| range.low >= budget.away_ms;
        for kind in [Kind::OldDisk, Kind::RotLog, Kind::Misdirect, Kind::LyingPowerLoss] {
            let for_ms = scenario.faults.get(&kind).and_then(|allowed| allowed.for_ms);
            assert!(for_ms.as_ref().is_none_or(away_ms), "{}: {kind} is raised", scenario.name);
        }
    }
}

#[test]
fn every_kind_and_every_workload_stands_somewhere() {
    let all = Scenario::all();
    let kinds: BTreeSet<Kind> = all.iter().flat_map(|one| one.faults.keys().copied()).collect();
    let last = Kind::OtherBuild as usize;
    assert_eq!(kinds.len(), last + 1, "{kinds:?}");
    let workloads: BTreeSet<Name> =
        all.iter().flat_map(|one| one.workloads.keys().copied()).collect();
    assert_eq!(workloads.len(), Name::Custom as usize, "{workloads:?}");
}

#[test]
fn files_and_list_are_the_same() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<String> = names.collect();
    let listed: BTreeSet<String> = FILES.iter().map(|(name, _)| format!("{name}.toml")).collect();
    assert_eq!(found, listed);
}

#[test]
fn what_is_left_out_has_its_usual_value() {
    let small = Scenario::parse("small", SMALL).unwrap();
    assert_eq!(small.node, NodeSettings::default());
    assert_eq!(small.weather, Weather::default());
    let pause = &small.faults[&Kind::Pause];
    assert_eq!(pause.chance_permille, 600);
    assert_eq!(pause.targets, Some(vec![Aim::Leader]));
    assert_eq!(small.budget().voters, 3);
}

#[test]
fn kinds_are_printed_as_they_are_written() {
    for (kind, name) in [(Kind::PowerLossAt, "power_loss_at"), (Kind::Wipe, "wipe")] {
        assert_eq!(kind.to_string(), name);
        let text = SMALL.replace("faults.pause", &format!("faults.{name}"));
        let text = if kind == Kind::Wipe {
            text
        } else {
            text.replace("for_ms", "after = [0, 1]\nfor_ms")
        };
        let read = Scenario::parse("small", &text).unwrap();
        assert!(read.faults.contains_key(&kind));
    }
}

#[test]
fn unknown_scenarios_are_told_with_those_there_are() {
    let error = Scenario::find("crash").unwrap_err().to_string();
    assert!(error.starts_with("there is no scenario \"crash\"; there are quiet, "), "{error}");
}

#[test]
fn canary_unknown_keys_are_named() {
    let told = |old: &str, new: &str| {
        assert!(SMALL.contains(old), "{old}");
        Scenario::parse("small", &SMALL.replace(old, new)).unwrap_err().to_string()
    };
    for (old, new, key) in [
        ("nodes = 3", "node_count = 3", "unknown field `node_count`"),
        ("liveness_ms = 1000", "liveness = 1000", "unknown field `liveness`"),
        ("count = [1, 2]", "counts = [1, 2]", "unknown field `counts`"),
        ("register = 1", "registers = 1", "unknown variant `registers`"),
        ("register = 1", "custom = 1", "unknown variant `custom`"),
        ("faults.pause", "faults.pauses", "unknown variant `pauses`"),
        ("targets = ", "target = ", "unknown field `target`"),
        ("[\"leader\"]", "[\"leaders\"]", "unknown variant `leaders`"),
        ("run = ", "always = ", "unknown field `always`"),
        ("[1000, 2000]", "[2000, 1000]", "range [2000, 1000]: the first is greater"),
    ] {
        let error = told(old, new);
        assert!(error.starts_with("scenario small: ") && error.contains(key), "{error}");
    }
}

#[test]
fn canary_values_without_sense_are_named() {
    let told = |old: &str, new: &str| {
        assert!(SMALL.contains(old), "{old}");
        Scenario::parse("small", &SMALL.replace(old, new)).unwrap_err().to_string()
    };
    for (old, new, what) in [
        ("name = \"small\"", "name = \"tiny\"", "name is \"tiny\""),
        ("nodes = 3", "nodes = 4", "nodes is 4, allowed are 1, 3, 5, 7 and 9"),
        ("count = [1, 2]", "count = [0, 2]", "clients.count must not be 0"),
        ("register = 1", "register = 0", "workloads is empty"),
        ("per_minute = [1, 10]", "per_minute = [0, 0]", "faults.pause never comes"),
        ("for_ms = [100, 200]", "", "faults.pause needs the key for_ms"),
        ("for_ms = ", "ms = [1, 2]\nfor_ms = ", "faults.pause has no use for the key ms"),
        ("[\"leader\"]", "[]", "faults.pause has an empty list of targets"),
        ("faults.pause", "faults.partition", "faults.partition has no use for the key targets"),
        ("per_minute = ", "chance_permille = 1001\nper_minute = ", "has chance_permille 1001"),
        ("leader_elected", "leader_elect", "asks for \"leader_elect\", which is no mark"),
        ("[\"leader_elected\"]", "[]", "sometimes asks for nothing in every run"),
        (
            "[sometimes]",
            "[sometimes]\nsweep = [\"clock_jumped\"]",
            "a list sweep and no sweep_runs",
        ),
    ] {
        let error = told(old, new);
        assert!(error.starts_with("scenario small: ") && error.contains(what), "{error}");
    }
    let ring = SMALL.replace("faults.pause", "faults.ring").replace("targets = [\"leader\"]", "");
    let error = Scenario::parse("small", &ring).unwrap_err().to_string();
    assert!(error.contains("faults.ring needs at least 4 nodes, there are 3"), "{error}");
}
