//! Operations of the machine `kv`: how they are encoded, told to people, and put into facts. All
//! workloads on `kv` go through here. Not here: what they want.

mod words;

use pgraft_judge::history::{Call, Fact, Reply};
use pgraft_judge::lin::spec::Asked;
use pgraft_kv::{
    Command, Compare, CompareResult, CompareTarget, DeleteRange, Op, Put, Query, RangeRequest,
    Reply as Answer,
};

use super::{End, Name, Operation, Told};

/// Name of the machine.
const MACHINE: &str = "kv";

/// A command as an operation.
pub(super) fn command(workload: Name, key: Option<&str>, command: &Command) -> Operation {
    Operation {
        workload,
        machine: MACHINE.to_owned(),
        call: Call::Command,
        payload: command.encode(),
        key: key.map(str::to_owned),
        says: words::command(command),
        facts: asked(command),
    }
}

/// A query as an operation.
pub(super) fn query(workload: Name, key: Option<&str>, query: &Query, stale: bool) -> Operation {
    let says = words::query(query);
    Operation {
        workload,
        machine: MACHINE.to_owned(),
        call: if stale { Call::StaleQuery } else { Call::Query },
        payload: query.encode(),
        key: key.map(str::to_owned),
        says: if stale { format!("stale {says}") } else { says },
        facts: Vec::new(),
    }
}

/// One key now.
pub(super) fn get(workload: Name, key: &str, stale: bool) -> Operation {
    query(workload, Some(key), &Query::Range(RangeRequest::key(key)), stale)
}

/// What an answer says in the codec; `None` when there is none, or a refusal, or nonsense (which
/// the judge finds: the machine itself would have said something else).
pub(super) fn answer(end: &End) -> Option<Answer> {
    let End::Ok { reply: Reply::Accepted(bytes), .. } = end else { return None };
    Answer::decode(bytes).ok()
}

/// What every workload on `kv` makes of an end.
pub(super) fn told(operation: &Operation, end: &End) -> Told {
    let End::Ok { reply, .. } = end else { return Told::default() };
    let Some(answer) = answer(end) else {
        return Told { says: refusal(reply), facts: Vec::new() };
    };
    let says = words::answer(&answer);
    let mut facts = Vec::new();
    match operation.call {
        Call::Command => {
            let command = Command::decode(&operation.payload).expect("encoded by this file");
            found_by_command(&command, &answer, &mut facts);
        }
        Call::Query | Call::StaleQuery => {
            let query = Query::decode(&operation.payload).expect("encoded by this file");
            if let Query::Range(range) = query {
                found_in_range(&range, &answer, &mut facts);
            }
        }
    }
    if let Some(revision) = revision(&answer) {
        facts.push(Fact::Revision { revision: revision as u64 });
    }
    Told { says, facts }
}

/// A refusal, or nonsense, in words.
pub(super) fn refusal(reply: &Reply) -> String {
    match reply {
        Reply::Rejected { code, message } => format!("refused ({code}): {message}"),
        Reply::Accepted(bytes) => format!("{} bytes that do not decode", bytes.len()),
    }
}

/// If the key's version, revision or value stands so, then.
pub(super) fn compare(key: &str, target: CompareTarget) -> Compare {
    let result = CompareResult::Equal;
    Compare { key: key.as_bytes().to_vec(), range_end: Vec::new(), result, target }
}

/// A put that is part of a transaction.
pub(super) fn put_op(key: &str, value: &str) -> Op {
    Op::Put(Put::new(key, value))
}

/// A read that is part of a transaction.
pub(super) fn get_op(key: &str) -> Op {
    Op::Range(RangeRequest::key(key))
}

/// Bytes as they stand in facts and words.
pub(super) fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// What a command does if it is carried out and its condition holds.
fn asked(command: &Command) -> Vec<Fact> {
    match command {
        Command::Put(put) => vec![put_fact(put)],
        Command::DeleteRange(delete) => delete_fact(delete).into_iter().collect(),
        Command::Txn(txn) => {
            let writes = |op: &Op| matches!(op, Op::Put(_) | Op::DeleteRange(_) | Op::Txn(_));
            assert!(!txn.failure.iter().any(writes), "what else is done could not be told");
            txn.success.iter().filter_map(op_fact).collect()
        }
        Command::LeaseKeepAlive { id } => vec![Fact::LeaseKeep { lease: *id }],
        Command::LeaseRevoke { id } => vec![Fact::LeaseRevoke { lease: *id }],
        Command::Compact { .. } | Command::LeaseGrant { .. } => Vec::new(),
    }
}

