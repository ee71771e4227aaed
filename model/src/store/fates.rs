//! Which of the un-synced writes survive a power loss: all subsets while they are few, and the
//! telling ones when they are many.
//!
//! A crash before call k with everything before it kept is the same disk as a crash before a later
//! call with the rest lost. So it is enough to cut before each sync, which ends the choice, and
//! at the end.

use std::collections::{BTreeMap, BTreeSet};

use pgraft_sim_disk::{Fate, Image};

/// Of writes up to this number, all subsets.
const ALL_SUBSETS_MAX: usize = 6;
/// Of the writes of one file up to this number, all subsets, with the other files all kept or lost.
const FILE_SUBSETS_MAX: usize = 5;
/// Which sectors of a torn write arrive: the first half of a page, the second, every other one.
const TORN: [u64; 3] = [0x00ff, 0xff00, 0x5555];

/// The fates a power loss may deal out to what is un-synced in `image`, each once; or `few` of
/// them: what arrives is a beginning, and one write may be torn.
pub(super) fn of(image: &Image, few: bool) -> Vec<Vec<Fate>> {
    let unsynced = image.unsynced();
    let count = unsynced.len();
    let mut found: BTreeSet<Vec<u64>> = BTreeSet::new();
    if few {
        found.extend(beginnings(count));
    } else if count <= ALL_SUBSETS_MAX {
        found.extend(subsets(count));
    } else {
        let mut files: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, one) in unsynced.iter().enumerate() {
            files.entry(&one.name).or_default().push(place);
        }
        for places in files.values() {
            let chosen = if places.len() <= FILE_SUBSETS_MAX {
                subsets(places.len())
            } else {
                telling(places.len())
            };
            for (others, choice) in
                [LOST, KEPT].iter().flat_map(|o| chosen.iter().map(move |c| (o, c)))
            {
                let mut fates = vec![*others; count];
                for (place, fate) in places.iter().zip(choice) {
                    fates[*place] = *fate;
                }
                found.insert(fates);
            }
        }
    }
    let (masks, laters) =
        if few { (&TORN[..1], &[LOST][..]) } else { (&TORN[..], &[LOST, KEPT][..]) };
    for (place, one) in unsynced.iter().enumerate().filter(|(_, one)| one.what.sectors() > 1) {
        // Within its file this one is torn, what came before is kept, and what came after is not,
        // or all of it.
        for (later, mask) in laters.iter().flat_map(|l| masks.iter().map(move |m| (l, m))) {
            let mut fates = vec![KEPT; count];
            for (other, _) in unsynced.iter().enumerate().filter(|(_, o)| o.name == one.name) {
                fates[other] = if other < place { KEPT } else { *later };
            }
            fates[place] = *mask;
            found.insert(fates);
        }
    }
    found.into_iter().map(|fates| fates.into_iter().map(fate).collect()).collect()
}

/// In place of `Fate`, which has no order: the mask of sectors.
const LOST: u64 = 0;
const KEPT: u64 = u64::MAX;

fn fate(mask: u64) -> Fate {
    match mask {
        LOST => Fate::Lost,
        KEPT => Fate::Kept,
        mask => Fate::Torn(mask),
    }
}

fn subsets(count: usize) -> Vec<Vec<u64>> {
    (0..1_u32 << count)
        .map(|set| {
            (0..count).map(|place| if set >> place & 1 == 1 { KEPT } else { LOST }).collect()
        })
        .collect()
}

fn beginnings(count: usize) -> Vec<Vec<u64>> {
    let kept = |end| (0..count).map(|place| if place < end { KEPT } else { LOST }).collect();
    (0..=count).map(kept).collect()
}

/// Every beginning, every one alone, and all but every one.
fn telling(count: usize) -> Vec<Vec<u64>> {
    let by = |keep: &dyn Fn(usize) -> bool| {
        (0..count).map(|place| if keep(place) { KEPT } else { LOST }).collect()
    };
    let mut found = Vec::new();
    for chosen in 0..=count {
        found.push(by(&|place| place < chosen));
        found.push(by(&|place| place == chosen));
        found.push(by(&|place| place != chosen));
    }
    found
}
