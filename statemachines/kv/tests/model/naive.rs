//! etcd's data model in the most obvious way: every version of every key, for ever.

use std::collections::BTreeMap;

use pgraft_kv::{
    Command, Compare, CompareResult, CompareTarget, DeleteRange, Event, EventKind, KeyValue, Op,
    Put, RangeReply, RangeRequest, Reply, SortOrder, SortTarget, Txn, TxnReply,
};

type Outcome = Result<Reply, ()>;

#[derive(Clone, Debug)]
struct Lease {
    ttl: i64,
    /// When the machine will look at it.
    look_at: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Naive {
    pub(crate) revision: i64,
    pub(crate) term: u64,
    /// Events that were not taken yet.
    pub(crate) events: Vec<Event>,
    /// All events ever.
    log: Vec<Event>,
    pub(crate) compacted: i64,
    /// Key to (revision, pair or nothing), oldest first.
    versions: BTreeMap<Vec<u8>, Vec<(i64, Option<KeyValue>)>>,
    leases: BTreeMap<i64, Lease>,
    /// Term and time of the first dealing with leases in it.
    term_start: (u64, u64),
    changed: bool,
}

impl Default for Naive {
    fn default() -> Naive {
        Naive {
            revision: 1,
            term: 1,
            events: Vec::new(),
            log: Vec::new(),
            compacted: 0,
            versions: BTreeMap::new(),
            leases: BTreeMap::new(),
            term_start: (0, 0),
            changed: false,
        }
    }
}

fn within(key: &[u8], start: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == start,
        [0] => key >= start,
        end => key >= start && key < end,
    }
}

