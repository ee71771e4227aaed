//! The key-value machine as a subject: commands that get into each other's way, and what is true of
//! every state of it.

use pgraft_host::{Specification, State, Turn};
use pgraft_kv::{
    Command, Compare, CompareResult, CompareTarget, DeleteRange, EventKind, HistoryRequest, Put,
    Query, RangeRequest, Reply, Txn,
};

use crate::machine::subject::{Invariant, Module, Subject};

/// The revision of a store in which nothing was ever written.
const FIRST_REVISION: i64 = 1;

/// `kv` with so many clients: puts and deletes of one key, a conditional put, and a lease.
///
/// # Panics
/// When the module of the bundle cannot be used.
pub fn subject(clients: usize) -> Subject {
    let lists = (0..clients).map(|client| commands(client).iter().map(Command::encode).collect());
    let subject = Subject::new(&Module::built_in("kv"), &[], lists.collect());
    let subject = subject.expect("the bundle's modules run");
    subject.with_invariant(Invariant::Check(revisions_in_order))
}

fn commands(client: usize) -> Vec<Command> {
    let put = |key: &str, value: &str| Put::new(key, value);
    match client {
        0 => vec![
            Command::LeaseGrant { id: 7, ttl: 1 },
            Command::Put(Put { lease: 7, prev_kv: true, ..put("a", "leased") }),
        ],
        1 => vec![
            Command::Put(put("a", "1")),
            Command::DeleteRange(DeleteRange { prev_kv: true, ..DeleteRange::key("a") }),
        ],
        _ => {
            let absent = Compare {
                key: b"a".to_vec(),
                range_end: Vec::new(),
                result: CompareResult::Equal,
                target: CompareTarget::Version(0),
            };
            let value = client.to_string();
            let success = vec![pgraft_kv::Op::Put(put("a", &value))];
            let failure = vec![pgraft_kv::Op::Put(put("b", &value))];
            vec![Command::Txn(Txn { compare: vec![absent], success, failure })]
        }
    }
}

/// An invariant that the first put breaks: for a canary.
pub fn false_invariant() -> Invariant {
    Invariant::Check(|kv, state, turn| match ask(kv, state, turn, &Query::Status)? {
        Reply::Status(status) if status.keys == 0 => Ok(()),
        other => Err(format!("the store is not empty: {other:?}")),
    })
}

/// Revisions of the history are in order and without gaps up to the store's, the pairs that exist
/// are those that the history leaves, and each counts its puts.
fn revisions_in_order(kv: &Specification, state: &State, turn: &Turn) -> Result<(), String> {
    let all = RangeRequest::prefix(b"");
    let history = Query::History(HistoryRequest {
        key: all.key.clone(),
        range_end: all.range_end.clone(),
        start_revision: FIRST_REVISION,
    });
    let Reply::History(history) = ask(kv, state, turn, &history)? else {
        return Err("history is answered with something else".to_owned());
    };
    let Reply::Range(range) = ask(kv, state, turn, &Query::Range(all))? else {
        return Err("a range is answered with something else".to_owned());
    };
    let mut revision = FIRST_REVISION;
    let mut pairs = std::collections::BTreeMap::new();
    for event in &history.events {
        let at = event.kv.mod_revision;
        if at != revision && at != revision + 1 {
            return Err(format!("revision {at} follows {revision}"));
        }
        revision = at;
        match event.kind {
            EventKind::Delete => {
                pairs.remove(&event.kv.key);
            }
            EventKind::Put => {
                let old: Option<pgraft_kv::KeyValue> = pairs.remove(&event.kv.key);
                let version = old.as_ref().map_or(0, |old| old.version) + 1;
                let create = old.map_or(at, |old| old.create_revision);
                if (event.kv.version, event.kv.create_revision) != (version, create) {
                    return Err(format!("{:?} is put {version} of {create}", event.kv));
                }
                pairs.insert(event.kv.key.clone(), event.kv.clone());
            }
        }
    }
    if revision != range.revision || history.revision != range.revision {
        return Err(format!("the history ends at {revision}, the store is at {}", range.revision));
    }
    let left: Vec<_> = pairs.into_values().collect();
    if left != range.kvs {
        return Err(format!("the history leaves {left:?}, the store has {:?}", range.kvs));
    }
    Ok(())
}

fn ask(kv: &Specification, state: &State, turn: &Turn, query: &Query) -> Result<Reply, String> {
    let answer = kv.query(state, turn, &query.encode()).map_err(|fault| fault.to_string())?;
    let bytes = answer.map_err(|rejection| format!("{query:?} is rejected: {rejection}"))?;
    Reply::decode(&bytes).map_err(|error| format!("{query:?}: {error}"))
}
