//! Keeps the drawing in docs/ARCHITECTURE.md true: one put on three nodes leaves the trace ① to ⑦
//! on the leader, in the order of the drawing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "processes/cluster.rs"]
#[expect(dead_code, reason = "written for the tests of processes, which use all of it")]
mod cluster;

use cluster::{Cluster, wait_until};

/// The numbered steps of the drawing and their names, in its order.
fn drawing() -> Vec<(char, String)> {
    let page = include_str!("../../docs/ARCHITECTURE.md");
    let steps = page.lines().filter_map(|line| {
        let at = line.find(|c: char| ('①'..='⑦').contains(&c))?;
        let mut rest = line[at..].chars();
        let number = rest.next()?;
        Some((number, rest.as_str().split_whitespace().next()?.to_owned()))
    });
    steps.take(7).collect()
}

#[test]
fn a_put_goes_the_way_of_the_drawing() {
    let drawn = drawing();
    let names: Vec<&str> = drawn.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["gateway", "replica", "log", "transport", "committed", "apply", "reply"]);

    let cluster = Cluster::start_with(3, &["--log-level", "trace"]);
    let leader = &cluster.nodes[cluster.leader()];
    // The first put also opens a session; the second is the one that is looked at, when nothing
    // else is on its way any more.
    leader.put("first", "1").unwrap();
    wait_until("all members announced", || {
        cluster.nodes.iter().all(|node| node.log().contains("announced"))
    });
    cluster.converge();
    let before = leader.log().len();
    leader.put("second", "2").unwrap();
    let mut trace: Vec<char> = Vec::new();
    wait_until("the whole trace", || {
        trace = leader.log()[before..]
            .lines()
            .filter(|line| line.contains("way of a write"))
            .filter_map(|line| line.chars().find(|c| ('①'..='⑦').contains(c)))
            .collect();
        trace.contains(&'⑦')
    });
    let at = |step: char| {
        trace.iter().position(|seen| *seen == step).unwrap_or_else(|| panic!("{step}: {trace:?}"))
    };
    for (before, after) in [('①', '②'), ('②', '③'), ('②', '④'), ('③', '⑤'), ('⑤', '⑥'), ('⑥', '⑦')]
    {
        assert!(at(before) < at(after), "{before} is not before {after}: {trace:?}");
    }
}
