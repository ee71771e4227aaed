//! A disk that does not say that anything is wrong: misdirected writes and flipped bits.

use pgraft_replica::{ConfState, Index, Term};
use pgraft_sim_disk::SimDisk;
use pgraft_store::{Meta, OpenError, StateStore};

use crate::log;

/// What became of a damaged log.
#[derive(Debug, Default)]
struct Outcomes {
    refused: u32,
    /// The end is missing and nothing says so: a WAL whose frame is wrong ends before it.
    cut: u32,
    unharmed: u32,
}

impl Outcomes {
    /// An entry that is not the one written is a panic in `recover`.
    fn count(&mut self, told: u64, outcome: Result<u64, OpenError>) {
        match outcome {
            Ok(found) if found == told => self.unharmed += 1,
            Ok(found) => {
                assert!(found < told);
                self.cut += 1;
            }
            Err(OpenError::DamagedLog { .. }) => self.refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Lets each write of the appends go elsewhere, and each write of the next start, which moves the
/// WAL into the database.
#[test]
fn misdirected_write_never_makes_a_wrong_entry() {
    let (mut appends, mut starts) = (Outcomes::default(), Outcomes::default());
    for (at, seed) in (0..60).flat_map(|at| (0..4).map(move |seed| (at, seed))) {
        let sim = SimDisk::new(seed);
        let mut store = log::create(&sim);
        sim.misdirect_in(at);
        let told = (1..=6).take_while(|index| log::append(&mut store, *index).is_ok()).count();
        drop(store);
        sim.process_crash();
        let outcomes = if sim.failure_ordered() { &mut starts } else { &mut appends };
        outcomes.count(told as u64, log::recover(&sim));
        if sim.failure_ordered() {
            continue;
        }
        assert_eq!(sim.counters().misdirected, 1);
        // Whatever a start made of it lasts.
        sim.power_loss();
        let first = log::recover(&sim).ok();
        assert_eq!(first, log::recover(&sim).ok());
    }
    println!("in appends: {appends:?}; in the next start: {starts:?}");
    assert!(appends.cut > 0 && starts.refused > 0);
}

/// Of a log at rest, all of it in raft.db, every flip is refused or hits nothing that is in use.
#[test]
fn flipped_bit_in_a_log_at_rest_is_refused_or_harmless() {
    let rest = {
        let sim = SimDisk::new(1);
        drop(log::appended(&sim, 30));
        sim.process_crash();
        // A start moves the WAL into the database.
        assert_eq!(log::recover(&sim).unwrap(), 30);
        sim.image().settled()
    };
    let mut outcomes = Outcomes::default();
    for permille in 0..250 {
        let sim = SimDisk::new(1);
        sim.restore(&rest);
        let (name, byte) =
            sim.flip_at(|name| name.contains("raft.db"), permille * 4, permille as u8).unwrap();
        assert_eq!(name, "/node/raft.db");
        assert_eq!(sim.counters().flips, 1);
        let outcome = log::recover(&sim);
        assert!(!matches!(outcome, Ok(found) if found < 30), "byte {byte}: {outcome:?}");
        outcomes.count(30, outcome);
    }
    println!("{outcomes:?}");
    assert!(outcomes.refused > 50, "{outcomes:?}");
}

#[test]
fn flipped_bit_in_a_state_is_found_at_open_or_by_its_digest() {
    let rest = {
        let sim = SimDisk::new(1);
        let mut state = StateStore::open(&log::on(&sim), 0).unwrap();
        state.begin().unwrap();
        (0..100_u8).for_each(|key| state.put(1, &[key], &[key; 100]).unwrap());
        let conf = ConfState::default();
        state.set_meta(Meta { applied: Index(1), term: Term(1), time_ms: 1, conf });
        state.commit().unwrap();
        drop(state);
        sim.process_crash();
        drop(StateStore::open(&log::on(&sim), 0).unwrap());
        sim.image().settled()
    };
    let (mut opens, mut digest, mut harmless) = (0, 0, 0);
    for permille in 0..250 {
        let sim = SimDisk::new(1);
        sim.restore(&rest);
        sim.flip_at(|name| name.contains("state-"), permille * 4, permille as u8).unwrap();
        match StateStore::open(&log::on(&sim), 0) {
            Err(_) => opens += 1,
            Ok(state) if state.verify_digests().is_err() => digest += 1,
            Ok(state) => {
                harmless += 1;
                for key in 0..100_u8 {
                    assert_eq!(state.get(1, &[key]).unwrap(), Some(vec![key; 100]));
                }
            }
        }
    }
    println!("{opens} found at open, {digest} by the digest, {harmless} harmless");
    assert!(opens > 0 && digest > 20);
}
