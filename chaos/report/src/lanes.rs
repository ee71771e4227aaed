//! Which client is drawn in which lane. A client whose operation nobody knows the end of goes on
//! under a new number; that one is drawn in the same lane, so that lanes are as many as there are
//! clients at work at once, and not one per lost answer.

use std::collections::BTreeMap;

use crate::story::{Operation, Outcome};

/// Lanes that are drawn; more would be thinner than a line of text on any screen.
pub(crate) const LANES_MAX: usize = 48;

struct Lane {
    client: u64,
    /// Until when it is taken.
    to_us: u64,
    /// Its client was given up: its last operation ended unknown.
    free: bool,
}

/// The lane of each client, from 0, by the least client of each. `operations` in the order of their
/// invocation.
pub(crate) fn assigned(operations: &[Operation]) -> BTreeMap<u64, usize> {
    let mut lanes: Vec<Lane> = Vec::new();
    let mut of_client: BTreeMap<u64, usize> = BTreeMap::new();
    for operation in operations {
        let client = operation.invoke.client;
        let number = *of_client.entry(client).or_insert_with(|| {
            let free = |lane: &Lane| lane.free && lane.to_us <= operation.from_us;
            let taken = lanes.iter().position(free).unwrap_or(lanes.len());
            if taken == lanes.len() {
                lanes.push(Lane { client, to_us: 0, free: false });
            }
            lanes[taken].client = client;
            taken
        });
        let lane = &mut lanes[number];
        if lane.client == client {
            lane.to_us = operation.to_us;
            lane.free = operation.outcome == Outcome::Unknown;
        }
    }
    let mut rank = BTreeMap::new();
    for lane in of_client.values() {
        let next = rank.len();
        rank.entry(*lane).or_insert(next);
    }
    of_client.into_iter().map(|(client, lane)| (client, rank[&lane])).collect()
}
