//! A small machine whose commands are words: `put k v`, `put k v lease`, `del k`, `cas k a b`,
//! `get k`, `incr k`. The specification of the tests' histories.

use std::collections::BTreeMap;

use crate::history::{Fact, Reply};
use crate::lin::{Asked, Purpose, Specification};

/// The machine.
pub(super) struct Store;

/// Its state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Keys {
    values: BTreeMap<String, (String, u64)>,
    pub(super) revision: u64,
}

pub(super) fn accepted(text: &str) -> Reply {
    Reply::Accepted(text.as_bytes().to_vec())
}

impl Keys {
    pub(super) fn get(&self, key: &str) -> Option<&(String, u64)> {
        self.values.get(key)
    }

    pub(super) fn put(&mut self, key: &str, value: &str) {
        self.revision += 1;
        self.values.insert(key.to_owned(), (value.to_owned(), self.revision));
    }

    /// Carries a command out.
    pub(super) fn apply(&mut self, words: &str) -> Reply {
        let words: Vec<&str> = words.split(' ').collect();
        let value = |keys: &Keys, key: &str| keys.get(key).map(|(value, _)| value.clone());
        match words.as_slice() {
            ["put", key, to, ..] => {
                self.put(key, to);
                accepted("done")
            }
            ["del", key] => {
                let had = self.values.remove(*key).is_some();
                self.revision += u64::from(had);
                accepted(if had { "deleted" } else { "absent" })
            }
            ["cas", key, from, to] if value(self, key).as_deref() == Some(*from) => {
                self.put(key, to);
                accepted("swapped")
            }
            ["cas", ..] => accepted("kept"),
            ["incr", key] => {
                let number = value(self, key).map_or(0, |value| value.parse().unwrap_or(0u64));
                self.put(key, &(number + 1).to_string());
                accepted(&(number + 1).to_string())
            }
            ["get" | "peek", key] => accepted(value(self, key).as_deref().unwrap_or("absent")),
            _ => accepted("nothing"),
        }
    }

    /// What a reader of these words finds out.
    pub(super) fn facts(&self, words: &str) -> Vec<Fact> {
        let revision = Fact::Revision { revision: self.revision };
        match words.split(' ').collect::<Vec<&str>>().as_slice() {
            ["get" | "peek", key] => {
                let (value, at) = self.get(key).cloned().unzip();
                let got = Fact::Got { key: (*key).to_owned(), value, revision: at.unwrap_or(0) };
                vec![got, revision]
            }
            _ => vec![revision],
        }
    }
}

impl Specification for Store {
    type State = Keys;
    type Operation = Asked;
    type Reply = Reply;

    fn initial(&self) -> Keys {
        Keys::default()
    }

    fn step(&self, state: &Keys, operation: &Asked) -> (Keys, Reply) {
        let mut next = state.clone();
        let reply = next.apply(std::str::from_utf8(&operation.payload).unwrap());
        (next, reply)
    }

    fn is_read(&self, operation: &Asked) -> bool {
        operation.purpose == Purpose::Query
    }
}
