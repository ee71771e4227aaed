//! Runs every model of the driver within its small bounds, and walks for the fidelity of the
//! canonical value.

use super::catalogue::{entries, fidelity_scopes};
use super::cluster::Cluster;
use super::fidelity::walk;
use crate::report::Expected;

fn check(name: &str) {
    let entry = entries().into_iter().find(|entry| entry.name == name).unwrap();
    let report = (entry.check)(&entry.small);
    println!("{report}");
    report.verdict(entry.expected).unwrap();
    // Time is no bound here: a run that was cut short proves nothing.
    let refuted = matches!(entry.expected, Expected::Refuted(_));
    assert!(refuted || report.finished(), "{report}");
}

macro_rules! models {
    ($($test:ident $name:literal;)*) => {
        $(#[test]
        fn $test() {
            check($name);
        })*

        #[test]
        fn every_model_has_a_test() {
            let tested = [$($name),*];
            for entry in entries() {
                assert!(tested.contains(&entry.name), "{} is not tested", entry.name);
            }
        }
    };
}

models! {
    elections "driver-elections";
    log "driver-log";
    reads "driver-reads";
    transfer "driver-transfer";
    repeats "driver-repeats";
    snapshots "driver-snapshots";
    members "driver-members";
    joint "driver-joint";
    terms "driver-terms";
    walks "driver-walks";
    found_install "driver-found-install";
    found_conf "driver-found-conf";
    canary_vote_lost "driver-canary-vote-lost";
    canary_voted_early "driver-canary-voted-early";
    canary_votes_for_all "driver-canary-votes-for-all";
    canary_confirmed_early "driver-canary-confirmed-early";
    canary_acknowledged_early "driver-canary-acknowledged-early";
    canary_tail_lost "driver-canary-tail-lost";
    canary_applied_twice "driver-canary-applied-twice";
    canary_snapshot_sessions "driver-canary-snapshot-sessions";
    canary_sessions_lost "driver-canary-sessions-lost";
    canary_snapshot_conf "driver-canary-snapshot-conf";
    canary_conf_not_written "driver-canary-conf-not-written";
    canary_conf_early "driver-canary-conf-early";
    canary_commit_not_written "driver-canary-commit-not-written";
    canary_read_alone "driver-canary-read-alone";
    canary_truncated "driver-canary-truncated";
    canary_refused "driver-canary-refused";
    canary_answered_twice "driver-canary-answered-twice";
    canary_damaged "driver-canary-damaged";
    canary_applied_ahead "driver-canary-applied-ahead";
    canary_takes_back "driver-canary-takes-back";
}

/// `PGRAFT_MODEL_SEED` walks other ways, `PGRAFT_MODEL_WALKS` more of them,
/// `PGRAFT_MODEL_DEPTH` farther.
fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn replicas_that_run_for_long_do_what_the_table_says() {
    let seed = variable("PGRAFT_MODEL_SEED", 1);
    let walks = variable("PGRAFT_MODEL_WALKS", 60);
    let depth = variable("PGRAFT_MODEL_DEPTH", 60);
    println!("repeat with PGRAFT_MODEL_SEED={seed} ..._WALKS={walks} ..._DEPTH={depth}");
    for (name, scope) in fidelity_scopes() {
        let walked = walk(&Cluster::new(scope), seed, walks, depth).unwrap();
        println!("{name}: {walked:?}");
        assert!(walked.steps > 15 * walks, "{name} went nowhere: {walked:?}");
        assert!(walked.met > 2 * walks, "{name}: too few ways met: {walked:?}");
        assert!(walked.rebuilt > walks, "{name}: {walked:?}");
    }
}

/// A canonical value that forgets any of these fields, of the replica or of the model's own node,
/// must be found out, here by walks through this scope.
const MATTERS: &[(&str, &str)] = &[
    ("node", "elections"),
    ("disk hard state", "elections"),
    ("disk log", "log"),
    ("machine", "snapshots"),
    ("durable machine", "snapshots"),
    ("queued hard states", "log"),
    ("held messages", "elections"),
    ("leader", "elections"),
    ("election elapsed", "elections"),
    ("votes", "elections"),
    ("wall clock", "elections"),
    ("matched", "log"),
    ("durable", "snapshots"),
    ("heard", "reads"),
    ("recent active", "reads"),
    ("read index", "reads"),
    ("read rounds", "reads"),
    ("read sequence", "reads"),
    ("reads", "reads"),
    ("transfer target", "transfer"),
    ("paused", "everything"),
    ("progress state", "everything"),
    ("proposals", "everything"),
    ("recent", "everything"),
    ("role", "everything"),
    ("truncation phase", "everything"),
    ("written", "everything"),
];

#[test]
fn canary_forgotten_fields_are_found() {
    for (field, place) in MATTERS {
        let (_, scope) = fidelity_scopes().into_iter().find(|(name, _)| name == place).unwrap();
        let model = Cluster::new(scope);
        model.table().forget = Some(field);
        match walk(&model, 1, 1_000, 60) {
            Err(what) => println!("{field}: {what}"),
            Ok(walked) => panic!("nobody misses {field:?} in {walked:?}"),
        }
    }
}
