//! Messages between replicas as bytes: fixed-width fields, little-endian, one encoding each.
//!
//! Entry data is not copied on the way in: the decoded message holds slices of the body. Not here:
//! whether a message makes sense to a replica; `pgraft-replica` sanitises it.

use std::collections::BTreeSet;

use bytes::Bytes;
use pgraft_replica::{
    ConfState, Entry, EntryKind, Index, Message, MessageKind, NodeId, SnapshotMeta, Term,
};

pub use crate::fields::CodecError;
use crate::fields::Fields;
use crate::limits::{CONTEXT_BYTES_MAX, ENTRIES_MAX, NODES_MAX};

const REJECT: u8 = 1;
const SNAPSHOT: u8 = 2;
/// Kind, flags, two reserved bytes, ten numbers, two counts.
const FIXED_BYTES: usize = 4 + 10 * 8 + 2 * 4;
/// Index, term, kind and length of an entry.
const ENTRY_BYTES: usize = 8 + 8 + 1 + 4;

const KINDS: [(u8, MessageKind); 10] = [
    (1, MessageKind::Append),
    (2, MessageKind::AppendResponse),
    (3, MessageKind::Vote),
    (4, MessageKind::VoteResponse),
    (5, MessageKind::PreVote),
    (6, MessageKind::PreVoteResponse),
    (7, MessageKind::Snapshot),
    (8, MessageKind::Heartbeat),
    (9, MessageKind::HeartbeatResponse),
    (10, MessageKind::TimeoutNow),
];

/// Bytes that [`encode`] will append.
pub fn encoded_len(message: &Message) -> usize {
    let entries: usize = message.entries.iter().map(|entry| ENTRY_BYTES + entry.data.len()).sum();
    let snapshot = message.snapshot.as_ref().map_or(0, |meta| {
        let ConfState { voters, voters_outgoing, learners, learners_next } = &meta.conf;
        let nodes = voters.len() + voters_outgoing.len() + learners.len() + learners_next.len();
        16 + 4 * 4 + 8 * nodes
    });
    FIXED_BYTES + message.context.len() + snapshot + entries
}

/// Appends the message to `out`.
///
/// # Panics
/// If a count of it does not fit 32 bits; the limits of the replica are far below.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    // No `..`: a new field must fail to compile until it is encoded.
    let Message {
        kind,
        from,
        to,
        term,
        log_term,
        index,
        commit,
        commit_term,
        entries,
        snapshot,
        request_snapshot,
        reject,
        reject_hint,
        context,
        priority,
    } = message;
    let code = KINDS.iter().find(|(_, known)| known == kind).expect("every kind is listed").0;
    let flags = if *reject { REJECT } else { 0 } | if snapshot.is_some() { SNAPSHOT } else { 0 };
    out.extend_from_slice(&[code, flags, 0, 0]);
    let numbers = [
        from.get(),
        to.get(),
        term.0,
        log_term.0,
        index.0,
        commit.0,
        commit_term.0,
        request_snapshot.0,
        reject_hint.0,
    ];
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&priority.to_le_bytes());
    put_count(out, context.len());
    put_count(out, entries.len());
    out.extend_from_slice(context);
    if let Some(meta) = snapshot {
        put_meta(out, meta);
    }
    for entry in entries {
        put_entry(out, entry);
    }
}

