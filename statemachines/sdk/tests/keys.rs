//! Typed keys sort as their values do, and tables walk as an ordered map does.
//! `PGRAFT_SEED` repeats a run.

use std::collections::BTreeMap;
use std::fmt::Debug;

use pgraft_sdk::native::{Host, Sandbox};
use pgraft_sdk::typed::{Caller, Context, Error, Item, Key, KeyOf, Machine, Random, Table};

fn random() -> Random {
    let given = std::env::var("PGRAFT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(0x5eed_0004);
    println!("PGRAFT_SEED={seed}");
    Random::new(&Context { index: 0, term: 0, time_ms: 0, seed }, 0)
}

fn bytes_of<K: Key>(key: &K) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.write_key(&mut bytes);
    bytes
}

fn sorts<K: Key + Ord + Debug>(mut keys: Vec<K>) {
    keys.sort();
    keys.dedup();
    let encoded: Vec<Vec<u8>> = keys.iter().map(bytes_of).collect();
    for (pair, keys) in encoded.windows(2).zip(keys.windows(2)) {
        assert!(pair[0] < pair[1], "{keys:?} are {pair:02x?}");
        assert!(!pair[1].starts_with(&pair[0]), "{keys:?}: one begins the other");
    }
    for (key, bytes) in keys.iter().zip(&encoded) {
        let mut rest = &bytes[..];
        assert_eq!((K::read_key(&mut rest).as_ref(), rest), (Some(key), &[][..]));
        for cut in 0..bytes.len() {
            assert!(K::read_key(&mut &bytes[..cut]).is_none(), "{key:?} cut to {cut} bytes");
        }
    }
}

/// Short strings of few letters, so that many begin others; 0, 1 and 255 are the odd ones.
fn word(random: &mut Random) -> Vec<u8> {
    let length = random.below(5);
    (0..length).map(|_| [0, 1, b'a', 255][random.below(4) as usize]).collect()
}

#[test]
fn keys_sort_as_their_values() {
    let mut random = random();
    let numbers = |random: &mut Random| -> Vec<u64> {
        (0..500).map(|_| random.next_u64() >> random.below(64)).collect()
    };
    sorts(numbers(&mut random));
    sorts(numbers(&mut random).into_iter().map(|number| number as i64).collect());
    sorts([i64::MIN, -1, 0, 1, i64::MAX].to_vec());
    sorts([i8::MIN, -1, 0, 1, i8::MAX].to_vec());
    sorts((0..500).map(|_| word(&mut random)).collect());
    sorts((0..500).map(|_| String::from_utf8_lossy(&word(&mut random)).into_owned()).collect());
    sorts((0..500).map(|_| (word(&mut random), random.below(3) as i32 - 1)).collect());
    sorts((0..500).map(|_| (random.below(3), word(&mut random), word(&mut random))).collect());
    let some = |random: &mut Random| (random.below(2) == 0).then(|| word(random));
    sorts((0..500).map(|_| (some(&mut random), random.below(2) == 0)).collect());
    sorts((0..500).map(|_| [random.below(3) as u8, random.below(3) as u8]).collect());
}

/// Canary: an encoding whose order is not that of the values is noticed.
#[test]
#[should_panic(expected = "are [[")]
fn canary_lengths_first_do_not_sort() {
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Bad(Vec<u8>);
    impl KeyOf<Bad> for Bad {
        fn write_key(&self, bytes: &mut Vec<u8>) {
            bytes.push(self.0.len() as u8);
            bytes.extend_from_slice(&self.0);
        }
    }
    impl Key for Bad {
        fn read_key(_bytes: &mut &[u8]) -> Option<Bad> {
            None
        }
    }
    sorts(vec![Bad(vec![1, 1]), Bad(vec![2])]);
}

type Name = (String, i64);
const ROWS: Table<Name, u64> = Table::new(2);
const BEFORE: Item<String> = Item::new(1);
const AFTER: Table<u8, ()> = Table::new(255);

/// Runs against an ordered map in memory, in one command.
struct Walker;

