//! The state of all links: which are cut, how noisy and how slow they are. One for the whole
//! network; connections ask it for every frame.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pgraft_watch as watch;

use crate::seed::{Chance, Seed};

/// Shares of frames to which something happens, per mille.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Noise {
    /// Lost.
    pub(super) lose: u64,
    /// Sent twice.
    pub(super) duplicate: u64,
    /// Held back behind later ones.
    pub(super) reorder: u64,
    /// A bit flips.
    pub(super) corrupt: u64,
}

/// What happens to one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives, this much later than the network takes anyway, milliseconds.
    Arrives { late_ms: u64 },
    /// It never arrives.
    Lost,
    /// It arrives twice.
    Twice,
    /// It waits for the one after it.
    HeldBack,
    /// One bit, counted from its beginning, is wrong.
    Damaged { bit: u64 },
}

/// The weather of a run.
pub(super) struct Weather {
    inner: Mutex<Inner>,
    /// Changes with every cut and every healing.
    changes: watch::Sender<u64>,
}

struct Inner {
    /// Directed links over which nothing goes; once per cut that covers them.
    cuts: Vec<(u64, BTreeSet<(u64, u64)>)>,
    noise: Noise,
    delay_ms_max: u64,
    slow: Vec<(u64, u64, u64)>,
    chance: Chance,
}

impl Weather {
    /// Fine weather.
    pub(super) fn new(seed: Seed) -> Weather {
        let inner = Inner {
            cuts: Vec::new(),
            noise: Noise::default(),
            delay_ms_max: 0,
            slow: Vec::new(),
            chance: seed.stream("weather"),
        };
        Weather { inner: Mutex::new(inner), changes: watch::channel(0).0 }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts directed links; `number` names the cut.
    pub(super) fn cut(&self, number: u64, links: impl IntoIterator<Item = (u64, u64)>) {
        self.inner().cuts.push((number, links.into_iter().collect()));
        self.changes.send_modify(|change| *change += 1);
    }

    /// Ends a cut.
    pub(super) fn heal(&self, number: u64) {
        self.inner().cuts.retain(|(cut, _)| *cut != number);
        self.changes.send_modify(|change| *change += 1);
    }

    /// Whether nothing goes from one node to the other.
    pub(super) fn is_cut(&self, from: u64, to: u64) -> bool {
        self.inner().cuts.iter().any(|(_, links)| links.contains(&(from, to)))
    }

    /// Told at every cut and healing.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Sets the noise of all links.
    pub(super) fn set_noise(&self, noise: Noise) {
        self.inner().noise = noise;
    }

    /// Frames take up to this much longer on all links, milliseconds.
    pub(super) fn set_delay(&self, ms_max: u64) {
        self.inner().delay_ms_max = ms_max;
    }

    /// Frames take this much longer on one link; 0 ends it.
    pub(super) fn set_slow(&self, from: u64, to: u64, ms: u64) {
        let mut inner = self.inner();
        inner.slow.retain(|(slow_from, slow_to, _)| (*slow_from, *slow_to) != (from, to));
        if ms > 0 {
            inner.slow.push((from, to, ms));
        }
    }

    /// What happens to the next frame of `bytes` bytes on a link.
    pub(super) fn fate(&self, from: u64, to: u64, bytes: usize) -> Fate {
        let mut inner = self.inner();
        let Noise { lose, duplicate, reorder, corrupt } = inner.noise;
        if lose + duplicate + reorder + corrupt > 0 {
            let draw = inner.chance.below(1000);
            if draw < lose {
                return Fate::Lost;
            } else if draw < lose + duplicate {
                return Fate::Twice;
            } else if draw < lose + duplicate + reorder {
                return Fate::HeldBack;
            } else if draw < lose + duplicate + reorder + corrupt {
                let bit = inner.chance.below(bytes as u64 * 8);
                return Fate::Damaged { bit };
            }
        }
        let slow = inner.slow.iter().find(|(a, b, _)| (*a, *b) == (from, to));
        let mut late_ms = slow.map_or(0, |(_, _, ms)| *ms);
        if inner.delay_ms_max > 0 {
            let max = inner.delay_ms_max;
            late_ms += inner.chance.below(max + 1);
        }
        Fate::Arrives { late_ms }
    }
}
