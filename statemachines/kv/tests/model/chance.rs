//! Random commands and reads from a seed.

use pgraft_kv::{
    Command, Compare, CompareResult, CompareTarget, DeleteRange, Op, Put, RangeRequest, SortOrder,
    SortTarget, Txn,
};

use crate::naive::Naive;

const KEYS: [&[u8]; 10] =
    [b"a", b"aa", b"ab", b"b", b"b\0", b"c", b"c\xff", b"d", b"\xff", b"\xff\xff"];

/// The only source of chance in a run.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn key(&mut self) -> Vec<u8> {
        KEYS[self.below(KEYS.len() as u64) as usize].to_vec()
    }

    /// A key, and often the end of a range, sometimes an empty one.
    fn span(&mut self) -> (Vec<u8>, Vec<u8>) {
        let key = self.key();
        match self.below(4) {
            0 | 1 => (key, Vec::new()),
            2 => (key, self.key()),
            _ => (key, vec![0]),
        }
    }

    fn lease(&mut self) -> i64 {
        if self.one_in(3) { 1 + self.below(4) as i64 } else { 0 }
    }

    fn put(&mut self, key: Vec<u8>) -> Put {
        let (ignore_value, ignore_lease) = (self.one_in(8), self.one_in(8));
        Put {
            key,
            value: if ignore_value { Vec::new() } else { vec![b'0' + self.below(10) as u8] },
            lease: if ignore_lease { 0 } else { self.lease() },
            prev_kv: self.one_in(2),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> DeleteRange {
        let (key, range_end) = self.span();
        DeleteRange { key, range_end, prev_kv: self.one_in(2) }
    }

    pub(crate) fn range(&mut self, revision: i64) -> RangeRequest {
        let (key, range_end) = self.span();
        let mut some =
            |end: i64| if self.one_in(5) { self.below(end as u64 + 1) as i64 } else { 0 };
        RangeRequest {
            key,
            range_end,
            limit: some(4),
            revision: some(revision + 1),
            min_mod_revision: some(revision),
            max_mod_revision: some(revision),
            min_create_revision: some(revision),
            max_create_revision: some(revision),
            sort_order: [SortOrder::None, SortOrder::Ascend, SortOrder::Descend]
                [self.below(3) as usize],
            sort_target: [
                SortTarget::Key,
                SortTarget::Version,
                SortTarget::Create,
                SortTarget::Mod,
                SortTarget::Value,
            ][self.below(5) as usize],
            keys_only: self.one_in(5),
            count_only: self.one_in(8),
        }
    }

    fn compare(&mut self, naive: &Naive) -> Compare {
        let (key, range_end) = self.span();
        let stored = naive.get(&key).unwrap_or_default();
        let near = self.below(2) as i64;
        let target = match self.below(5) {
            0 => CompareTarget::Version(stored.version + near),
            1 => CompareTarget::Create(stored.create_revision + near),
            2 => CompareTarget::Mod(stored.mod_revision + near),
            3 => CompareTarget::Value(stored.value),
            _ => CompareTarget::Lease(stored.lease + near),
        };
        let result = [
            CompareResult::Equal,
            CompareResult::Greater,
            CompareResult::Less,
            CompareResult::NotEqual,
        ][self.below(4) as usize];
        Compare { key, range_end, result, target }
    }

    /// A transaction that puts only keys of `free`, so that it puts none twice, and deletes only
    /// when it puts nothing: what is refused for that has golden scripts.
    fn txn(&mut self, naive: &Naive, free: &mut Vec<Vec<u8>>, depth: u64) -> Txn {
        let deletes = self.one_in(4) && depth == 0;
        let mut branch = |chance: &mut Chance| {
            let mut ops = Vec::new();
            for _ in 0..chance.below(4) {
                ops.push(match chance.below(4) {
                    0 => Op::Range(chance.range(naive.revision)),
                    1 if depth < 3 && !deletes => Op::Txn(chance.txn(naive, free, depth + 1)),
                    _ if deletes => Op::DeleteRange(chance.delete()),
                    _ => match free.pop() {
                        Some(key) => Op::Put(chance.put(key)),
                        None => Op::Range(chance.range(naive.revision)),
                    },
                });
            }
            ops
        };
        let (success, failure) = (branch(self), branch(self));
        let compare = (0..self.below(3)).map(|_| self.compare(naive)).collect();
        Txn { compare, success, failure }
    }

    pub(crate) fn command(&mut self, naive: &Naive) -> Command {
        match self.below(20) {
            0..=7 => {
                let key = self.key();
                Command::Put(self.put(key))
            }
            8..=10 => Command::DeleteRange(self.delete()),
            11..=14 => {
                let mut free: Vec<Vec<u8>> = KEYS.iter().map(|key| key.to_vec()).collect();
                free.rotate_left(self.below(10) as usize);
                Command::Txn(self.txn(naive, &mut free, 0))
            }
            15 if self.one_in(5) => {
                let near = naive.revision - 20 + self.below(25) as i64;
                Command::Compact { revision: near }
            }
            15 | 16 => {
                Command::LeaseGrant { id: 1 + self.below(4) as i64, ttl: self.below(6) as i64 }
            }
            17 => Command::LeaseRevoke { id: 1 + self.below(4) as i64 },
            _ => Command::LeaseKeepAlive { id: 1 + self.below(4) as i64 },
        }
    }
}
