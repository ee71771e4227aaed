//! Keys as registers: put, get, compare-and-set, delete. Values are unique, so that each read names
//! the write it saw.
//!
//! Keys live for mixed times. Most are short: few clients, some dozens of operations, so that a
//! search for an order stays small however long the run is. One is hot and lives as long as the
//! run; it is decided by log indexes first (VERIFICATION.md 1.6). Not here: several keys at once.

use std::collections::{BTreeMap, BTreeSet};

use pgraft_judge::history::Fact;
use pgraft_kv::{Command, CompareTarget, DeleteRange, Put, Txn};

use super::{End, Name, Operation, Told, Workload, kv};
use crate::seed::Chance;

/// Clients of a short key; one that goes on under a new number counts again.
const CLIENTS_PER_KEY_MAX: usize = 5;
/// Operations of a short key.
const OPERATIONS_PER_KEY: (u64, u64) = (50, 200);
/// The key that lives as long as the run.
const HOT: &str = "r/hot";

/// Registers.
pub struct Register {
    name: Name,
    /// Operations of a thousand that go to the hot key.
    hot_permille: u64,
    /// Short keys that still have operations left.
    open: BTreeMap<u64, Short>,
    keys: u64,
    values: u64,
    /// What each key last was seen to hold; `None`: absent.
    seen: BTreeMap<String, Option<String>>,
}

struct Short {
    clients: BTreeSet<u64>,
    left: u64,
}

impl Default for Register {
    fn default() -> Register {
        Register::new()
    }
}

impl Register {
    /// Mostly short keys.
    pub fn new() -> Register {
        Register::with(Name::Register, 100)
    }

    /// Mostly the hot one.
    pub fn hot() -> Register {
        Register::with(Name::HotKey, 900)
    }

    fn with(name: Name, hot_permille: u64) -> Register {
        let (open, seen) = (BTreeMap::new(), BTreeMap::new());
        Register { name, hot_permille, open, keys: 0, values: 0, seen }
    }

    fn key(&mut self, client: u64, chance: &mut Chance) -> String {
        if chance.permille(self.hot_permille) {
            return HOT.to_owned();
        }
        let mine = |(_, short): &(&u64, &Short)| short.clients.contains(&client);
        let room = |(_, short): &(&u64, &Short)| short.clients.len() < CLIENTS_PER_KEY_MAX;
        let found = self.open.iter().find(mine).or_else(|| self.open.iter().find(room));
        let number = match found {
            Some((number, _)) => *number,
            None => {
                self.keys += 1;
                let left = chance.between(OPERATIONS_PER_KEY.0, OPERATIONS_PER_KEY.1);
                self.open.insert(self.keys, Short { clients: BTreeSet::new(), left });
                self.keys
            }
        };
        let short = self.open.get_mut(&number).expect("found or just inserted");
        short.clients.insert(client);
        short.left -= 1;
        if short.left == 0 {
            self.open.remove(&number);
        }
        format!("r/{number}")
    }

    fn value(&mut self) -> String {
        self.values += 1;
        self.values.to_string()
    }

    /// Compares with what was last seen, so that about half of them hold.
    fn compare_and_set(&mut self, key: &str) -> Command {
        let target = match self.seen.get(key) {
            Some(Some(value)) => CompareTarget::Value(value.as_bytes().to_vec()),
            Some(None) | None => CompareTarget::Version(0),
        };
        Command::Txn(Txn {
            compare: vec![kv::compare(key, target)],
            success: vec![kv::put_op(key, &self.value())],
            failure: vec![kv::get_op(key)],
        })
    }
}

impl Workload for Register {
    fn next(&mut self, client: u64, chance: &mut Chance) -> Option<Operation> {
        let key = self.key(client, chance);
        let command = match chance.weighted(&[8, 1, 6, 4, 1]) {
            kind @ (0 | 1) => return Some(kv::get(self.name, &key, kind == 1)),
            2 => Command::Put(Put::new(key.as_str(), self.value())),
            3 => self.compare_and_set(&key),
            _ => Command::DeleteRange(DeleteRange::key(key.as_str())),
        };
        Some(kv::command(self.name, Some(&key), &command))
    }

    fn ended(&mut self, _client: u64, _op: u64, operation: &Operation, end: &End) -> Told {
        let told = kv::told(operation, end);
        if kv::answer(end).is_none() {
            return told;
        }
        let skipped = told.facts.contains(&Fact::Skipped);
        let done = operation.facts.iter().filter(|_| !skipped);
        for fact in done.chain(&told.facts) {
            match fact {
                Fact::Put { key, value, .. } => {
                    self.seen.insert(key.clone(), Some(value.clone()));
                }
                Fact::Delete { key } => {
                    self.seen.insert(key.clone(), None);
                }
                Fact::Got { key, value, .. } => {
                    self.seen.insert(key.clone(), value.clone());
                }
                _ => {}
            }
        }
        told
    }
}
