//! Values the tests are made of: entries, tasks, chance from a seed.

use bytes::Bytes;
use pgraft_replica::{ConfState, Entry, EntryKind, HardState, Index, NodeId, Persist, Term};
use pgraft_store::{Identity, Meta};

pub(crate) fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

pub(crate) fn identity() -> Identity {
    Identity { cluster: u64::MAX - 3, genesis_hash: [7; 32], node: node(2), incarnation: 1 << 100 }
}

pub(crate) fn entry(index: u64, term: u64, data: &[u8]) -> Entry {
    let kind = if index.is_multiple_of(5) { EntryKind::ConfChange } else { EntryKind::Normal };
    Entry { index: Index(index), term: Term(term), kind, data: Bytes::copy_from_slice(data) }
}

pub(crate) fn entries(range: std::ops::RangeInclusive<u64>, term: u64) -> Vec<Entry> {
    range.map(|index| entry(index, term, format!("entry {index} of {term}").as_bytes())).collect()
}

pub(crate) fn task(entries: Vec<Entry>, hard_state: Option<HardState>) -> Persist {
    Persist { number: 1, hard_state, entries, snapshot: None }
}

pub(crate) fn hard(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term: Term(term), vote: NodeId::new(vote), commit: Index(commit) }
}

pub(crate) fn conf(voters: &[u64]) -> ConfState {
    ConfState { voters: voters.iter().map(|id| node(*id)).collect(), ..ConfState::default() }
}

pub(crate) fn meta(applied: u64, term: u64) -> Meta {
    Meta {
        applied: Index(applied),
        term: Term(term),
        time_ms: applied * 10,
        conf: conf(&[1, 2, u64::MAX]),
    }
}

/// splitmix64 (Steele, Lea, Flood 2014): all chance of a test, from the seed it prints.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn from_seed(seed: u64) -> Chance {
        println!("seed {seed}");
        Chance(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
