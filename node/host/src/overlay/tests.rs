//! Scratch tables against a map.

use std::collections::BTreeMap;

use pgraft_store::{Disk, ReadTables, StateReader, StateStore};
use tempfile::TempDir;

use super::Overlay;
use crate::rows;
use crate::tables::WriteTables;

const MACHINE: u32 = 3;

/// A small generator: any will do, as long as a seed gives the same.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn key(&mut self) -> Vec<u8> {
        let length = 1 + self.below(3);
        (0..length).map(|_| u8::try_from(self.below(4)).unwrap()).collect()
    }

    fn end(&mut self) -> Vec<u8> {
        if self.below(4) == 0 { Vec::new() } else { self.key() }
    }
}

fn range(map: &BTreeMap<Vec<u8>, Vec<u8>>, start: &[u8], end: &[u8]) -> Vec<rows::Row> {
    let rows =
        map.iter().filter(|(key, _)| key[..] >= *start && (end.is_empty() || key[..] < *end));
    rows.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[test]
fn scratch_tables_do_what_a_map_does() {
    let seed = std::env::var("OVERLAY_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("OVERLAY_SEED={seed}");
    let mut chance = Chance(seed);
    let folder = TempDir::new().unwrap();
    let disk = Disk { dir: folder.path().to_owned(), vfs: None };
    let mut store = StateStore::open(&disk, 1).unwrap();
    let mut map = BTreeMap::new();
    store.begin().unwrap();
    for _ in 0..30 {
        let (key, value) = (chance.key(), chance.key());
        store.put(MACHINE, &key, &value).unwrap();
        store.put(MACHINE + 1, &key, b"not ours").unwrap();
        map.insert(key, value);
    }
    store.commit().unwrap();
    let mut reader = StateReader::open(&disk, 1).unwrap();
    reader.begin().unwrap();
    let mut overlay = Overlay::new(reader);
    let mut saved = Vec::new();
    for _ in 0..3_000 {
        let (key, value, end) = (chance.key(), chance.key(), chance.end());
        match chance.below(9) {
            0 | 1 => {
                overlay.put(MACHINE, &key, &value).unwrap();
                map.insert(key, value);
            }
            2 => {
                assert_eq!(overlay.delete(MACHINE, &key).unwrap(), map.remove(&key).is_some());
            }
            3 if chance.below(6) == 0 => {
                let gone = range(&map, &key, &end);
                assert_eq!(overlay.delete_range(MACHINE, &key, &end).unwrap(), gone.len() as u64);
                gone.iter().for_each(|(key, _)| drop(map.remove(key)));
            }
            4 if saved.len() < 4 => {
                overlay.savepoint().unwrap();
                saved.push(map.clone());
            }
            5 => {
                if let Some(before) = saved.pop() {
                    if chance.below(2) == 0 {
                        overlay.rollback_to().unwrap();
                        map = before;
                    } else {
                        overlay.release().unwrap();
                    }
                }
            }
            6 => assert_eq!(overlay.get(MACHINE, &key).unwrap(), map.get(&key).cloned()),
            _ => {
                let (limit, reverse) = (1 + chance.below(9), chance.below(2) == 0);
                let mut wanted = range(&map, &key, &end);
                if reverse {
                    wanted.reverse();
                }
                let limit = u32::try_from(limit).unwrap();
                let page =
                    overlay.scan(MACHINE, &key, &end, limit, 1 << 20, reverse, false).unwrap();
                assert_eq!(page.more, wanted.len() > limit as usize);
                wanted.truncate(limit as usize);
                assert_eq!(rows::of_page(&page).unwrap(), wanted);
                let counted = overlay.count(MACHINE, &key, &end, limit).unwrap();
                assert_eq!(counted as usize, wanted.len());
            }
        }
    }
    let mut below = overlay.into_below();
    below.end().unwrap();
}
