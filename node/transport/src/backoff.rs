//! Pauses between attempts to connect: doubling, with jitter from a seed.

use std::time::Duration;

use pgraft_replica::NodeId;

use crate::chance::Chance;

/// The pauses of one peer.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    attempt: u32,
    chance: Chance,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration, seed: u64, peer: NodeId) -> Backoff {
        Backoff { min, max, attempt: 0, chance: Chance::new(seed ^ peer.get().rotate_left(32)) }
    }

    /// Half to all of `min · 2^attempt`, at most `max`: nodes that lost each other at the same
    /// moment do not dial in step.
    pub(crate) fn next(&mut self) -> Duration {
        let full = self.min.saturating_mul(1 << self.attempt.min(16)).min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        let half = full / 2;
        let range = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).saturating_add(1);
        half + Duration::from_micros(self.chance.below(range))
    }

    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_maximum_and_repeat_with_the_seed() {
        let (min, max) = (Duration::from_millis(20), Duration::from_millis(500));
        let peer = NodeId::new(2).unwrap();
        let pauses = |seed| {
            let mut backoff = Backoff::new(min, max, seed, peer);
            (0..12).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        for (attempt, pause) in pauses(7).into_iter().enumerate() {
            let full = min.saturating_mul(1 << attempt.min(10)).min(max);
            assert!(pause >= full / 2 && pause <= full, "attempt {attempt}: {pause:?}");
        }
        assert_eq!(pauses(7), pauses(7));
        assert_ne!(pauses(7), pauses(8));
    }
}
