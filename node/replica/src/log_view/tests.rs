//! The log view against a plain list of entries.

use bytes::Bytes;

use super::*;
use crate::EntryKind;
use crate::chance::Chance;

fn entry(index: u64, term: u64, bytes: usize) -> Entry {
    let data = Bytes::from(vec![0; bytes]);
    Entry { index: Index(index), term: Term(term), kind: EntryKind::Normal, data }
}

fn empty() -> LogView {
    LogView::new((Index(0), Term(0)), Vec::new(), Vec::new(), Index(0))
}

#[test]
fn random_appends_and_truncations_agree_with_a_list() {
    for seed in 0..200 {
        let mut chance = Chance::new(seed, "log view");
        let mut view = empty();
        let mut list: Vec<Entry> = Vec::new();
        let mut truncated = (Index(0), Term(0));
        let mut term = 1;
        for _ in 0..100 {
            term += u64::from(chance.next().is_multiple_of(4));
            let last = list.last().map_or(truncated.0.0, |entry| entry.index.0);
            match chance.next() % 4 {
                0 if last > truncated.0.0 => {
                    let up_to = truncated.0.0 + 1 + chance.next() % (last - truncated.0.0);
                    let found = list.iter().find(|e| e.index.0 == up_to).expect("it is there");
                    truncated = (found.index, found.term);
                    list.retain(|entry| entry.index.0 > up_to);
                    view.truncate(Index(up_to));
                }
                1 if last > truncated.0.0 => {
                    let from = truncated.0.0 + 1 + chance.next() % (last - truncated.0.0);
                    list.retain(|entry| entry.index.0 < from);
                    list.push(entry(from, term, 10));
                    view.append(&[entry(from, term, 10)]);
                }
                _ => {
                    let more: Vec<Entry> = (1..=3).map(|n| entry(last + n, term, 100)).collect();
                    list.extend(more.clone());
                    view.append(&more);
                }
            }
            assert_same(&view, &list, truncated, seed);
        }
    }
}

fn assert_same(view: &LogView, list: &[Entry], truncated: (Index, Term), seed: u64) {
    let last = list.last().map_or(truncated.0, |entry| entry.index);
    assert_eq!((view.last(), view.truncated()), (last, truncated), "seed {seed}");
    assert_eq!(view.term(truncated.0), Some(truncated.1), "seed {seed}");
    assert_eq!(view.term(last.next()), None, "seed {seed}");
    for entry in list {
        assert_eq!(view.term(entry.index), Some(entry.term), "seed {seed} at {}", entry.index);
    }
    if let Some(first) = list.first() {
        let all = view.entries(first.index, last.next(), u64::MAX);
        assert_eq!(all.as_deref(), Ok(list), "seed {seed}");
        // As a restart would find it, with any part of it as tail.
        let tail = list[list.len() / 2..].to_vec();
        let again = LogView::new(truncated, view.terms().collect(), tail, last);
        let same: Vec<_> = again.terms().collect();
        assert_eq!(same, view.terms().collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn entries_fit_the_limit_but_are_never_none() {
    let mut view = empty();
    view.append(&[entry(1, 1, 10), entry(2, 1, 10), entry(3, 1, 10)]);
    let count = |bytes| view.entries(Index(1), Index(4), bytes).map(|found| found.len());
    assert_eq!((count(0), count(10), count(20), count(29)), (Ok(1), Ok(1), Ok(2), Ok(2)));
    assert_eq!(view.entries(Index(2), Index(3), 100).map(|found| found.len()), Ok(1));
}

#[test]
fn evicted_entries_are_read_from_blocks() {
    let mut view = empty();
    let large: Vec<Entry> = (1..=12).map(|index| entry(index, 1, 1 << 20)).collect();
    view.append(&large);
    view.evict(Index(2));
    assert_eq!(view.entries(Index(3), Index(4), 1).map(|found| found.len()), Ok(1));
    assert_eq!(view.entries(Index(2), Index(4), 1), Err(Missing::OnDisk));
    view.evict(Index(12));
    assert_eq!(view.entries(Index(4), Index(5), 1), Err(Missing::OnDisk), "8 MiB are kept");
    assert_eq!(view.fetch(Index(2), 7), Fetch { low: Index(2), high: Index(5), bytes_max: 7 });
    view.add_block(large[1..4].to_vec());
    assert_eq!(view.entries(Index(3), Index(13), u64::MAX).as_deref(), Ok(&large[2..4]));
    view.truncate(Index(3));
    assert_eq!(view.entries(Index(3), Index(4), 1), Err(Missing::Truncated));
}

#[test]
#[should_panic(expected = "another term")]
fn block_of_another_log_is_refused() {
    let mut view = empty();
    view.append(&[entry(1, 1, 1), entry(2, 2, 1)]);
    view.add_block(vec![entry(1, 2, 1)]);
}

#[test]
fn bytes_are_counted_to_the_precision_of_a_sample() {
    let mut view = empty();
    let entries: Vec<Entry> = (1..=100).map(|index| entry(index, 1, 64 << 10)).collect();
    view.append(&entries);
    assert_eq!(view.bytes_after(Index(0)), 100 * (64 << 10));
    assert_eq!(view.bytes_after(Index(60)), 40 * (64 << 10));
    assert_eq!(view.index_with_bytes_up_to(Index(100), 10 * (64 << 10)), Index(90));
    assert_eq!(view.index_with_bytes_up_to(Index(50), 10 * (64 << 10)), Index(40));
    assert_eq!(view.index_with_bytes_up_to(Index(5), 10 * (64 << 10)), Index::ZERO);
    view.truncate(Index(20));
    assert_eq!(view.bytes_after(Index(20)), 80 * (64 << 10));
}
