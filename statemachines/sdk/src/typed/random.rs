//! Random numbers from the seed of a log entry: equal on every replica, not secret.

use crate::Context;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The numbers of this entry. All commands of one entry have the same seed: mix in what tells
    /// them apart, such as the place of a row.
    pub fn new(ctx: &Context, mixed_in: u64) -> Random {
        Random { state: ctx.seed ^ mixed_in.wrapping_mul(0xd1b5_4a32_d192_ed03) }
    }

    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number less than `end`; all are equally likely but for a bias of `end` / 2^64.
    ///
    /// # Panics
    /// When `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "no number is less than 0");
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }
}
