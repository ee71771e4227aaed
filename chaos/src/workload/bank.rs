//! A bank: accounts that hold the same in all, whoever transfers what. A transfer compares the two
//! accounts with what was read; a value carries a number besides the balance, so that no two
//! values are alike. Not here: interest.

use std::collections::BTreeMap;

use pgraft_judge::history::Fact;
use pgraft_kv::{Command, CompareTarget, Query, RangeRequest, Reply as Answer, Txn};

use super::{End, Name, Operation, Told, Workload, kv};
use crate::seed::Chance;

/// Accounts.
const ACCOUNTS: u64 = 6;
/// What each holds at first.
const BALANCE: i64 = 100;
/// All accounts are one part of the store.
const KEY: &str = "b";

/// Accounts by key, with their values.
type Accounts = BTreeMap<String, String>;

/// A bank.
#[derive(Default)]
pub struct Bank {
    values: u64,
    /// Whether somebody saw the accounts.
    is_open: bool,
    /// What each client last read.
    read: BTreeMap<u64, Accounts>,
}

impl Bank {
    /// Without accounts; the first clients open them.
    pub fn new() -> Bank {
        Bank::default()
    }

    fn value(&mut self, balance: i64) -> String {
        self.values += 1;
        format!("{balance} #{}", self.values)
    }

    fn open(&mut self) -> Operation {
        let keys: Vec<String> = (0..ACCOUNTS).map(account).collect();
        let open = Txn {
            compare: vec![kv::compare(&keys[0], CompareTarget::Version(0))],
            success: keys.iter().map(|key| kv::put_op(key, &self.value(BALANCE))).collect(),
            failure: keys.iter().map(|key| kv::get_op(key)).collect(),
        };
        let operation = kv::command(Name::Bank, Some(KEY), &Command::Txn(open));
        Operation { says: "open the accounts".to_owned(), ..operation }
    }

    fn total(&self, stale: bool) -> Operation {
        let prefix = format!("{KEY}/");
        let all = Query::Range(RangeRequest::prefix(prefix.as_bytes()));
        kv::query(Name::Bank, Some(KEY), &all, stale)
    }

    fn transfer(&mut self, accounts: &Accounts, chance: &mut Chance) -> Operation {
        let mut keys: Vec<&String> = accounts.keys().collect();
        chance.shuffle(&mut keys);
        let (from, to) = (keys[0], keys[1]);
        let (has, gets) = (balance(&accounts[from]), balance(&accounts[to]));
        let amount = chance.between(0, has.clamp(0, 20) as u64) as i64;
        let unchanged =
            |key: &str| kv::compare(key, CompareTarget::Value(accounts[key].as_bytes().to_vec()));
        let move_money = Txn {
            compare: vec![unchanged(from), unchanged(to)],
            success: vec![
                kv::put_op(from, &self.value(has - amount)),
                kv::put_op(to, &self.value(gets + amount)),
            ],
            failure: vec![kv::get_op(from), kv::get_op(to)],
        };
        let operation = kv::command(Name::Bank, Some(KEY), &Command::Txn(move_money));
        Operation { says: format!("transfer {amount} from {from} to {to}"), ..operation }
    }
}

impl Workload for Bank {
    fn next(&mut self, client: u64, chance: &mut Chance) -> Option<Operation> {
        if !self.is_open {
            return Some(self.open());
        }
        match self.read.remove(&client) {
            Some(accounts) if chance.permille(850) => Some(self.transfer(&accounts, chance)),
            _ => Some(self.total(chance.permille(100))),
        }
    }

    fn ended(&mut self, client: u64, _op: u64, operation: &Operation, end: &End) -> Told {
        let mut told = kv::told(operation, end);
        let Some(answer) = kv::answer(end) else { return told };
        self.is_open |= matches!(answer, Answer::Txn(_));
        if let Answer::Range(range) = answer {
            let pair = |kv: &pgraft_kv::KeyValue| (kv::text(&kv.key), kv::text(&kv.value));
            let accounts: Accounts = range.kvs.iter().map(pair).collect();
            if accounts.len() as u64 >= 2 {
                self.read.insert(client, accounts.clone());
            }
            // A stale read may be from before the accounts were opened.
            if !accounts.is_empty() {
                let balances: Vec<i64> = accounts.values().map(|value| balance(value)).collect();
                told.says = format!("{balances:?}, {} in all", balances.iter().sum::<i64>());
                let total = ACCOUNTS as i64 * BALANCE;
                told.facts.push(Fact::Balances { balances, total });
            }
        }
        told
    }
}

fn account(number: u64) -> String {
    format!("{KEY}/{number}")
}

/// The balance in a value; what was not written by us counts as nothing, and is missed in the sum.
fn balance(value: &str) -> i64 {
    value.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}
