//! Lists that only grow (Elle's list-append). Each list is one key; a client reads some lists, then
//! appends to all of them in one transaction, if none has changed since. The longest read of a list
//! is the order of all its appends, so every lost, doubled or reordered write shows. Not here: how
//! cycles are found.

use std::collections::BTreeMap;

use pgraft_judge::history::Fact;
use pgraft_kv::{
    Command, CompareTarget, KeyValue, Op, Put, RangeReply, RangeRequest, Reply as Answer, Txn,
};

use super::{End, Name, Operation, Told, Workload, kv};
use crate::seed::Chance;

/// Lists in use at a time.
const LISTS: u64 = 4;
/// Lists of one transaction.
const LISTS_PER_TXN_MAX: u64 = 3;
/// Elements after which a list is not used any more: each append writes it whole.
const ELEMENTS_MAX: usize = 100;

/// What a client read and wants to build on: per list the revision and the elements.
type Basis = BTreeMap<String, (i64, Vec<u64>)>;

/// Lists.
pub struct Append {
    lists: Vec<u64>,
    lists_ever: u64,
    elements: u64,
    basis: BTreeMap<u64, Basis>,
}

impl Default for Append {
    fn default() -> Append {
        Append::new()
    }
}

impl Append {
    /// No list exists.
    pub fn new() -> Append {
        let (lists, basis) = ((1..=LISTS).collect(), BTreeMap::new());
        Append { lists, lists_ever: LISTS, elements: 0, basis }
    }

    fn read(&self, chance: &mut Chance) -> Operation {
        let mut lists = self.lists.clone();
        chance.shuffle(&mut lists);
        lists.truncate(chance.between(1, LISTS_PER_TXN_MAX) as usize);
        let names: Vec<String> = lists.iter().map(|list| format!("a/{list}")).collect();
        if let [name] = &names[..] {
            let request = pgraft_kv::Query::Range(RangeRequest::key(name.as_str()));
            return kv::query(Name::Append, None, &request, false);
        }
        let success = names.iter().map(|name| kv::get_op(name)).collect();
        let read = Command::Txn(Txn { success, ..Txn::default() });
        kv::command(Name::Append, None, &read)
    }

    fn append(&mut self, basis: &Basis) -> Operation {
        let (mut txn, mut facts) = (Txn::default(), Vec::new());
        for (list, (revision, elements)) in basis {
            self.elements += 1;
            let element = self.elements;
            let grown = elements.iter().chain([&element]).map(u64::to_string);
            let value = grown.collect::<Vec<_>>().join(" ");
            txn.compare.push(kv::compare(list, CompareTarget::Mod(*revision)));
            txn.success.push(Op::Put(Put { prev_kv: true, ..Put::new(list.as_str(), value) }));
            txn.failure.push(kv::get_op(list));
            facts.push(Fact::Append { list: list.clone(), element });
        }
        let operation = kv::command(Name::Append, None, &Command::Txn(txn));
        let says = facts.iter().filter_map(|fact| match fact {
            Fact::Append { list, element } => Some(format!("{element} to {list}")),
            _ => None,
        });
        let says = format!("append {}", says.collect::<Vec<_>>().join(", "));
        Operation { facts, says, ..operation }
    }

    /// A list that is long enough makes room for a new one.
    fn retire(&mut self, list: &str, length: usize) {
        if length < ELEMENTS_MAX {
            return;
        }
        if let Some(place) = self.lists.iter().position(|known| format!("a/{known}") == list) {
            self.lists_ever += 1;
            self.lists[place] = self.lists_ever;
        }
    }
}

impl Workload for Append {
    fn next(&mut self, client: u64, chance: &mut Chance) -> Option<Operation> {
        match self.basis.remove(&client) {
            Some(basis) if chance.permille(800) => Some(self.append(&basis)),
            _ => Some(self.read(chance)),
        }
    }

    fn ended(&mut self, client: u64, _op: u64, operation: &Operation, end: &End) -> Told {
        let Told { says, facts } = kv::told(operation, end);
        // Lists instead of values: a value of a list says the same in another way.
        let mut facts: Vec<Fact> =
            facts.into_iter().filter(|fact| !matches!(fact, Fact::Got { .. })).collect();
        let Some(answer) = kv::answer(end) else { return Told { says, facts } };
        let (found, appended) = lists(operation, &answer);
        for (list, (_, elements)) in &found {
            facts.push(Fact::List { list: list.clone(), elements: elements.clone() });
            self.retire(list, elements.len() + usize::from(appended));
        }
        if !appended && !found.is_empty() {
            self.basis.insert(client, found);
        }
        Told { says, facts }
    }
}

/// The lists of an answer, as they were before the operation, and whether it appended to them.
fn lists(operation: &Operation, answer: &Answer) -> (Basis, bool) {
    match answer {
        Answer::Range(range) => {
            let name = asked_list(operation);
            (Basis::from([(name, in_range(range))]), false)
        }
        Answer::Txn(done) => {
            let command = Command::decode(&operation.payload).expect("encoded by this file");
            let Command::Txn(txn) = command else { return (Basis::new(), false) };
            let ops = if done.succeeded { &txn.success } else { &txn.failure };
            let found = ops.iter().zip(&done.responses).filter_map(|pair| match pair {
                (Op::Range(range), Answer::Range(found)) => {
                    Some((kv::text(&range.key), in_range(found)))
                }
                (Op::Put(put), Answer::Put { prev_kv, .. }) => {
                    Some((kv::text(&put.key), in_pair(prev_kv.as_ref())))
                }
                _ => None,
            });
            let appended = done.succeeded && !operation.facts.is_empty();
            (found.collect(), appended)
        }
        _ => (Basis::new(), false),
    }
}

fn asked_list(operation: &Operation) -> String {
    match pgraft_kv::Query::decode(&operation.payload) {
        Ok(pgraft_kv::Query::Range(range)) => kv::text(&range.key),
        other => unreachable!("a range answers a range, not {other:?}"),
    }
}

fn in_range(range: &RangeReply) -> (i64, Vec<u64>) {
    in_pair(range.kvs.first())
}

/// The elements of a list, and the revision of its last append. What is not a number was not
/// written by us; the judge misses it in its place.
fn in_pair(pair: Option<&KeyValue>) -> (i64, Vec<u64>) {
    let Some(pair) = pair else { return (0, Vec::new()) };
    let words = kv::text(&pair.value);
    let elements = words.split(' ').filter_map(|word| word.parse().ok());
    (pair.mod_revision, elements.collect())
}