fn op_fact(op: &Op) -> Option<Fact> {
    match op {
        Op::Put(put) => Some(put_fact(put)),
        Op::DeleteRange(delete) => delete_fact(delete),
        Op::Range(_) => None,
        Op::Txn(_) => unreachable!("no workload nests transactions"),
    }
}

fn put_fact(put: &Put) -> Fact {
    let lease = (put.lease != 0).then_some(put.lease);
    Fact::Put { key: text(&put.key), value: text(&put.value), lease }
}

/// Only of one key: which keys a range deletes is not known when it is asked for.
fn delete_fact(delete: &DeleteRange) -> Option<Fact> {
    assert!(delete.range_end.is_empty(), "no workload deletes ranges");
    Some(Fact::Delete { key: text(&delete.key) })
}

fn found_by_command(command: &Command, answer: &Answer, facts: &mut Vec<Fact>) {
    match (command, answer) {
        (Command::Txn(txn), Answer::Txn(done)) => {
            if !done.succeeded && !asked(command).is_empty() {
                facts.push(Fact::Skipped);
            }
            let ops = if done.succeeded { &txn.success } else { &txn.failure };
            for (op, response) in ops.iter().zip(&done.responses) {
                // What the same transaction writes would be told as found.
                if let Op::Range(range) = op
                    && !is_written(ops, range)
                {
                    found_in_range(range, response, facts);
                }
            }
        }
        (_, Answer::LeaseGrant { id, ttl, .. }) => {
            facts.push(Fact::LeaseGranted { lease: *id, ttl_ms: milliseconds(*ttl) });
        }
        (_, Answer::LeaseKeepAlive { id, ttl, .. }) => {
            facts.push(Fact::LeaseKept { lease: *id, ttl_ms: milliseconds(*ttl) });
        }
        _ => {}
    }
}

fn is_written(ops: &[Op], range: &RangeRequest) -> bool {
    ops.iter().any(|op| match op {
        Op::Put(put) => put.key == range.key,
        Op::DeleteRange(delete) => delete.key == range.key,
        Op::Range(_) | Op::Txn(_) => false,
    })
}

fn milliseconds(seconds: i64) -> u64 {
    u64::try_from(seconds).expect("kv has no negative time to live") * 1000
}

/// What is there now; an older revision says nothing about now.
fn found_in_range(range: &RangeRequest, answer: &Answer, facts: &mut Vec<Fact>) {
    let Answer::Range(found) = answer else { return };
    if range.revision > 0 {
        return;
    }
    for kv in &found.kvs {
        facts.push(Fact::Got {
            key: text(&kv.key),
            value: Some(text(&kv.value)),
            revision: kv.mod_revision as u64,
        });
    }
    if range.range_end.is_empty() && found.kvs.is_empty() {
        facts.push(Fact::Got { key: text(&range.key), value: None, revision: 0 });
    }
}

/// The store's revision that an answer tells.
pub(super) fn revision(answer: &Answer) -> Option<i64> {
    match answer {
        Answer::Put { revision, .. }
        | Answer::DeleteRange { revision, .. }
        | Answer::Compact { revision }
        | Answer::LeaseGrant { revision, .. }
        | Answer::LeaseRevoke { revision }
        | Answer::LeaseKeepAlive { revision, .. }
        | Answer::LeaseTimeToLive { revision, .. }
        | Answer::Leases { revision, .. } => Some(*revision),
        Answer::Range(range) => Some(range.revision),
        Answer::Txn(txn) => Some(txn.revision),
        Answer::Status(status) => Some(status.revision),
        Answer::History(history) => Some(history.revision),
    }
}

/// The query that tells everything that `kv` holds now: what states are told apart by in a
/// judgement key by key.
pub fn everything() -> Vec<u8> {
    Query::Range(RangeRequest::prefix(b"")).encode()
}

/// An answer of `kv` without what depends on other keys: the view for a judgement key by key
/// (`pgraft_judge`'s `MachineSpec::seen_as`). Answers that do not decode stay as they are.
pub fn without_revisions(_asked: &Asked, reply: &Reply) -> Reply {
    let Reply::Accepted(bytes) = reply else { return reply.clone() };
    match Answer::decode(bytes) {
        Ok(mut answer) => {
            words::forget_revisions(&mut answer);
            Reply::Accepted(answer.encode())
        }
        Err(_) => reply.clone(),
    }
}
