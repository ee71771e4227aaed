//! Tests of the disk without SQLite.

use super::*;
use crate::image::Change;
use crate::loss::Fate;
use crate::orders::Failure;

fn with_file(seed: u64) -> State {
    let mut state = State::new(seed, 1);
    state.create("f");
    state
}

fn write(state: &mut State, at: usize, bytes: &[u8]) {
    assert!(state.write("f", at, bytes));
}

fn contents(state: &State) -> Option<Vec<u8>> {
    state.image.files.get("f").map(|file| file.contents().to_vec())
}

#[test]
fn what_was_synced_survives_every_power_loss() {
    for seed in 0..200 {
        let mut state = with_file(seed);
        write(&mut state, 0, b"kept");
        state.sync("f");
        state.sync_directory();
        write(&mut state, 4, &[1; 2_000]);
        state.power_loss();
        assert_eq!(contents(&state).unwrap()[..4], *b"kept", "seed {seed}");
    }
}

#[test]
fn what_was_not_synced_is_sometimes_lost_kept_torn_and_reordered() {
    let (mut lost, mut kept, mut torn, mut reordered) = (0, 0, 0, 0);
    for seed in 0..400 {
        let mut state = with_file(seed);
        state.sync_directory();
        write(&mut state, 0, &[1; 1_024]);
        write(&mut state, 2_048, &[2; 1_024]);
        state.power_loss();
        let mut found = contents(&state).unwrap();
        found.resize(3_072, 0);
        let sectors: Vec<u8> = found.chunks(512).map(|sector| sector[0]).collect();
        let loss = state.counters.last_loss;
        assert_eq!(loss.lost + loss.kept + loss.torn, 2, "{loss:?}");
        match sectors[..] {
            [0, 0, 0, 0, 0, 0] => lost += 1,
            [1, 1, 0, 0, 2, 2] => kept += 1,
            [0, 0, 0, 0, 2, 2] => {
                reordered += 1;
                assert!(loss.reordered == 1 || loss.torn > 0, "{loss:?}");
            }
            [1, 1, 0, 0, 0, 0] => {}
            _ => {
                torn += 1;
                assert!(loss.torn > 0, "{loss:?}");
            }
        }
    }
    println!("{lost} lost, {kept} kept, {torn} torn, {reordered} reordered");
    assert!(lost > 20 && kept > 20 && torn > 20 && reordered > 20);
}

