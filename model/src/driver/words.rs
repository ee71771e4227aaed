//! Values as numbers, and their 128-bit fingerprints.
//!
//! Not a hash for strangers: nobody here tries to make two values collide.

use std::hash::{BuildHasherDefault, Hasher};

/// A 128-bit fingerprint: of a billion values, two are equal by chance once in 10^20 runs.
pub(super) type Key = u128;

/// Gathers numbers into a fingerprint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    low: u64,
    high: u64,
    /// A field that is left out: a planted bug.
    forget: Option<&'static str>,
    /// What comes belongs to that field.
    leaves_out: bool,
}

impl Words {
    /// Nothing yet, of the kind `kind`.
    pub(super) fn new(kind: u64) -> Words {
        let (low, high) = (mix(kind ^ 0x9e37_79b9_7f4a_7c15), mix(!kind));
        Words { low, high, forget: None, leaves_out: false }
    }

    /// The same without the field `forget`.
    pub(super) fn forgetting(self, forget: Option<&'static str>) -> Words {
        Words { forget, ..self }
    }

    /// What comes now, until the next call, is the field `name`.
    pub(super) fn field(&mut self, name: &'static str) {
        self.leaves_out = self.forget.is_some_and(|forgotten| forgotten == name);
    }

    pub(super) fn add(&mut self, number: u64) {
        if self.leaves_out {
            return;
        }
        self.low = (self.low ^ number).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29);
        self.high = (self.high ^ number.rotate_left(32)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        self.high ^= self.high >> 31;
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.add(bytes.len() as u64);
        bytes.iter().for_each(|byte| self.add(u64::from(*byte)));
    }

    pub(super) fn key(self) -> Key {
        u128::from(mix(self.low)) << 64 | u128::from(mix(self.high ^ self.low))
    }
}

/// The finaliser of SplitMix64 (Steele et al. 2014).
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A hasher for keys that are numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }

    fn write_u128(&mut self, number: u128) {
        self.write_u64(u64::try_from(number >> 64).expect("the upper half"));
        self.write_u64(u64::try_from(number & u128::from(u64::MAX)).expect("the lower half"));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A map that is only asked for keys, never walked.
pub(super) type Lookup<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Mixer>>;
