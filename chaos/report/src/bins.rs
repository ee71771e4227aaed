//! Throughput and latency of all operations over time, in bins of equal width.

use pgraft_judge::history::Call;

use crate::story::{Outcome, Story};

/// Bins of one run, at most.
const BINS_MAX: u64 = 100;

/// What happened in bins of `width_us` microseconds from the start of the run.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Bins {
    /// Microseconds.
    pub(crate) width_us: u64,
    /// Operations that returned: ok, rejected, fail, unknown.
    pub(crate) counts: Vec<[u64; 4]>,
    /// Median and 99th percentile of the latency of answered commands and linearizable queries by
    /// invocation, microseconds; `None` where none was answered. Reads that may be stale ask
    /// nobody; among the others they would only blur the picture.
    pub(crate) latency_us: Vec<Option<(u64, u64)>>,
}

impl Bins {
    /// Counts all operations.
    pub(crate) fn of(story: &Story) -> Bins {
        let width_us = width(story.end_us);
        let place = |at_us: u64| usize::try_from(at_us / width_us).expect("at most BINS_MAX");
        let bins = place(story.end_us) + 1;
        let mut counts = vec![[0; 4]; bins];
        let mut latencies = vec![Vec::new(); bins];
        for one in &story.operations {
            counts[place(one.to_us)][one.outcome as usize] += 1;
            if one.outcome <= Outcome::Rejected && one.invoke.call != Call::StaleQuery {
                latencies[place(one.from_us)].push(one.to_us - one.from_us);
            }
        }
        let latency_us = latencies.into_iter().map(percentiles).collect();
        Bins { width_us, counts, latency_us }
    }
}

/// A round width: 1, 2 or 5 times a power of ten.
fn width(end_us: u64) -> u64 {
    let mut ten = 1_000;
    loop {
        for digit in [1, 2, 5] {
            if end_us / (ten * digit) < BINS_MAX {
                return ten * digit;
            }
        }
        ten *= 10;
    }
}

fn percentiles(mut latencies: Vec<u64>) -> Option<(u64, u64)> {
    latencies.sort_unstable();
    let last = latencies.len().checked_sub(1)?;
    Some((latencies[last / 2], latencies[last * 99 / 100]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_round_and_bins_are_few() {
        assert_eq!(width(0), 1_000);
        assert_eq!(width(99_999), 1_000);
        assert_eq!(width(100_000), 2_000);
        assert_eq!(width(6_000_000), 100_000);
        assert!(u64::MAX / 2 / width(u64::MAX / 2) < BINS_MAX);
    }

    #[test]
    fn percentiles_of_few_and_of_many() {
        assert_eq!(percentiles(vec![]), None);
        assert_eq!(percentiles(vec![7]), Some((7, 7)));
        assert_eq!(percentiles((1..=1_001).rev().collect()), Some((501, 991)));
    }
}
