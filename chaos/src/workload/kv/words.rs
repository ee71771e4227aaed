//! Operations and answers of `kv` for people, and answers without revisions. Not here: facts.

use pgraft_kv::{
    Command, Compare, CompareResult, CompareTarget, KeyValue, Op, Put, Query, RangeRequest, Reply,
};

use super::text;

/// Characters of a key or value that are shown.
const SHOWN_MAX: usize = 60;
/// Pairs, operations or events that are shown.
const LISTED_MAX: usize = 8;

fn short(bytes: &[u8]) -> String {
    let whole = text(bytes);
    let count = whole.chars().count();
    if count <= SHOWN_MAX {
        return whole;
    }
    // The end of a list is what differs.
    let tail: String = whole.chars().skip(count - SHOWN_MAX).collect();
    format!("...{tail}")
}

fn listed(parts: impl ExactSizeIterator<Item = String>) -> String {
    let count = parts.len();
    let mut told: Vec<String> = parts.take(LISTED_MAX).collect();
    if count > LISTED_MAX {
        told.push(format!("... {count} in all"));
    }
    told.join(", ")
}

/// A key, or all keys of a range that is a prefix.
fn span(key: &[u8], range_end: &[u8]) -> String {
    let prefix_end = pgraft_kv::prefix_range(key).1;
    match range_end {
        [] => short(key),
        end if end == prefix_end => format!("{}*", short(key)),
        end => format!("[{}, {})", short(key), short(end)),
    }
}

pub(super) fn command(command: &Command) -> String {
    match command {
        Command::Put(one) => put(one),
        Command::DeleteRange(delete) => format!("delete {}", span(&delete.key, &delete.range_end)),
        Command::Txn(txn) => {
            let ifs = listed(txn.compare.iter().map(compare));
            let then = listed(txn.success.iter().map(op));
            let otherwise = listed(txn.failure.iter().map(op));
            let mut told = if ifs.is_empty() { then } else { format!("if {ifs} then {then}") };
            if !otherwise.is_empty() {
                told += &format!(" else {otherwise}");
            }
            told
        }
        Command::Compact { revision } => format!("compact {revision}"),
        Command::LeaseGrant { id, ttl } => format!("grant lease {id} for {ttl} s"),
        Command::LeaseRevoke { id } => format!("revoke lease {id}"),
        Command::LeaseKeepAlive { id } => format!("keep lease {id}"),
    }
}

pub(super) fn query(query: &Query) -> String {
    match query {
        Query::Range(request) => range(request),
        Query::LeaseTimeToLive { id, .. } => format!("time left of lease {id}"),
        Query::Leases => "leases".to_owned(),
        Query::Status => "status".to_owned(),
        Query::History(history) => {
            let keys = span(&history.key, &history.range_end);
            format!("changes of {keys} from {}", history.start_revision)
        }
    }
}

fn put(put: &Put) -> String {
    let lease = if put.lease == 0 { String::new() } else { format!(" lease {}", put.lease) };
    format!("put {} {}{lease}", short(&put.key), short(&put.value))
}

fn range(request: &RangeRequest) -> String {
    let keys = span(&request.key, &request.range_end);
    match request.revision {
        revision if revision > 0 => format!("get {keys} at revision {revision}"),
        _ => format!("get {keys}"),
    }
}

fn op(op: &Op) -> String {
    match op {
        Op::Range(request) => range(request),
        Op::Put(one) => put(one),
        Op::DeleteRange(delete) => format!("delete {}", span(&delete.key, &delete.range_end)),
        Op::Txn(txn) => format!("({})", command(&Command::Txn(txn.clone()))),
    }
}

