//! Leases: a client is granted one, attaches keys, keeps it alive or not, looks whether its keys
//! are still there, and lets it expire or revokes it. Not here: time. Clients wait by asking.

use std::collections::BTreeMap;

use pgraft_judge::history::Fact;
use pgraft_kv::{Command, Put, Query};

use super::{End, Name, Operation, Told, Workload, kv};
use crate::seed::Chance;

/// Shortest and longest time to live, seconds; kv raises less than 2 to 2.
const TTL_SECONDS: (u64, u64) = (1, 5);
/// Keys of a lease.
const KEYS_MAX: u64 = 3;
/// Looks at what has expired before a client begins anew.
const LOOKS_MAX: u32 = 3;

/// Leases.
#[derive(Default)]
pub struct Leases {
    leases: i64,
    values: u64,
    /// The lease of each client.
    mine: BTreeMap<u64, Mine>,
}

struct Mine {
    id: i64,
    /// It was granted, as far as is known.
    granted: bool,
    /// Keys attached so far.
    keys: u64,
    /// Whether the client keeps it alive, or lets it go.
    caring: bool,
    /// Looks since it was told that the lease is over.
    looks: u32,
    over: bool,
}

impl Leases {
    /// No lease exists.
    pub fn new() -> Leases {
        Leases::default()
    }

    fn grant(&mut self, client: u64, chance: &mut Chance) -> Operation {
        self.leases += 1;
        let id = self.leases;
        let (caring, keys, looks) = (chance.coin(), 0, 0);
        self.mine.insert(client, Mine { id, granted: false, keys, caring, looks, over: false });
        let ttl = chance.between(TTL_SECONDS.0, TTL_SECONDS.1) as i64;
        command(id, &Command::LeaseGrant { id, ttl })
    }
}

impl Workload for Leases {
    fn next(&mut self, client: u64, chance: &mut Chance) -> Option<Operation> {
        let done = |mine: &Mine| !mine.granted || mine.over && mine.looks >= LOOKS_MAX;
        if self.mine.get(&client).is_none_or(done) {
            return Some(self.grant(client, chance));
        }
        let mine = self.mine.get_mut(&client).expect("just looked");
        let id = mine.id;
        let attach = if mine.keys < KEYS_MAX { 6 } else { 0 };
        let keep = if mine.caring { 5 } else { 0 };
        let place = match mine.over {
            true => 2,
            false => chance.weighted(&[attach, keep, 6, 2, 1]),
        };
        let number = chance.between(1, mine.keys.max(1));
        Some(match place {
            0 => {
                self.values += 1;
                let put = Put::new(key(id, mine.keys + 1), self.values.to_string());
                command(id, &Command::Put(Put { lease: id, ..put }))
            }
            1 => command(id, &Command::LeaseKeepAlive { id }),
            2 => {
                mine.looks += u32::from(mine.over);
                let part = part(id);
                Operation { key: Some(part), ..kv::get(Name::Leases, &key(id, number), false) }
            }
            3 => {
                let left = Query::LeaseTimeToLive { id, keys: true };
                kv::query(Name::Leases, Some(&part(id)), &left, false)
            }
            _ => command(id, &Command::LeaseRevoke { id }),
        })
    }

    fn ended(&mut self, client: u64, _op: u64, operation: &Operation, end: &End) -> Told {
        let told = kv::told(operation, end);
        let Some(mine) = self.mine.get_mut(&client) else { return told };
        match end {
            End::Ok { .. } => {}
            // A grant that certainly failed is asked for again under another id.
            End::Fail(_) => return told,
            End::Unknown(_) => {
                self.mine.remove(&client);
                return told;
            }
        }
        // Any refusal says that the lease is gone, or somebody else's.
        let is_refused = kv::answer(end).is_none();
        let is_over = |fact: &Fact| matches!(fact, Fact::LeaseKept { ttl_ms: 0, .. });
        let is_revoked = operation.facts.contains(&Fact::LeaseRevoke { lease: mine.id });
        let is_attached = operation.facts.iter().any(|fact| matches!(fact, Fact::Put { .. }));
        mine.keys += u64::from(is_attached && !is_refused);
        mine.over |= is_refused || is_revoked || told.facts.iter().any(is_over);
        mine.granted |= told.facts.iter().any(|fact| matches!(fact, Fact::LeaseGranted { .. }));
        // A key of ours that is gone went with its lease.
        let is_gone = |fact: &Fact| matches!(fact, Fact::Got { value: None, .. });
        mine.over |= mine.keys > 0 && told.facts.iter().any(is_gone);
        told
    }
}

/// All that belongs to one lease is one part of the store.
fn part(id: i64) -> String {
    format!("l/{id}")
}

fn key(id: i64, number: u64) -> String {
    format!("l/{id}/{number}")
}

fn command(id: i64, command: &Command) -> Operation {
    kv::command(Name::Leases, Some(&part(id)), command)
}
