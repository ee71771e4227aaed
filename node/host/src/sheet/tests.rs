//! A sheet and state.db, side by side: what one says, the other says.

use pgraft_store::{Disk, ReadTables, StateStore};
use tempfile::TempDir;

use super::Sheet;
use crate::tables::WriteTables;
use crate::tests::{Plant, with};

const MACHINE: u32 = 7;
const STEPS: u64 = 4_000;

/// The seed of a run; `PGRAFT_SEED` repeats one.
fn seed() -> u64 {
    let given = std::env::var("PGRAFT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(0x5eed_0010);
    println!("PGRAFT_SEED={seed}");
    seed
}

fn bytes(number: u64, length_max: u64) -> Vec<u8> {
    (0..number % (length_max + 1)).map(|at| (number >> (8 * (at % 3)) & 3) as u8).collect()
}

/// Drives both with the same calls; the first difference.
fn compare(seed: u64) -> Result<(), String> {
    let folder = TempDir::new().unwrap();
    let disk = Disk { dir: folder.path().to_owned(), vfs: None };
    let mut store = StateStore::open(&disk, 1).unwrap();
    store.begin().unwrap();
    let mut sheet = Sheet::default();
    let (mut chance, mut depth) = (crate::tests::Chance(seed), 0);
    for step in 0..STEPS {
        let (key, end) = (bytes(chance.next(), 3), bytes(chance.next(), 3));
        let told = match chance.below(10) {
            0..=2 => {
                let value = bytes(chance.next(), 40);
                let put = |tables: &mut dyn WriteTables| tables.put(MACHINE, &key, &value);
                both(&mut store, &mut sheet, put)
            }
            3 => both(&mut store, &mut sheet, |tables| tables.delete(MACHINE, &key)),
            4 => both(&mut store, &mut sheet, |tables| tables.delete_range(MACHINE, &key, &end)),
            5 if depth < 8 => {
                depth += 1;
                both(&mut store, &mut sheet, |tables| tables.savepoint())
            }
            6 if depth > 0 => {
                depth -= 1;
                both(&mut store, &mut sheet, |tables| tables.rollback_to())
            }
            7 if depth > 0 => {
                depth -= 1;
                both(&mut store, &mut sheet, |tables| tables.release())
            }
            _ => {
                let (limit, bytes_max) = (chance.below(6) as u32, chance.below(200) as u32);
                let (reverse, keys) = (chance.below(2) == 0, chance.below(2) == 0);
                let ask = |tables: &dyn ReadTables| {
                    let page =
                        tables.scan(MACHINE, &key, &end, limit, bytes_max, reverse, keys).unwrap();
                    let count = tables.count(MACHINE, &key, &end, limit).unwrap();
                    let size = tables.size_of(MACHINE, &key).unwrap();
                    format!("{page:?} {count} {size:?} {:?}", tables.get(MACHINE, &key).unwrap())
                };
                (ask(&store), ask(&sheet))
            }
        };
        let kept = (store.digest(MACHINE), store.size(MACHINE));
        let ours = (sheet.totals().digest, sheet.totals().bytes);
        if told.0 != told.1 || kept != ours {
            return Err(format!("step {step}: {told:?}, {kept:?} {ours:?}"));
        }
    }
    Ok(())
}

fn both<T: std::fmt::Debug>(
    store: &mut StateStore,
    sheet: &mut Sheet,
    call: impl Fn(&mut dyn WriteTables) -> Result<T, pgraft_store::Fault>,
) -> (String, String) {
    (format!("{:?}", call(store).unwrap()), format!("{:?}", call(sheet).unwrap()))
}

#[test]
fn a_sheet_says_what_state_db_says() {
    let seed = seed();
    for round in 0..5 {
        compare(seed + round).unwrap();
    }
}

#[test]
fn canary_a_forgotten_rollback_is_noticed() {
    let told = with(Some(Plant::SheetKeepsWhatIsUndone), || compare(seed()));
    assert!(told.is_err(), "the comparison is blind");
}