impl Machine for Walker {
    const NAME: &'static str = "walker";
    type Config = ();
    type Command = u64;
    type Reply = ();
    type Query = ();
    type Answer = ();
    type Error = Error;

    fn apply(_ctx: &Context, _from: &Caller, rounds: u64) -> Result<(), Error> {
        let mut random = random();
        let mut map: BTreeMap<Name, u64> = BTreeMap::new();
        BEFORE.put(&"other rows stay out of it".to_owned());
        AFTER.put(7, &());
        for round in 0..rounds {
            let key = name(&mut random);
            match random.below(4) {
                0 => assert_eq!(ROWS.delete(&key), map.remove(&key).is_some()),
                1 => assert_eq!(ROWS.take(&key), map.remove(&key)),
                _ => {
                    ROWS.put(&key, &round);
                    map.insert(key.clone(), round);
                }
            }
            assert_eq!(
                (ROWS.get(&key), ROWS.has(&key)),
                (map.get(&key).copied(), map.contains_key(&key))
            );
            if round % 16 == 0 {
                walk(&map, name(&mut random), name(&mut random));
            }
        }
        assert!(map.len() > 100, "too few rows to fill a page: {}", map.len());
        assert_eq!(ROWS.delete_range(..) as usize, map.len());
        assert_eq!((ROWS.first(), AFTER.keys(..).collect()), (None, vec![7]));
        assert!(BEFORE.delete() && BEFORE.get().is_none());
        Ok(())
    }

    fn query(_ctx: &Context, (): ()) -> Result<(), Error> {
        Ok(())
    }
}

fn name(random: &mut Random) -> Name {
    (["", "a", "a\0", "b"][random.below(4) as usize].to_owned(), random.below(100) as i64 - 50)
}

fn walk(map: &BTreeMap<Name, u64>, a: Name, b: Name) {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    let all: Vec<(Name, u64)> = map.iter().map(|(key, value)| (key.clone(), *value)).collect();
    assert_eq!(ROWS.iter().collect::<Vec<_>>(), all);
    assert_eq!((ROWS.first().as_ref(), ROWS.last().as_ref()), (all.first(), all.last()));
    let mut back = all;
    back.reverse();
    assert_eq!(ROWS.iter().rev().collect::<Vec<_>>(), back);
    let keys: Vec<Name> =
        map.range(low.clone()..=high.clone()).map(|(key, _)| key.clone()).collect();
    assert_eq!(ROWS.keys(low.clone()..=high.clone()).collect::<Vec<_>>(), keys);
    assert_eq!(ROWS.count(low.clone()..=high.clone(), u32::MAX) as usize, keys.len());
    let half_open = map.range(low.clone()..high.clone()).rev().map(|(key, _)| key.clone());
    assert_eq!(
        ROWS.keys(low.clone()..high).rev().collect::<Vec<_>>(),
        half_open.collect::<Vec<_>>()
    );
    let of_low = map.range((low.0.clone(), i64::MIN)..=(low.0.clone(), i64::MAX));
    let of_low: Vec<u64> = of_low.map(|(_, value)| *value).collect();
    let first = low.0.as_str();
    assert_eq!(ROWS.within(first).map(|(_, value)| value).collect::<Vec<_>>(), of_low);
    assert_eq!(ROWS.get((first, low.1)), map.get(&low).copied());
}

#[test]
fn tables_walk_as_ordered_maps_do() {
    Sandbox::<Walker>::new(()).unwrap().apply(2_000).unwrap();
}

#[test]
#[should_panic(expected = "a value under number 2 is of another type")]
fn a_row_of_another_type_ends_the_call() {
    struct Liar;
    impl pgraft_sdk::Machine for Liar {
        const NAME: &'static str = "liar";
        fn apply(_: &Context, _: &pgraft_sdk::Command) -> pgraft_sdk::Result<Vec<u8>> {
            const AS_TEXT: Table<Name, String> = Table::new(2);
            AS_TEXT.put(("a", 1), &"xyz".to_owned());
            ROWS.get(("a", 1));
            Ok(Vec::new())
        }
    }
    let _ = Host::<Liar>::new().apply(0, b"");
}
