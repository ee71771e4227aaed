//! The only source of chance in a run, split into named streams. Not here: what is drawn from it;
//! and no clock, no operating system, no hash-map order ever adds to it.

use std::fmt;
use std::str::FromStr;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

/// Everything by chance in a run derives from this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed(u64);

impl Seed {
    /// The seed with this number.
    pub const fn new(number: u64) -> Seed {
        Seed(number)
    }

    /// A seed that nobody chose, short enough to be typed.
    ///
    /// # Panics
    /// When the operating system has no chance to give.
    pub fn fresh() -> Seed {
        let number = getrandom::u32().expect("the operating system gives random numbers");
        Seed(u64::from(number))
    }

    /// Its number, for what wants a plain one: a disk, a network, a node.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// A seed of its own for a purpose, so that drawing one more number for the network does not
    /// shift every crash that comes after it. Different seeds never meet for the same purpose.
    pub fn derive(self, purpose: &str) -> Seed {
        // FNV-1a over the purpose, between two finalizers of splitmix64: all map seeds one to one.
        // Without the first, seeds and purposes that differ in the same bits would meet.
        let start = mixed(self.0 ^ 0xcbf2_9ce4_8422_2325);
        let folded = purpose
            .bytes()
            .fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Seed(mixed(folded))
    }

    /// The numbers of a purpose.
    pub fn stream(self, purpose: &str) -> Chance {
        Chance::new(self.derive(purpose))
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A text that is no seed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a seed: a number from 0 to 18446744073709551615, or 0x and hexadecimal")]
pub struct NotASeed(pub String);

impl FromStr for Seed {
    type Err = NotASeed;

    fn from_str(text: &str) -> Result<Seed, NotASeed> {
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        // `+5` would parse, and nobody would find it again.
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        number.ok().filter(|_| is_plain).map(Seed).ok_or_else(|| NotASeed(text.to_owned()))
    }
}

/// A stream of chance. The same seed gives the same numbers on every machine: the generator is
/// ChaCha8, and how numbers are made of its output stands here.
#[derive(Debug)]
pub struct Chance(ChaCha8Rng);

impl Chance {
    /// The stream of `seed`.
    pub fn new(seed: Seed) -> Chance {
        let mut key = [0; 32];
        let mut state = seed.0;
        for part in key.chunks_exact_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            part.copy_from_slice(&mixed(state).to_le_bytes());
        }
        Chance(ChaCha8Rng::from_seed(key))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// When `bound` is 0: there is no such number.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a number below 0");
        // The high half of a product: uneven by less than bound / 2^64, which nobody can see.
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    ///
    /// # Panics
    /// When `low` is greater than `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "a number from {low} to {high}");
        match (high - low).checked_add(1) {
            Some(bound) => low + self.below(bound),
            None => self.number(),
        }
    }

    /// A number from `low` to `high` of which each order of magnitude is about as likely: for
    /// durations and rates, where half of all draws should not be in the upper half.
    ///
    /// # Panics
    /// When `low` is greater than `high`.
    pub fn scaled(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "a number from {low} to {high}");
        // A bit length first, then a number of that length, both as far as the ends allow.
        let bits = |number: u64| u64::BITS - number.leading_zeros();
        let length = self.between(u64::from(bits(low)), u64::from(bits(high)));
        let (first, last) = match length {
            0 => (0, 0),
            64 => (1 << 63, u64::MAX),
            length => (1 << (length - 1), (1 << length) - 1),
        };
        self.between(low.max(first), high.min(last))
    }

    /// Yes or no.
    pub fn coin(&mut self) -> bool {
        self.number() >> 63 == 1
    }

