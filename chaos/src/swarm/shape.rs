//! The shapes of partitions as lists of cut pairs. The places come shuffled; what a shape does with
//! their order is its business. Not here: for how long.

use crate::plan::Fault;
use crate::seed::Chance;

/// Two sides that do not hear each other; each has somebody.
pub(super) fn partition(places: &[u64], chance: &mut Chance) -> Fault {
    let (left, right) = sides(places, chance);
    let pairs = across(left, right).chain(across(right, left));
    cut("partition", pairs.collect())
}

/// One side is not heard by the other, but hears it.
pub(super) fn one_way(places: &[u64], chance: &mut Chance) -> Fault {
    let (left, right) = sides(places, chance);
    cut("one-way", across(left, right).collect())
}

/// Each hears its two neighbours in a circle; every majority is different.
pub(super) fn ring(places: &[u64]) -> Fault {
    let count = places.len();
    let mut pairs = Vec::new();
    for (place, from) in places.iter().enumerate() {
        for (other, to) in places.iter().enumerate() {
            let distance = place.abs_diff(other).min(count - place.abs_diff(other));
            if distance > 1 {
                pairs.push((*from, *to));
            }
        }
    }
    cut("ring", pairs)
}

/// Two sides, and one in the middle that hears both.
pub(super) fn bridge(places: &[u64]) -> Fault {
    let (_, others) = places.split_first().expect("a cluster has nodes");
    let (left, right) = others.split_at(others.len() / 2);
    cut("bridge", across(left, right).chain(across(right, left)).collect())
}

fn sides<'a>(places: &'a [u64], chance: &mut Chance) -> (&'a [u64], &'a [u64]) {
    assert!(places.len() > 1, "one node has no sides");
    places.split_at(chance.between(1, places.len() as u64 - 1) as usize)
}

fn across<'a>(from: &'a [u64], to: &'a [u64]) -> impl Iterator<Item = (u64, u64)> + 'a {
    from.iter().flat_map(|from| to.iter().map(|to| (*from, *to)))
}

fn cut(shape: &str, mut pairs: Vec<(u64, u64)>) -> Fault {
    pairs.sort_unstable();
    Fault::Cut { shape: shape.to_owned(), pairs }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn shapes_cut_what_their_names_say() {
        let mut chance = Seed::new(1).stream("shapes");
        assert_eq!(ring(&[1, 2, 3, 4]).to_string(), "ring 1-3 2-4");
        assert_eq!(ring(&[1, 2, 3, 4, 5]).to_string(), "ring 1-3 1-4 2-4 2-5 3-5");
        assert_eq!(bridge(&[3, 1, 2, 4, 5]).to_string(), "bridge 1 2 | 4 5");
        assert_eq!(bridge(&[2, 1, 3]).to_string(), "bridge 1 | 3");
        assert_eq!(one_way(&[1, 2], &mut chance).to_string(), "one-way 1>2");
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            seen.insert(partition(&[1, 2, 3], &mut chance).to_string());
        }
        let sides: Vec<&str> = seen.iter().map(String::as_str).collect();
        assert_eq!(sides, ["partition 1 2 | 3", "partition 1 | 2 3"]);
    }
}
