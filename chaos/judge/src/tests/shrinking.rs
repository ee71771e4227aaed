//! Long histories with one defect become the few operations that show it.

use super::story::{Story, options};
use crate::history::{History, What};
use crate::shrink::shrink;
use crate::verdict::Rank;

/// Three hundred operations of six clients on five keys, and a stale read in the middle.
fn long() -> Story {
    let mut story = Story::new();
    for round in 0..25u64 {
        for client in 0..6 {
            let key = (round + client) % 5;
            story.done(client, &format!("put k{key} {}", round * 10 + client));
            story.done(client, &format!("get k{key}"));
        }
        if round == 12 {
            story.done(1, "put k0 old");
            let before = story.index;
            story.done(2, "put k0 new");
            let read = story.ask(3, "get k0");
            story.lie(read, Some("old"), before);
        }
    }
    story
}

fn operations(history: &History) -> usize {
    history.events.iter().filter(|event| matches!(event.what, What::Invoke(_))).count()
}

#[test]
fn a_stale_read_shrinks_with_the_log() {
    let history = long().end();
    let shrunk = shrink(&history, "linearizability", &options()).expect("it fails");
    assert_eq!(shrunk.verdict.rank, Rank::Fail);
    assert!(shrunk.needed.len() <= 2, "{:?} in {}", shrunk.verdict, shrunk.attempts);
    assert!(operations(&shrunk.history) <= 2);
    println!("{} operations to {}", operations(&history), shrunk.needed.len());
}

#[test]
fn a_stale_read_shrinks_without_the_log() {
    let history = long().black_box();
    let shrunk = shrink(&history, "linearizability", &options()).expect("it fails");
    println!("{} operations to {:?}", operations(&history), shrunk.verdict.window);
    // The put of the old value, the put of the new one, and the read; nothing is an artefact: the
    // old value was put.
    assert_eq!(shrunk.verdict.rank, Rank::Fail);
    assert!(shrunk.needed.len() <= 4, "{:?} in {}", shrunk.needed, shrunk.attempts);
}

#[test]
fn what_passes_does_not_shrink() {
    let mut story = Story::new();
    story.done(1, "put x 1");
    assert!(shrink(&story.end(), "linearizability", &options()).is_none());
}
