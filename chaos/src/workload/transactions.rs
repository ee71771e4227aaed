//! Several keys at once: reads and writes in one transaction, compares on revisions, ranges, older
//! revisions, and now and then a compaction. Revisions belong to the whole store, so these
//! operations have no key and are judged as one object. Not here: invariants over several keys
//! (`bank`, `append`).

use std::collections::BTreeMap;

use pgraft_judge::history::Fact;
use pgraft_kv::{Command, CompareTarget, DeleteRange, Op, Put, Query, RangeRequest, Txn};

use super::{End, Name, Operation, Told, Workload, kv};
use crate::seed::Chance;

/// Keys that the transactions work on.
const KEYS: u64 = 8;
/// Keys of one transaction.
const KEYS_PER_TXN_MAX: u64 = 3;
/// Revisions that a compaction leaves.
const REVISIONS_KEPT: i64 = 50;

/// Transactions.
#[derive(Default)]
pub struct Transactions {
    values: u64,
    /// The newest revision that was told.
    revision: i64,
    /// When each key was last seen to change.
    changed: BTreeMap<String, i64>,
}

impl Transactions {
    /// No key exists.
    pub fn new() -> Transactions {
        Transactions::default()
    }

    fn keys(&self, chance: &mut Chance) -> Vec<String> {
        let mut numbers: Vec<u64> = (0..KEYS).collect();
        chance.shuffle(&mut numbers);
        numbers.truncate(chance.between(1, KEYS_PER_TXN_MAX) as usize);
        numbers.iter().map(|number| format!("t/{number}")).collect()
    }

    fn value(&mut self) -> String {
        self.values += 1;
        self.values.to_string()
    }

    /// Reads some keys at one point.
    fn read(&self, chance: &mut Chance) -> Command {
        let success = self.keys(chance).iter().map(|key| kv::get_op(key)).collect();
        Command::Txn(Txn { success, ..Txn::default() })
    }

    /// Writes some keys if none has changed since it was last seen; else tells what they hold.
    fn write(&mut self, chance: &mut Chance) -> Command {
        let keys = self.keys(chance);
        let seen = |key: &String| *self.changed.get(key).unwrap_or(&0);
        let compare = |key: &String| kv::compare(key, CompareTarget::Mod(seen(key)));
        let is_blind = chance.permille(200);
        let guards: &[String] = if is_blind { &[] } else { &keys };
        let compare = guards.iter().map(compare).collect();
        let failure = guards.iter().map(|key| kv::get_op(key)).collect();
        let mut success: Vec<Op> = Vec::new();
        for key in &keys {
            success.push(match chance.permille(150) {
                true => Op::DeleteRange(DeleteRange::key(key.as_str())),
                false => Op::Put(Put::new(key.as_str(), self.value())),
            });
        }
        Command::Txn(Txn { compare, success, failure })
    }

    fn older(&self, chance: &mut Chance) -> RangeRequest {
        let back = chance.scaled(0, 2 * REVISIONS_KEPT as u64) as i64;
        RangeRequest { revision: (self.revision - back).max(1), ..RangeRequest::prefix(b"t/") }
    }
}

impl Workload for Transactions {
    fn next(&mut self, _client: u64, chance: &mut Chance) -> Option<Operation> {
        let name = Name::Transactions;
        let command = match chance.weighted(&[5, 8, 4, 3, 1]) {
            0 => self.read(chance),
            1 => self.write(chance),
            2 => {
                let all = Query::Range(RangeRequest::prefix(b"t/"));
                return Some(kv::query(name, None, &all, chance.permille(100)));
            }
            3 => return Some(kv::query(name, None, &Query::Range(self.older(chance)), false)),
            _ => Command::Compact { revision: (self.revision - REVISIONS_KEPT).max(1) },
        };
        Some(kv::command(name, None, &command))
    }

    fn ended(&mut self, _client: u64, _op: u64, operation: &Operation, end: &End) -> Told {
        let told = kv::told(operation, end);
        let Some(revision) = kv::answer(end).as_ref().and_then(kv::revision) else { return told };
        self.revision = self.revision.max(revision);
        if !told.facts.contains(&Fact::Skipped) {
            for fact in &operation.facts {
                match fact {
                    Fact::Put { key, .. } => self.changed.insert(key.clone(), revision),
                    Fact::Delete { key } => self.changed.insert(key.clone(), 0),
                    _ => None,
                };
            }
        }
        for fact in &told.facts {
            if let Fact::Got { key, revision, .. } = fact {
                self.changed.insert(key.clone(), *revision as i64);
            }
        }
        told
    }
}
