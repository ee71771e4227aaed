//! Canaries of the check of append-only lists.

use super::canaries::{passes, refused};
use super::story::Story;
use crate::history::Fact;

fn append(list: &str, element: u64) -> Fact {
    Fact::Append { list: list.to_owned(), element }
}

fn list(list: &str, elements: &[u64]) -> Fact {
    Fact::List { list: list.to_owned(), elements: elements.to_vec() }
}

/// A transaction, from its beginning to its end.
fn txn(story: &mut Story, client: u64, asks: Vec<Fact>, told: &[Fact]) -> u64 {
    let op = begin(story, client, asks);
    finish(story, op, told);
    op
}

fn begin(story: &mut Story, client: u64, asks: Vec<Fact>) -> u64 {
    let words = if asks.is_empty() { "read" } else { "txn" };
    let words = format!("{words} lists {}", story.events.len());
    story.ask_with(client, &words, asks)
}

fn finish(story: &mut Story, op: u64, told: &[Fact]) {
    if story.is_command(op) {
        story.commit(&[op]);
    }
    story.ok_with(op, told);
}

#[test]
fn lists_that_grow_are_fine() {
    let mut story = Story::new();
    txn(&mut story, 1, vec![append("a", 1)], &[]);
    let (one, two) = (begin(&mut story, 1, vec![append("a", 2)]), begin(&mut story, 2, Vec::new()));
    finish(&mut story, one, &[list("a", &[1])]);
    finish(&mut story, two, &[list("a", &[1])]);
    let lost = begin(&mut story, 3, vec![append("a", 3)]);
    story.unknown(lost);
    story.commit(&[lost]);
    txn(&mut story, 1, Vec::new(), &[list("a", &[1, 2, 3])]);
    passes(story, "append");
}

#[test]
fn canary_what_was_read_was_appended_once() {
    let read = |elements: &[u64]| {
        let mut story = Story::new();
        txn(&mut story, 1, vec![append("a", 1)], &[]);
        txn(&mut story, 1, vec![append("a", 2)], &[]);
        txn(&mut story, 2, Vec::new(), &[list("a", elements)]);
        story
    };
    passes(read(&[1, 2]), "append");
    refused(read(&[1, 2, 2]), "append", "2 twice");
    refused(read(&[1, 2, 7]), "append", "nobody appended");
    refused(read(&[1]), "append", "lost update");
    refused(read(&[2, 1]), "append", "G0-realtime");
}

#[test]
fn canary_a_failed_append_was_read() {
    let mut story = Story::new();
    let op = begin(&mut story, 1, vec![append("a", 1)]);
    story.fail(op);
    txn(&mut story, 1, Vec::new(), &[list("a", &[1])]);
    refused(story, "append", "G1a");
}

#[test]
fn canary_reads_that_do_not_fit() {
    let mut story = Story::new();
    let (one, two) =
        (begin(&mut story, 1, vec![append("a", 1)]), begin(&mut story, 2, vec![append("a", 2)]));
    let (three, four) = (begin(&mut story, 3, Vec::new()), begin(&mut story, 4, Vec::new()));
    finish(&mut story, three, &[list("a", &[1])]);
    finish(&mut story, four, &[list("a", &[2, 1])]);
    finish(&mut story, one, &[]);
    finish(&mut story, two, &[]);
    refused(story, "append", "no beginning");
}

#[test]
fn canary_a_stale_read() {
    let mut story = Story::new();
    txn(&mut story, 1, vec![append("a", 1)], &[]);
    txn(&mut story, 1, vec![append("a", 2)], &[]);
    txn(&mut story, 2, Vec::new(), &[list("a", &[1, 2])]);
    txn(&mut story, 3, Vec::new(), &[list("a", &[1])]);
    refused(story, "append", "stale read");
}

/// Two transactions at the same time, and what each of them read.
fn pair(one: (Vec<Fact>, &[Fact]), two: (Vec<Fact>, &[Fact]), last: &[Fact]) -> Story {
    let mut story = Story::new();
    let (a, b) = (begin(&mut story, 1, one.0), begin(&mut story, 2, two.0));
    finish(&mut story, a, one.1);
    finish(&mut story, b, two.1);
    txn(&mut story, 3, Vec::new(), last);
    story
}

#[test]
fn canary_dirty_write_g0() {
    let both = || vec![append("a", 1), append("b", 1)];
    let other = || vec![append("a", 2), append("b", 2)];
    let last = [list("a", &[1, 2]), list("b", &[2, 1])];
    refused(pair((both(), &[]), (other(), &[]), &last), "append", "G0: ");
    let last = [list("a", &[1, 2]), list("b", &[1, 2])];
    passes(pair((both(), &[]), (other(), &[]), &last), "append");
}

#[test]
fn canary_circular_information_flow_g1c() {
    let story = pair(
        (vec![append("a", 1)], &[list("b", &[2])]),
        (vec![append("b", 2)], &[list("a", &[1])]),
        &[list("a", &[1]), list("b", &[2])],
    );
    refused(story, "append", "G1c: ");
}

#[test]
fn canary_read_skew_g_single() {
    let story = pair(
        (vec![append("a", 1), append("b", 1)], &[]),
        (Vec::new(), &[list("a", &[1]), list("b", &[])]),
        &[list("a", &[1]), list("b", &[1])],
    );
    refused(story, "append", "G-single: ");
}

#[test]
fn canary_write_skew_g2() {
    let story = pair(
        (vec![append("a", 1)], &[list("b", &[])]),
        (vec![append("b", 2)], &[list("a", &[])]),
        &[list("a", &[1]), list("b", &[2])],
    );
    refused(story, "append", "G2: ");
}

#[test]
fn canary_the_workload_repeats_an_element() {
    let mut story = Story::new();
    txn(&mut story, 1, vec![append("a", 1)], &[]);
    txn(&mut story, 1, vec![append("a", 1)], &[]);
    refused(story, "append", "twice");
}
