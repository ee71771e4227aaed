//! Chance of a replica: named streams derived from the one seed of its configuration.
//!
//! Not a source of secrets, and not a clock.

/// Streams of numbers, one per purpose, so that one more draw here does not shift any other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    /// The stream of `purpose`.
    pub(crate) fn new(seed: u64, purpose: &str) -> Chance {
        let state = purpose.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Chance { state }
    }

    /// Where the stream is.
    pub(crate) fn position(&self) -> u64 {
        self.state
    }

    /// The next number of the stream (SplitMix64, Steele et al. 2014).
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }
}

/// Spreads close numbers far apart; the finaliser of SplitMix64.
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