    /// Yes in so many of a thousand cases.
    pub fn permille(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        assert!(!choices.is_empty(), "a choice between nothing");
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// A place in `weights`, as often as its weight says.
    ///
    /// # Panics
    /// When all weights are 0 or there are none.
    pub fn weighted(&mut self, weights: &[u64]) -> usize {
        let total: u64 = weights.iter().sum();
        assert!(total > 0, "a choice between nothing");
        let mut left = self.below(total);
        for (place, weight) in weights.iter().enumerate() {
            if left < *weight {
                return place;
            }
            left -= weight;
        }
        unreachable!("{total} is the sum of the weights")
    }

    /// Puts `items` in any order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for place in (1..items.len()).rev() {
            items.swap(place, self.between(0, place as u64) as usize);
        }
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014).
fn mixed(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_seed_never_change() {
        // Recorded: a change here means that no seed that anybody wrote down repeats its run.
        assert_eq!(Seed::new(42).derive("network").number(), RECORDED_DERIVED);
        let mut chance = Seed::new(42).stream("network");
        assert_eq!([chance.number(), chance.number()], RECORDED_NUMBERS);
        assert_eq!(Seed::new(42).stream("network").bytes(4), RECORDED_BYTES);
    }

    const RECORDED_DERIVED: u64 = 16_260_042_317_992_169_108;
    const RECORDED_NUMBERS: [u64; 2] = [6_407_374_829_077_690_677, 16_622_577_288_786_644_783];
    const RECORDED_BYTES: [u8; 4] = [53, 121, 244, 149];

    #[test]
    fn purposes_and_seeds_have_streams_of_their_own() {
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..500 {
            for purpose in ["", "a", "b", "ab", "ba", "network", "crashes"] {
                assert!(seen.insert(Seed::new(number).derive(purpose)), "{number} {purpose}");
            }
        }
        let twice = Seed::new(1).derive("a").derive("b");
        assert_ne!(twice, Seed::new(1).derive("ab"));
    }

    #[test]
    fn seeds_are_read_as_they_are_printed() {
        for number in [0, 1, 42, u64::MAX] {
            let seed = Seed::new(number);
            assert_eq!(seed.to_string().parse(), Ok(seed));
            assert_eq!(format!("{number:#x}").parse(), Ok(seed));
        }
        for text in ["", "-1", "+1", " 1", "1 ", "x", "0x", "18446744073709551616", "1_0"] {
            let error = text.parse::<Seed>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("\"{text}\" is not a seed")), "{error}");
        }
    }

    #[test]
    fn draws_stay_inside_their_bounds_and_reach_them() {
        let mut chance = Seed::new(7).stream("bounds");
        let mut seen = [[0_u32; 6]; 2];
        for _ in 0..10_000 {
            assert!(chance.below(3) < 3);
            seen[0][(chance.between(10, 15) - 10) as usize] += 1;
            seen[1][chance.weighted(&[1, 0, 5, 0, 3, 1])] += 1;
            assert!((5..=100_000).contains(&chance.scaled(5, 100_000)));
            assert!((0..=1).contains(&chance.scaled(0, 1)));
            assert_eq!(chance.scaled(9, 9), 9);
            chance.scaled(0, u64::MAX);
        }
        assert!(seen[0].iter().all(|count| (1400..1950).contains(count)), "{seen:?}");
        assert_eq!((seen[1][1], seen[1][3]), (0, 0));
        assert!((4700..5300).contains(&seen[1][2]), "{seen:?}");
        let tenths = (0..10_000).filter(|_| chance.permille(100)).count();
        assert!((850..1150).contains(&tenths), "{tenths}");
        assert!(!chance.permille(0) && chance.permille(1000));
        let small = (0..1000).filter(|_| chance.scaled(1, 1 << 20) < 1 << 10).count();
        assert!((400..600).contains(&small), "each magnitude is as likely: {small}");
    }

    #[test]
    fn a_shuffle_keeps_everything_and_reaches_every_order() {
        let mut chance = Seed::new(7).stream("shuffle");
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..300 {
            let mut items = [1, 2, 3, 4];
            chance.shuffle(&mut items);
            orders.insert(items);
            items.sort_unstable();
            assert_eq!(items, [1, 2, 3, 4]);
        }
        assert_eq!(orders.len(), 24);
    }
}
