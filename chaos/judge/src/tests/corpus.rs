//! The known-bad corpus: one history per anomaly under `tests/corpus`, as files of the very format
//! that runs write, and which checkers must refuse it. The files are told by the stories here;
//! `UPDATE_GOLDENFILES=1 cargo test -p pgraft-judge corpus` writes them anew.

use std::path::{Path, PathBuf};

use super::story::{good, judged};
use crate::history::{Fact, History};
use crate::verdict::Rank;

/// An anomaly: the file's name, who must refuse it, and the story.
type Anomaly = (&'static str, &'static [&'static str], fn() -> History);

const CORPUS: [Anomaly; 9] = [
    ("good", &[], || good().end()),
    ("good_black_box", &[], || good().black_box()),
    ("stale_read", &["linearizability", "sessions"], stale_read),
    ("stale_read_black_box", &["linearizability"], || without_log(stale_read())),
    ("lost_update", &["durability", "linearizability", "revisions"], lost_update),
    ("dirty_read", &["linearizability", "revisions"], dirty_read),
    ("double_apply", &["exactly once"], double_apply),
    ("split_brain", &["linearizability", "divergence"], split_brain),
    ("non_monotonic_read", &["sessions"], non_monotonic_read),
];

fn without_log(history: History) -> History {
    use crate::history::What;
    let events = history.events.into_iter().filter(|e| !matches!(e.what, What::Committed(_)));
    History { events: events.collect(), cut_short: false }
}

/// A leader that was deposed answers from its own state.
fn stale_read() -> History {
    let mut story = good();
    story.done(1, "put z 1");
    let before = story.index;
    story.done(1, "put z 2");
    let read = story.ask(2, "get z");
    story.lie(read, Some("1"), before);
    story.end()
}

/// An acknowledged put is gone after a change of leader.
fn lost_update() -> History {
    let mut story = good();
    story.done(1, "put z 1");
    let lost = story.ask(1, "put z 2");
    let index = story.index;
    story.told(lost, index, super::store::accepted("done"), Vec::new());
    story.done(2, "get z");
    story.end()
}

/// A put that was told to have failed is read.
fn dirty_read() -> History {
    let mut story = good();
    story.done(1, "put z 1");
    let failed = story.ask(1, "put z 2");
    story.fail(failed);
    let read = story.ask(2, "get z");
    let index = story.index;
    story.lie(read, Some("2"), index);
    story.end()
}

/// A command that was sent again after a change of leader is carried out again.
fn double_apply() -> History {
    let mut story = good();
    let op = story.ask(1, "incr n");
    story.commit_as(&[op], 5);
    story.term = 2;
    story.commit_as(&[op], 5);
    story.ok(op);
    story.done(1, "get n");
    story.end()
}

/// Two leaders commit at one index, and two clients take one lock.
fn split_brain() -> History {
    let mut story = good();
    story.done(1, "put lock free");
    let (one, two) = (story.ask(1, "cas lock free a"), story.ask(2, "cas lock free b"));
    let (index, keys) = (story.index, story.keys.clone());
    story.commit(&[one]);
    story.ok(one);
    (story.index, story.keys, story.term) = (index, keys, 2);
    story.commit(&[two]);
    story.ok(two);
    story.end()
}

/// One client reads on one node, and reads something older there.
fn non_monotonic_read() -> History {
    let mut story = good();
    story.done(1, "put z 1");
    let (before, revision) = (story.index, story.keys.revision);
    story.done(1, "put z 2");
    story.done(2, "peek z");
    let read = story.ask(2, "peek z");
    let (key, value) = ("z".to_owned(), Some("1".to_owned()));
    let facts = vec![Fact::Got { key, value, revision }];
    story.told(read, before, super::store::accepted("1"), facts);
    story.end()
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(format!("{name}.jsonl"))
}

#[test]
fn corpus_is_what_the_stories_tell() {
    let update = std::env::var_os("UPDATE_GOLDENFILES").is_some();
    for (name, _, story) in CORPUS {
        let text = story().to_text();
        if update {
            std::fs::write(file(name), &text).unwrap();
        }
        let kept = std::fs::read_to_string(file(name)).unwrap();
        assert_eq!(kept, text, "{name}: UPDATE_GOLDENFILES=1 writes it anew");
    }
}

#[test]
fn canary_the_corpus_is_refused() {
    for (name, checkers, _) in CORPUS {
        let judgement = judged(&History::read(&file(name)).unwrap());
        for checker in checkers {
            let verdict = judgement.verdict(checker).expect("it had something to look at");
            assert_eq!(verdict.rank, Rank::Fail, "{name}: {checker}\n{judgement}");
        }
        let refused = judgement.overall == Rank::Fail;
        assert_eq!(refused, !checkers.is_empty(), "{name}\n{judgement}");
    }
}