#[test]
fn failed_sync_loses_what_no_later_sync_brings_back() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..40 {
        let mut state = with_file(seed);
        write(&mut state, 0, b"lost");
        state.sync_failed("f");
        assert_eq!(contents(&state).unwrap(), b"lost", "a reader sees the page cache");
        state.sync("f");
        state.sync_directory();
        let mut other = State::new(seed, 1);
        other.restore(&state.image);
        state.power_loss();
        // Memory pressure shows what the next start would find.
        other.file("f").unwrap().drop_caches();
        assert_eq!(contents(&other), contents(&state));
        match &contents(&state).unwrap()[..] {
            b"" => lost += 1,
            b"lost" => kept += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(lost > 15 && kept > 5, "{lost} lost, {kept} kept");
}

#[test]
fn lying_syncs_are_made_good_by_the_first_honest_one() {
    let mut state = with_file(1);
    state.sync_directory();
    state.lying = true;
    write(&mut state, 0, b"said to be safe");
    state.sync("f");
    state.sync_directory();
    assert_eq!((state.counters.syncs, state.counters.lies), (3, 2));
    let lied = state.image.after_power_loss(&[Fate::Lost]);
    assert_eq!(lied.files(), [("f".to_owned(), 0)]);
    state.lying = false;
    state.sync("f");
    state.power_loss();
    assert_eq!(contents(&state).unwrap(), b"said to be safe");
}

#[test]
fn names_last_only_with_the_directory() {
    let (mut unsynced, mut undeleted) = (0, 0);
    for seed in 0..100 {
        let mut state = with_file(seed);
        state.sync("f");
        state.power_loss();
        assert_eq!(state.counters.last_loss.names_lost, u64::from(contents(&state).is_none()));
        unsynced += u32::from(contents(&state).is_some());
        let mut state = with_file(seed);
        state.sync_directory();
        assert!(state.delete("f"));
        state.power_loss();
        assert_eq!(state.counters.last_loss.names_revived, u64::from(contents(&state).is_some()));
        undeleted += u32::from(contents(&state).is_some());
        let mut state = with_file(seed);
        state.sync_directory();
        state.delete("f");
        state.sync_directory();
        state.power_loss();
        assert_eq!(contents(&state), None);
    }
    assert!((20..80).contains(&unsynced), "{unsynced} of 100");
    assert!((20..80).contains(&undeleted), "{undeleted} of 100");
}

#[test]
fn frozen_disk_stays_frozen_until_it_loses_power() {
    let mut state = with_file(1);
    state.orders.freeze = Some(1);
    assert_eq!(state.change(Call::Write), Verdict::Go);
    assert_eq!([Call::Sync, Call::Write].map(|call| state.change(call)), [Verdict::Frozen; 2]);
    state.power_loss();
    assert_eq!(state.change(Call::Write), Verdict::Go);
}

#[test]
fn writes_and_syncs_fail_by_their_own_count_once() {
    let mut state = with_file(1);
    state.orders.write = Some((1, Failure::Io));
    state.orders.sync = Some((1, Failure::Io));
    state.orders.misdirect = Some(2);
    let calls = [Call::Write, Call::Sync, Call::Create, Call::Write, Call::Sync, Call::Write];
    let (go, fail) = (Verdict::Go, Verdict::Fail(Failure::Io));
    let verdicts = calls.map(|call| state.change(call));
    assert_eq!(verdicts, [go, go, go, fail, fail, Verdict::Misdirected]);
    assert!(!state.orders.failure_ordered());
    assert_eq!(state.change(Call::Write), go);
    assert_eq!((state.calls, state.counters.failures, state.counters.misdirected), (7, 2, 1));
}

#[test]
fn misdirected_writes_never_go_where_they_should() {
    for seed in 0..50 {
        for (bytes, at) in [(0, 0), (512, 0), (600, 512), (4_096, 1_024), (100, 8_192)] {
            let mut state = with_file(seed);
            write(&mut state, 0, &vec![0; bytes]);
            let place = state.elsewhere("f", at);
            assert!(place.is_multiple_of(512) && place != at, "seed {seed}: {at} to {place}");
            assert!(place <= bytes.max(512), "seed {seed}: {at} to {place} of {bytes}");
        }
    }
}

#[test]
fn bytes_are_found_by_part_of_a_name_and_per_mille() {
    let mut state = with_file(1);
    for (name, bytes) in [("/n/state-0.db", 100), ("/n/state-0.db-wal", 300), ("/n/raft.db", 7)] {
        state.create(name);
        assert!(state.write(name, 0, &vec![0; bytes]));
    }
    assert_eq!(
        state.byte_at(|name| name.contains("state-"), 0),
        Some(("/n/state-0.db".to_owned(), 0))
    );
    assert_eq!(
        state.byte_at(|name| name.contains("state-"), 250),
        Some(("/n/state-0.db-wal".to_owned(), 0))
    );
    assert_eq!(
        state.byte_at(|name| name.contains("state-"), 5_000),
        Some(("/n/state-0.db-wal".to_owned(), 299))
    );
    assert_eq!(state.byte_at(|name| name.contains("nowhere"), 500), None);
}

#[test]
fn image_goes_through_the_power_loss_it_is_told() {
    let mut state = with_file(1);
    state.sync_directory();
    write(&mut state, 0, &[1; 1_024]);
    state.file("f").unwrap().truncate(600);
    state.create("new");
    let image = state.image.clone();
    let changes: Vec<Change> = image.unsynced().iter().map(|unsynced| unsynced.what).collect();
    let wrote = Change::Write { at: 0, bytes: 1_024 };
    assert_eq!(changes, [wrote, Change::Truncate { bytes: 600 }, Change::Create]);
    let sectors: Vec<usize> = changes.iter().map(|change| change.sectors()).collect();
    assert_eq!(sectors, [2, 1, 1]);
    let after = |fates: [Fate; 3]| image.after_power_loss(&fates);
    let (f, new) = ("f".to_owned(), "new".to_owned());
    assert_eq!(after([Fate::Lost; 3]).files(), [(f.clone(), 0)]);
    assert_eq!(after([Fate::Kept; 3]).files(), [(f.clone(), 600), (new, 0)]);
    assert_eq!(after([Fate::Kept; 3]), image.settled());
    let torn = after([Fate::Torn(2), Fate::Lost, Fate::Lost]);
    assert_eq!(torn.files["f"].contents(), [[0; 512], [1; 512]].concat());
    // What was kept is durable: nothing is left that another power loss could take.
    assert_eq!(torn.unsynced(), []);
    state.sync_directory();
    state.delete("f");
    let deleted = state.image.clone();
    let lost = deleted.after_power_loss(&[Fate::Kept, Fate::Kept, Fate::Lost]);
    assert_eq!(lost.files.len(), 2, "the deletion was lost");
    state.restore(&image);
    assert_eq!(state.image, image);
}
