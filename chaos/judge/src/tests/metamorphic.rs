//! Changes of a history that must not change its verdict: other times, other names of clients and
//! keys, and two histories side by side.

use std::collections::BTreeMap;
use std::path::Path;

use super::story::judged;
use crate::history::{History, What};
use crate::verdict::Rank;

/// Histories of the corpus, good and bad.
fn corpus() -> BTreeMap<String, History> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let histories = files.map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, History::read(&path).unwrap())
    });
    histories.collect()
}

fn ranks(history: &History) -> Vec<(String, Rank)> {
    let verdicts = judged(history).verdicts;
    verdicts.into_iter().map(|(name, verdict)| (name, verdict.rank)).collect()
}

fn unchanged(change: impl Fn(&mut History)) {
    let corpus = corpus();
    assert!(corpus.len() > 5);
    for (name, history) in corpus {
        let mut changed = history.clone();
        change(&mut changed);
        assert_eq!(ranks(&history), ranks(&changed), "{name}");
    }
}

#[test]
fn times_may_shift_and_stretch() {
    unchanged(|history| {
        history.events.iter_mut().for_each(|event| event.at_us = event.at_us * 3 + 17);
    });
}

#[test]
fn clients_may_have_other_names() {
    unchanged(|history| {
        for event in &mut history.events {
            match &mut event.what {
                What::Invoke(invoke) => invoke.client = 1_000 - invoke.client,
                What::Watched(watched) => watched.client = 1_000 - watched.client,
                _ => {}
            }
        }
    });
}

#[test]
fn partitions_may_have_other_names() {
    unchanged(|history| {
        for event in &mut history.events {
            if let What::Invoke(invoke) = &mut event.what {
                invoke.key = invoke.key.take().map(|key| format!("z{key}").chars().rev().collect());
            }
        }
    });
}

#[test]
fn operations_may_have_other_numbers() {
    unchanged(|history| {
        for event in &mut history.events {
            match &mut event.what {
                What::Invoke(invoke) => invoke.op = invoke.op * 2 + 5,
                What::Ok(done) => done.op = done.op * 2 + 5,
                What::Fail(ended) | What::Unknown(ended) => ended.op = ended.op * 2 + 5,
                _ => {}
            }
        }
    });
}

/// Histories of different keys, one after the other, are right if both are. Without the log: two
/// logs are not one.
#[test]
fn a_history_split_by_key_has_the_worse_verdict() {
    let corpus = corpus();
    let black_box: Vec<(&String, &History)> =
        corpus.iter().filter(|(name, _)| name.ends_with("black_box")).collect();
    assert_eq!(black_box.len(), 2);
    for (_, one) in &black_box {
        for (_, other) in &black_box {
            let both = joined(one, other);
            let rank = |history: &History| judged(history).verdict("linearizability").unwrap().rank;
            assert_eq!(rank(&both), rank(one).max(rank(other)));
        }
    }
}

fn joined(one: &History, other: &History) -> History {
    let mut both = one.clone();
    let last = both.events.last().unwrap().at_us;
    for event in &other.events[1..] {
        let mut event = event.clone();
        event.at_us += last;
        match &mut event.what {
            What::Invoke(invoke) => {
                invoke.op += 1_000;
                invoke.client += 1_000;
                invoke.key = invoke.key.take().map(|key| format!("other {key}"));
            }
            What::Ok(done) => done.op += 1_000,
            What::Fail(ended) | What::Unknown(ended) => ended.op += 1_000,
            _ => {}
        }
        both.events.push(event);
    }
    both
}