/// Reads a message. Entry data and context are slices of `body`.
///
/// # Errors
/// [`CodecError`] for anything that [`encode`] would not have written.
pub fn decode(body: Bytes) -> Result<Message, CodecError> {
    let mut fields = Fields::new(body);
    let code = fields.u8("kind")?;
    let kind = KINDS.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind);
    let kind = kind.ok_or(CodecError::Unknown { what: "message kind", found: code.into() })?;
    let flags = fields.u8("flags")?;
    if flags & !(REJECT | SNAPSHOT) != 0 {
        return Err(CodecError::Unknown { what: "message flags", found: flags.into() });
    }
    let reserved = fields.u16("reserved")?;
    if reserved != 0 {
        return Err(CodecError::Unknown { what: "reserved field", found: reserved.into() });
    }
    let (from, to) = (fields.node("sender")?, fields.node("receiver")?);
    let mut message = Message::new(kind, from, to, Term(fields.u64("term")?));
    message.log_term = Term(fields.u64("log term")?);
    message.index = Index(fields.u64("index")?);
    message.commit = Index(fields.u64("commit")?);
    message.commit_term = Term(fields.u64("commit term")?);
    message.request_snapshot = Index(fields.u64("request snapshot")?);
    message.reject_hint = Index(fields.u64("reject hint")?);
    message.priority = fields.i64("priority")?;
    message.reject = flags & REJECT != 0;
    let context = fields.count("bytes of context", 0, CONTEXT_BYTES_MAX)?;
    let entries = fields.count("entries", 0, ENTRIES_MAX)?;
    message.context = fields.bytes(context, "context")?;
    if flags & SNAPSHOT != 0 {
        message.snapshot = Some(take_meta(&mut fields)?);
    }
    // What the count claims must be there before memory is set aside for it.
    if fields.left() < entries * ENTRY_BYTES {
        return Err(CodecError::Truncated("entries"));
    }
    message.entries = (0..entries).map(|_| take_entry(&mut fields)).collect::<Result<_, _>>()?;
    fields.end()?;
    Ok(message)
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("far below the limits of a frame");
    out.extend_from_slice(&count.to_le_bytes());
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    let Entry { index, term, kind, data } = entry;
    out.extend_from_slice(&index.0.to_le_bytes());
    out.extend_from_slice(&term.0.to_le_bytes());
    out.push(match kind {
        EntryKind::Normal => 0,
        EntryKind::ConfChange => 1,
    });
    put_count(out, data.len());
    out.extend_from_slice(data);
}

fn take_entry(fields: &mut Fields) -> Result<Entry, CodecError> {
    let index = Index(fields.u64("entry index")?);
    let term = Term(fields.u64("entry term")?);
    let kind = match fields.u8("entry kind")? {
        0 => EntryKind::Normal,
        1 => EntryKind::ConfChange,
        other => return Err(CodecError::Unknown { what: "entry kind", found: other.into() }),
    };
    let len = fields.u32("entry length")?;
    let len = usize::try_from(len).map_err(|_| CodecError::Truncated("entry data"))?;
    Ok(Entry { index, term, kind, data: fields.bytes(len, "entry data")? })
}

fn put_meta(out: &mut Vec<u8>, meta: &SnapshotMeta) {
    let SnapshotMeta { index, term, conf } = meta;
    out.extend_from_slice(&index.0.to_le_bytes());
    out.extend_from_slice(&term.0.to_le_bytes());
    let ConfState { voters, voters_outgoing, learners, learners_next } = conf;
    for nodes in [voters, voters_outgoing, learners, learners_next] {
        put_count(out, nodes.len());
        for node in nodes {
            out.extend_from_slice(&node.get().to_le_bytes());
        }
    }
}

fn take_meta(fields: &mut Fields) -> Result<SnapshotMeta, CodecError> {
    Ok(SnapshotMeta {
        index: Index(fields.u64("snapshot index")?),
        term: Term(fields.u64("snapshot term")?),
        conf: ConfState {
            voters: take_nodes(fields)?,
            voters_outgoing: take_nodes(fields)?,
            learners: take_nodes(fields)?,
            learners_next: take_nodes(fields)?,
        },
    })
}

fn take_nodes(fields: &mut Fields) -> Result<BTreeSet<NodeId>, CodecError> {
    let count = fields.count("nodes", 8, NODES_MAX)?;
    let mut nodes = BTreeSet::new();
    for _ in 0..count {
        let node = fields.node("member")?;
        if nodes.last().is_some_and(|last| *last >= node) {
            return Err(CodecError::NotAscending);
        }
        nodes.insert(node);
    }
    Ok(nodes)
}

#[cfg(test)]
pub(crate) mod tests;
