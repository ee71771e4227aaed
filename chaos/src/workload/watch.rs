//! Changes of a prefix, followed by asking: half of the clients write, half ask what has changed
//! since they last asked. Events that nodes push have no command of the client protocol yet; the
//! simulation writes those down where replicas apply entries. Not here: the order of what is told,
//! which the judge looks at.

use std::collections::BTreeMap;

use pgraft_kv::{Command, DeleteRange, HistoryRequest, Put, Query, Reply as Answer};

use super::{End, Name, Operation, Told, Workload, kv};
use crate::seed::Chance;

/// Keys that change.
const KEYS: u64 = 12;

/// Writers and followers.
#[derive(Default)]
pub struct Watch {
    values: u64,
    /// The newest revision that was told.
    revision: i64,
    /// Where each follower goes on.
    next: BTreeMap<u64, i64>,
}

impl Watch {
    /// Nothing has changed yet.
    pub fn new() -> Watch {
        Watch::default()
    }
}

impl Workload for Watch {
    fn next(&mut self, client: u64, chance: &mut Chance) -> Option<Operation> {
        let name = Name::Watch;
        let follows = client.is_multiple_of(2);
        if follows && chance.permille(900) {
            let (key, range_end) = pgraft_kv::prefix_range(b"w/");
            let start_revision = *self.next.entry(client).or_insert(1);
            let request = HistoryRequest { key, range_end, start_revision };
            return Some(kv::query(name, None, &Query::History(request), chance.permille(300)));
        }
        let key = format!("w/{}", chance.below(KEYS));
        self.values += 1;
        let command = match chance.permille(200) {
            true => Command::DeleteRange(DeleteRange::key(key.as_str())),
            false => Command::Put(Put::new(key.as_str(), self.values.to_string())),
        };
        Some(kv::command(name, Some(&key), &command))
    }

    fn ended(&mut self, client: u64, _op: u64, operation: &Operation, end: &End) -> Told {
        let told = kv::told(operation, end);
        let answer = kv::answer(end);
        self.revision = self.revision.max(answer.as_ref().and_then(kv::revision).unwrap_or(0));
        match answer {
            Some(Answer::History(history)) => {
                self.next.insert(client, history.next_revision);
            }
            Some(_) => {}
            // Compacted away: what is missed is missed, go on with the newest.
            None if matches!(end, End::Ok { .. }) && self.next.contains_key(&client) => {
                self.next.insert(client, self.revision.max(1));
            }
            None => {}
        }
        told
    }
}
