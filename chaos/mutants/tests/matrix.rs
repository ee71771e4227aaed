//! The matrix of planted bugs without building it: every patch fits, the areas are covered, and the
//! page says what the data says. Not here: whether the bugs are found (`scripts/test`).

use std::collections::BTreeSet;
use std::fs;

use pgraft_mutants::bug::{self, AREAS};
use pgraft_mutants::record::{PAGE, Record};
use pgraft_mutants::workspace;

/// Bugs that the matrix must hold at least.
const BUGS_MIN: usize = 30;

#[test]
fn every_patch_fits_the_shipped_sources_once() {
    let root = workspace::root();
    let bugs = bug::all(&root).unwrap();
    bug::patched(&bugs, |file| fs::read_to_string(root.join(file))).unwrap();
}

#[test]
fn enough_bugs_in_every_area() {
    let bugs = bug::all(&workspace::root()).unwrap();
    let found = bugs.iter().filter(|bug| bug.missed.is_none()).count();
    assert!(found >= BUGS_MIN, "{found} bugs");
    let areas: BTreeSet<&str> = bugs.iter().map(|bug| &bug.area[..]).collect();
    assert_eq!(areas, AREAS.into());
}

#[test]
fn the_page_tells_every_bug_and_the_recorded_results() {
    let root = workspace::root();
    let bugs = bug::all(&root).unwrap();
    let record = Record::read(&root).unwrap();
    let wanted = bugs.iter().filter(|bug| bug.missed.is_none());
    let names: BTreeSet<&String> = wanted.map(|bug| &bug.name).collect();
    assert_eq!(record.found.keys().collect::<BTreeSet<_>>(), names, "run --all --record");
    let page = fs::read_to_string(root.join(PAGE)).unwrap();
    assert_eq!(record.into_page(&page, &bugs).unwrap(), page, "run --all --record");
}
