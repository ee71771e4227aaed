//! What a page is opened on, and which operations of a long history are kept in it: those next to
//! the failure. What is counted (throughput, percentiles) counts all operations all the same.

use std::collections::BTreeSet;

use crate::{
    html::{grouped, seconds},
    lanes::{self, LANES_MAX},
    story::{Operation, Outcome, Story},
};

/// Operations in one page; more make it slow to open and are too many to read.
pub(crate) const KEPT_MAX: usize = 20_000;
/// Offending operations that distances are measured to.
const POINTS_MAX: usize = 64;
/// Spans that the note about what was left out names.
const SPANS_NAMED: usize = 3;

/// What to look at. Times in microseconds since the start of the run.
pub(crate) struct Focus {
    /// The operations that prove a failure, as far as the history has them.
    pub(crate) offending: BTreeSet<u64>,
    /// What is shown at first.
    pub(crate) window_us: (u64, u64),
    /// Places of the kept operations in the story, in order.
    pub(crate) kept: Vec<usize>,
    /// In these spans every operation of the drawn lanes is kept.
    pub(crate) whole_us: Vec<(u64, u64)>,
    /// Nothing was left out for its time.
    is_whole: bool,
    /// Lane of each kept operation.
    pub(crate) lane: Vec<usize>,
    /// Lanes that would be needed to draw all clients.
    pub(crate) lanes_all: usize,
}

impl Focus {
    /// Chooses what to show.
    pub(crate) fn of(story: &Story, offending: &[u64]) -> Focus {
        let wanted: BTreeSet<u64> = offending.iter().copied().collect();
        let proof: Vec<&Operation> =
            story.operations.iter().filter(|one| wanted.contains(&one.invoke.op)).collect();
        let offending: BTreeSet<u64> = proof.iter().map(|one| one.invoke.op).collect();
        let mut points: Vec<(u64, u64)> =
            proof.iter().map(|one| (one.from_us, one.to_us)).collect();
        if points.is_empty() {
            points.extend(story.violations.first().map(|(at_us, _)| (*at_us, *at_us)));
        }
        let found = !points.is_empty();
        points.truncate(POINTS_MAX);
        if points.is_empty() {
            points.push((0, 0));
        }
        let (numbers, lanes_all) = numbered(story, &offending);
        let (kept, reach_us) = nearest(story, &offending, &points, &numbers);
        let whole_us = match reach_us {
            Some(reach_us) => around(story, &points, reach_us),
            None => vec![(0, story.end_us)],
        };
        let window_us = if found { widened(story, &points) } else { whole_us[0] };
        let lane = kept.iter().map(|place| numbers[*place]).collect();
        let is_whole = reach_us.is_none();
        Focus { offending, window_us, kept, whole_us, is_whole, lane, lanes_all }
    }

    /// A sentence about what the page has not, if anything.
    pub(crate) fn left_out(&self, story: &Story) -> Option<String> {
        let (kept, all) = (self.kept.len(), story.operations.len());
        if kept == all {
            return None;
        }
        let of =
            format!("{} of {} operations are drawn", grouped(kept as u64), grouped(all as u64));
        let lanes = match self.lanes_all.saturating_sub(LANES_MAX) {
            0 => String::new(),
            more => format!(" Clients of {more} more lanes are not drawn."),
        };
        if self.is_whole {
            return Some(format!("{of}.{lanes} Throughput and percentiles count all operations."));
        }
        let beside = if self.offending.is_empty() { "the opening" } else { "the failure" };
        let spans = self.whole_us.iter().take(SPANS_NAMED);
        let spans: Vec<String> =
            spans.map(|(from, to)| format!("{} to {}", seconds(*from), seconds(*to))).collect();
        Some(format!(
            "{of}: those nearest to {beside}, all from {}.{lanes} \
             Throughput and percentiles count all operations.",
            spans.join(", "),
        ))
    }
}

/// The lane of each operation, those of offending operations first, and how many there are.
fn numbered(story: &Story, offending: &BTreeSet<u64>) -> (Vec<usize>, usize) {
    let of_client = lanes::assigned(&story.operations);
    let plain: Vec<usize> =
        story.operations.iter().map(|one| of_client[&one.invoke.client]).collect();
    let all = plain.iter().max().map_or(0, |last| last + 1);
    if all <= LANES_MAX {
        return (plain, all);
    }
    let is_bad = |place: usize| offending.contains(&story.operations[place].invoke.op);
    let bad: BTreeSet<usize> =
        plain.iter().enumerate().filter(|(at, _)| is_bad(*at)).map(|(_, lane)| *lane).collect();
    let mut order: Vec<usize> = (0..all).collect();
    order.sort_by_key(|lane| !bad.contains(lane));
    let mut rank = vec![0; all];
    for (place, lane) in order.into_iter().enumerate() {
        rank[lane] = place;
    }
    (plain.into_iter().map(|lane| rank[lane]).collect(), all)
}

/// Places of the kept operations, and how far from the points all are kept (`None`: everywhere).
fn nearest(
    story: &Story,
    offending: &BTreeSet<u64>,
    points: &[(u64, u64)],
    lanes: &[usize],
) -> (Vec<usize>, Option<u64>) {
    let drawn = (0..story.operations.len()).filter(|place| lanes[*place] < LANES_MAX);
    let far = |one: &Operation| {
        let gaps = points
            .iter()
            .map(|(from, to)| from.saturating_sub(one.to_us).max(one.from_us.saturating_sub(*to)));
        gaps.min().unwrap_or(0)
    };
    let mut order: Vec<(bool, u64, usize)> = drawn
        .map(|place| {
            let one = &story.operations[place];
            (!offending.contains(&one.invoke.op), far(one), place)
        })
        .collect();
    order.sort_unstable();
    let reach_us = order.get(KEPT_MAX).map(|(_, far_us, _)| *far_us);
    order.truncate(KEPT_MAX);
    let mut kept: Vec<usize> = order.into_iter().map(|(_, _, place)| place).collect();
    kept.sort_unstable();
    (kept, reach_us)
}

/// From the first to the last of the points.
fn hull(points: &[(u64, u64)]) -> (u64, u64) {
    let from = points.iter().map(|(from, _)| *from).min().unwrap_or(0);
    (from, points.iter().map(|(_, to)| *to).max().unwrap_or(0))
}

/// The spans in which all operations are kept, given how far from the points they are.
fn around(story: &Story, points: &[(u64, u64)], reach_us: u64) -> Vec<(u64, u64)> {
    let mut sorted = points.to_vec();
    sorted.sort_unstable();
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for (from, to) in sorted {
        let from = from.saturating_sub(reach_us);
        let to = to.saturating_add(reach_us).min(story.end_us);
        match spans.last_mut().filter(|last| from <= last.1) {
            Some(last) => last.1 = last.1.max(to),
            None => spans.push((from, to)),
        }
    }
    spans
}

/// The failing window: the points, and enough before and after to see how it came to this.
fn widened(story: &Story, points: &[(u64, u64)]) -> (u64, u64) {
    let (from, to) = hull(points);
    let answered = story.operations.iter().filter(|one| one.outcome <= Outcome::Rejected);
    let mut latencies: Vec<u64> = answered.map(|one| one.to_us - one.from_us).collect();
    latencies.sort_unstable();
    let usual = latencies.get(latencies.len() / 2).copied().unwrap_or(1_000).max(100);
    let margin = ((to - from) / 2).max(usual.saturating_mul(10));
    (from.saturating_sub(margin), to.saturating_add(margin).min(story.end_us.max(to)))
}