impl Naive {
    pub(crate) fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.at(key, i64::MAX)
    }

    fn at(&self, key: &[u8], revision: i64) -> Option<KeyValue> {
        let versions = self.versions.get(key)?;
        versions.iter().rev().find(|(at, _)| *at <= revision)?.1.clone()
    }

    fn all(&self, start: &[u8], end: &[u8], revision: i64) -> Vec<KeyValue> {
        let keys = self.versions.keys().filter(|key| within(key, start, end));
        keys.filter_map(|key| self.at(key, revision)).collect()
    }

    /// What is left after compaction: keys, tombstones, changes.
    pub(crate) fn kept(&self) -> (u64, u64, u64) {
        let (mut keys, mut tombstones, mut changes) = (0, 0, 0);
        for versions in self.versions.values() {
            let newest_below = versions.iter().rposition(|(main, _)| *main <= self.compacted);
            let kept = versions.iter().enumerate().filter(|(place, (main, pair))| {
                let readable = newest_below == Some(*place) && pair.is_some();
                *main > self.compacted || readable || *main == self.compacted
            });
            let kept: Vec<_> = kept.map(|(_, version)| version).collect();
            changes += kept.len() as u64;
            match kept.last() {
                Some((_, Some(_))) => keys += 1,
                Some((_, None)) => tombstones += 1,
                None => {}
            }
        }
        (keys, tombstones, changes)
    }

    /// The events from a revision on.
    pub(crate) fn since(&self, revision: i64) -> Vec<Event> {
        let events = self.log.iter().filter(|event| event.kv.mod_revision >= revision);
        events.cloned().collect()
    }

    fn now(&self) -> i64 {
        self.revision + i64::from(self.changed)
    }

    fn write(&mut self, key: &[u8], new: Option<KeyValue>) {
        self.changed = true;
        let main = self.now();
        let old = self.get(key);
        let prev_revision = old.map_or(0, |old| old.mod_revision);
        let kind = if new.is_some() { EventKind::Put } else { EventKind::Delete };
        let bare = KeyValue { key: key.to_vec(), mod_revision: main, ..KeyValue::default() };
        let kv = new.clone().unwrap_or(bare);
        let event = Event { kind, kv, prev_revision };
        self.events.push(event.clone());
        self.log.push(event);
        self.versions.entry(key.to_vec()).or_default().push((main, new));
    }

    pub(crate) fn apply(&mut self, time_ms: u64, command: &Command) -> Outcome {
        let before = self.clone();
        let outcome = match command {
            Command::Put(put) => self.put(put),
            Command::DeleteRange(delete) => Ok(self.delete(delete)),
            Command::Txn(txn) => self.txn(txn, &before),
            Command::Compact { revision } => self.compact(*revision),
            Command::LeaseGrant { id, ttl } => self.grant(time_ms, *id, *ttl),
            Command::LeaseRevoke { id } => self.revoke(time_ms, *id),
            Command::LeaseKeepAlive { id } => Ok(self.keep_alive(time_ms, *id)),
        };
        if outcome.is_err() {
            *self = before;
        }
        self.finish();
        outcome
    }

    fn finish(&mut self) {
        self.revision = self.now();
        self.changed = false;
    }

    fn put(&mut self, put: &Put) -> Outcome {
        let old = self.get(&put.key);
        if put.lease != 0 && !self.leases.contains_key(&put.lease) {
            return Err(());
        }
        if (put.ignore_value || put.ignore_lease) && old.is_none() {
            return Err(());
        }
        let main = self.revision + 1;
        let mut new = KeyValue {
            key: put.key.clone(),
            create_revision: main,
            mod_revision: main,
            version: 1,
            lease: put.lease,
            value: put.value.clone(),
        };
        if let Some(old) = &old {
            new.create_revision = old.create_revision;
            new.version = old.version + 1;
            if put.ignore_value {
                new.value = old.value.clone();
            }
            if put.ignore_lease {
                new.lease = old.lease;
            }
        }
        self.write(&put.key, Some(new));
        Ok(Reply::Put { revision: self.now(), prev_kv: old.filter(|_| put.prev_kv) })
    }

    fn delete(&mut self, delete: &DeleteRange) -> Reply {
        let old = self.all(&delete.key, &delete.range_end, i64::MAX);
        for kv in &old {
            self.write(&kv.key, None);
        }
        let deleted = old.len() as i64;
        let prev_kvs = if delete.prev_kv { old } else { Vec::new() };
        Reply::DeleteRange { revision: self.now(), deleted, prev_kvs }
    }

    fn txn(&mut self, txn: &Txn, before: &Naive) -> Outcome {
        let succeeded = txn.compare.iter().all(|compare| before.holds(compare));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let mut responses = Vec::new();
        for op in ops {
            responses.push(match op {
                // A read may not ask for the revision that this transaction makes.
                Op::Range(range) if range.revision > before.revision => return Err(()),
                Op::Range(range) => Reply::Range(self.range(range)?),
                Op::Put(put) => self.put(put)?,
                Op::DeleteRange(delete) => self.delete(delete),
                Op::Txn(txn) => self.txn(txn, before)?,
            });
        }
        // The header of a nested one shows what was changed when it ended, the outermost all.
        Ok(Reply::Txn(TxnReply { revision: self.now(), succeeded, responses }))
    }

    fn holds(&self, compare: &Compare) -> bool {
        let stored = self.all(&compare.key, &compare.range_end, i64::MAX);
        if stored.is_empty() {
            let missing = KeyValue::default();
            let value = matches!(compare.target, CompareTarget::Value(_));
            return !value && holds_for(compare, &missing);
        }
        stored.iter().all(|kv| holds_for(compare, kv))
    }

    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeReply, ()> {
        let now = self.now();
        if request.revision > now || (request.revision > 0 && request.revision < self.compacted) {
            return Err(());
        }
        let revision = if request.revision > 0 { request.revision } else { now };
        let mut kvs = self.all(&request.key, &request.range_end, revision);
        let count = kvs.len() as i64;
        if request.count_only {
            return Ok(RangeReply { revision: now, count, ..RangeReply::default() });
        }
        let limits = |value: i64, min: i64, max: i64| {
            (min == 0 || value >= min) && (max == 0 || value <= max)
        };
        kvs.retain(|kv| {
            limits(kv.mod_revision, request.min_mod_revision, request.max_mod_revision)
                && limits(
                    kv.create_revision,
                    request.min_create_revision,
                    request.max_create_revision,
                )
        });
        let number = |kv: &KeyValue| match request.sort_target {
            SortTarget::Version => kv.version,
            SortTarget::Create => kv.create_revision,
            SortTarget::Mod => kv.mod_revision,
            SortTarget::Key | SortTarget::Value => 0,
        };
        let word = |kv: &KeyValue| match request.sort_target {
            SortTarget::Key => kv.key.clone(),
            SortTarget::Value => kv.value.clone(),
            _ => Vec::new(),
        };
        kvs.sort_by(|a, b| {
            let order = (number(a), word(a)).cmp(&(number(b), word(b)));
            if request.sort_order == SortOrder::Descend { order.reverse() } else { order }
        });
        let limit = usize::try_from(request.limit).unwrap_or(0);
        let more = limit > 0 && kvs.len() > limit;
        if more {
            kvs.truncate(limit);
        }
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        Ok(RangeReply { revision: now, kvs, more, count })
    }

    fn compact(&mut self, revision: i64) -> Outcome {
        if revision <= self.compacted || revision > self.revision {
            return Err(());
        }
        self.compacted = revision;
        Ok(Reply::Compact { revision: self.revision })
    }

    fn enter_term(&mut self, time_ms: u64) {
        if self.term_start.0 < self.term {
            self.term_start = (self.term, time_ms);
        }
    }

    fn deadline(&self, lease: &Lease) -> u64 {
        lease.look_at.max(self.term_start.1 + lease.ttl as u64 * 1000)
    }

    fn grant(&mut self, time_ms: u64, id: i64, ttl: i64) -> Outcome {
        if self.leases.contains_key(&id) {
            return Err(());
        }
        self.enter_term(time_ms);
        let ttl = ttl.max(2);
        self.leases.insert(id, Lease { ttl, look_at: time_ms + ttl as u64 * 1000 });
        Ok(Reply::LeaseGrant { revision: self.revision, id, ttl })
    }

    fn revoke(&mut self, time_ms: u64, id: i64) -> Outcome {
        if !self.leases.contains_key(&id) {
            return Err(());
        }
        self.enter_term(time_ms);
        self.end(id);
        Ok(Reply::LeaseRevoke { revision: self.now() })
    }

    fn end(&mut self, id: i64) {
        self.leases.remove(&id);
        for kv in self.all(&[0], &[0], i64::MAX) {
            if kv.lease == id {
                self.write(&kv.key, None);
            }
        }
    }

    fn keep_alive(&mut self, time_ms: u64, id: i64) -> Reply {
        let Some(lease) = self.leases.get(&id).cloned() else {
            return Reply::LeaseKeepAlive { revision: self.now(), id, ttl: 0 };
        };
        self.enter_term(time_ms);
        let mut ttl = 0;
        if self.deadline(&lease) <= time_ms {
            self.end(id);
        } else {
            ttl = lease.ttl;
            self.leases.insert(id, Lease { look_at: time_ms + ttl as u64 * 1000, ..lease });
        }
        Reply::LeaseKeepAlive { revision: self.now(), id, ttl }
    }

    pub(crate) fn next_wake(&self) -> Option<u64> {
        self.leases.values().map(|lease| lease.look_at).min()
    }

    pub(crate) fn wake(&mut self, time_ms: u64) {
        self.enter_term(time_ms);
        let mut due: Vec<(u64, i64)> =
            self.leases.iter().map(|(id, lease)| (lease.look_at, *id)).collect();
        due.retain(|(look_at, _)| *look_at <= time_ms);
        due.sort_unstable();
        for (_, id) in due {
            let lease = self.leases[&id].clone();
            let deadline = self.deadline(&lease);
            if deadline <= time_ms {
                self.end(id);
                self.finish();
            } else {
                self.leases.insert(id, Lease { look_at: deadline, ..lease });
            }
        }
    }
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(given) => kv.version.cmp(given),
        CompareTarget::Create(given) => kv.create_revision.cmp(given),
        CompareTarget::Mod(given) => kv.mod_revision.cmp(given),
        CompareTarget::Value(given) => kv.value.cmp(given),
        CompareTarget::Lease(given) => kv.lease.cmp(given),
    };
    match compare.result {
        CompareResult::Equal => order.is_eq(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
        CompareResult::NotEqual => order.is_ne(),
    }
}
