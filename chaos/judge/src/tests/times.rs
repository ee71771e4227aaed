//! Canaries of the check of leases: by the time of the log, which stories set.

use super::canaries::{passes, refused};
use super::story::Story;
use crate::history::Fact;

/// A lease of ten seconds, and a key with it. Ends at 11 s and a bit.
fn leased() -> Story {
    let mut story = Story::new();
    let op = story.ask(1, "grant 7");
    story.commit(&[op]);
    story.ok_with(op, &[Fact::LeaseGranted { lease: 7, ttl_ms: 10_000 }]);
    story.done(1, "put x 1 7");
    story
}

fn until(story: &mut Story, time_ms: u64) {
    story.time_ms = time_ms;
    story.done(9, "put other 1");
}

fn gone(mut story: Story) -> Story {
    let read = story.ask(2, "get x");
    let index = story.index;
    story.lie(read, None, index);
    story
}

fn there(mut story: Story) -> Story {
    story.done(2, "get x");
    story
}

fn keep(story: &mut Story, ttl_ms: u64) {
    let op = story.ask_with(1, "keep 7", vec![Fact::LeaseKeep { lease: 7 }]);
    story.commit(&[op]);
    story.ok_with(op, &[Fact::LeaseKept { lease: 7, ttl_ms }]);
}

#[test]
fn keys_live_as_long_as_their_lease() {
    passes(there(leased()), "leases");
    let mut late = leased();
    until(&mut late, 12_000);
    passes(gone(late), "leases");
}

#[test]
fn canary_gone_too_early() {
    let mut early = leased();
    until(&mut early, 10_900);
    refused(gone(early), "leases", "before the lease ends");
}

#[test]
fn canary_served_after_its_end() {
    let mut late = leased();
    // Without leaps of the log's time, in which nobody could have ended it.
    for second in 12..=30 {
        until(&mut late, second * 1_000);
    }
    refused(there(late), "leases", "after the lease must have ended");
}

#[test]
fn a_keep_alive_gives_the_full_time_again() {
    let mut story = leased();
    until(&mut story, 10_000);
    keep(&mut story, 10_000);
    until(&mut story, 19_000);
    passes(there(story), "leases");
}

#[test]
fn canary_gone_in_spite_of_a_keep_alive() {
    let mut story = leased();
    until(&mut story, 10_000);
    keep(&mut story, 10_000);
    until(&mut story, 19_000);
    refused(gone(story), "leases", "before the lease ends");
}

#[test]
fn canary_there_after_a_keep_alive_that_came_too_late() {
    let mut story = leased();
    keep(&mut story, 0);
    refused(there(story), "leases", "was ended");
}

#[test]
fn a_revoked_lease_takes_its_keys_along() {
    let mut story = leased();
    let op = story.ask_with(1, "revoke 7", vec![Fact::LeaseRevoke { lease: 7 }]);
    story.commit(&[op]);
    story.ok(op);
    passes(gone(story), "leases");
}

#[test]
fn a_change_of_leader_gives_the_full_time_once_more() {
    let mut story = leased();
    until(&mut story, 10_000);
    story.term = 2;
    story.done(9, "put other 2");
    until(&mut story, 18_000);
    passes(there(story), "leases");
}

#[test]
fn canary_a_lease_revived_by_a_keep_alive() {
    let mut story = leased();
    until(&mut story, 12_000);
    keep(&mut story, 10_000);
    refused(there(story), "leases", "revived");
}