fn compare(compare: &Compare) -> String {
    let (what, value) = match &compare.target {
        CompareTarget::Version(version) => ("version", version.to_string()),
        CompareTarget::Create(revision) => ("create", revision.to_string()),
        CompareTarget::Mod(revision) => ("mod", revision.to_string()),
        CompareTarget::Value(value) => ("value", short(value)),
        CompareTarget::Lease(lease) => ("lease", lease.to_string()),
    };
    let sign = match compare.result {
        CompareResult::Equal => "=",
        CompareResult::Greater => ">",
        CompareResult::Less => "<",
        CompareResult::NotEqual => "!=",
    };
    format!("{what}({}) {sign} {value}", span(&compare.key, &compare.range_end))
}

pub(super) fn answer(reply: &Reply) -> String {
    match reply {
        Reply::Put { revision, .. } => format!("revision {revision}"),
        Reply::DeleteRange { revision, deleted, .. } => {
            format!("{deleted} deleted, revision {revision}")
        }
        Reply::Range(range) => format!("{}, revision {}", pairs(&range.kvs), range.revision),
        Reply::Txn(txn) => {
            let branch = if txn.succeeded { "done" } else { "condition failed" };
            let found = txn.responses.iter().filter_map(|response| match response {
                Reply::Range(range) => Some(pairs(&range.kvs)),
                _ => None,
            });
            let mut told: Vec<String> = vec![branch.to_owned()];
            told.extend(found);
            format!("{}, revision {}", told.join(", "), txn.revision)
        }
        Reply::Compact { .. } => "compacted".to_owned(),
        Reply::LeaseGrant { id, ttl, .. } => format!("lease {id} granted for {ttl} s"),
        Reply::LeaseRevoke { revision } => format!("revoked, revision {revision}"),
        Reply::LeaseKeepAlive { id, ttl: 0, .. } => format!("lease {id} is over"),
        Reply::LeaseKeepAlive { id, ttl, .. } => format!("lease {id} has {ttl} s"),
        Reply::LeaseTimeToLive { id, ttl: -1, .. } => format!("there is no lease {id}"),
        Reply::LeaseTimeToLive { id, ttl, .. } => format!("lease {id} has {ttl} s left"),
        Reply::Leases { ids, .. } => format!("leases {}", listed(ids.iter().map(i64::to_string))),
        Reply::Status(status) => format!("{} keys, revision {}", status.keys, status.revision),
        Reply::History(history) => {
            let (count, next) = (history.events.len(), history.next_revision);
            format!("{count} changes, go on at {next}")
        }
    }
}

fn pairs(kvs: &[KeyValue]) -> String {
    if kvs.is_empty() {
        return "nothing".to_owned();
    }
    listed(kvs.iter().map(|kv| format!("{} = {}", short(&kv.key), short(&kv.value))))
}

/// Sets every revision of the answer to 0. Versions stay: they count the puts of one key.
pub(super) fn forget_revisions(reply: &mut Reply) {
    let pair = |kv: &mut KeyValue| (kv.create_revision, kv.mod_revision) = (0, 0);
    match reply {
        Reply::Put { revision, prev_kv } => {
            *revision = 0;
            prev_kv.iter_mut().for_each(pair);
        }
        Reply::DeleteRange { revision, prev_kvs, .. } => {
            *revision = 0;
            prev_kvs.iter_mut().for_each(pair);
        }
        Reply::Range(range) => {
            range.revision = 0;
            range.kvs.iter_mut().for_each(pair);
        }
        Reply::Txn(txn) => {
            txn.revision = 0;
            txn.responses.iter_mut().for_each(forget_revisions);
        }
        Reply::Status(status) => (status.revision, status.compact_revision) = (0, 0),
        Reply::History(history) => {
            (history.revision, history.next_revision) = (0, 0);
            for event in &mut history.events {
                event.prev_revision = 0;
                pair(&mut event.kv);
            }
        }
        Reply::Compact { revision }
        | Reply::LeaseGrant { revision, .. }
        | Reply::LeaseRevoke { revision }
        | Reply::LeaseKeepAlive { revision, .. }
        | Reply::LeaseTimeToLive { revision, .. }
        | Reply::Leases { revision, .. } => *revision = 0,
    }
}
