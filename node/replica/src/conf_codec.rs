//! Configuration changes as bytes in the log: the protobuf encoding of `ConfChangeV2`, because
//! raft-rs parses it when a change is proposed.
//!
//! Hand-written and strict: the parser of raft-rs follows unknown groups until the stack ends
//! (RUSTSEC-2024-0437), so it must only ever see what [`encode`] wrote or [`decode`] accepted.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{ConfChange, ConfChangeKind, NodeId};

// Tags: field number << 3 | wire type (0 varint, 2 length-delimited).
const TRANSITION: u8 = 1 << 3;
const CHANGES: u8 = 2 << 3 | 2;
const CONTEXT: u8 = 3 << 3 | 2;
const CHANGE_TYPE: u8 = 1 << 3;
const CHANGE_NODE: u8 = 2 << 3;
const EXPLICIT: u64 = 2;

/// The bytes for the log; empty for leaving a joint configuration.
pub(crate) fn encode(change: &ConfChange) -> Bytes {
    let mut out = BytesMut::new();
    if change.changes.len() > 1 {
        out.put_u8(TRANSITION);
        put_varint(&mut out, EXPLICIT);
    }
    for (kind, id) in &change.changes {
        let mut single = BytesMut::new();
        let kind = kind_number(*kind);
        if kind != 0 {
            single.put_u8(CHANGE_TYPE);
            put_varint(&mut single, kind);
        }
        single.put_u8(CHANGE_NODE);
        put_varint(&mut single, id.get());
        out.put_u8(CHANGES);
        put_varint(&mut out, single.len() as u64);
        out.put_slice(&single);
    }
    if !change.context.is_empty() {
        out.put_u8(CONTEXT);
        put_varint(&mut out, change.context.len() as u64);
        out.put_slice(&change.context);
    }
    out.freeze()
}

/// Reads what [`encode`] wrote, and nothing else: `None` for any other bytes.
pub(crate) fn decode(data: &Bytes) -> Option<ConfChange> {
    let mut change = ConfChange::default();
    let mut rest = &data[..];
    while let Some((&tag, after)) = rest.split_first() {
        rest = after;
        match tag {
            TRANSITION => {
                take_varint(&mut rest)?;
            }
            CHANGES => change.changes.push(decode_single(take_block(&mut rest)?)?),
            CONTEXT => change.context = data.slice_ref(take_block(&mut rest)?),
            _ => return None,
        }
    }
    // One spelling per change: equal changes are equal bytes on every replica.
    (encode(&change) == data).then_some(change)
}

fn decode_single(mut rest: &[u8]) -> Option<(ConfChangeKind, NodeId)> {
    let (mut kind, mut node) = (0, 0);
    while let Some((&tag, after)) = rest.split_first() {
        rest = after;
        match tag {
            CHANGE_TYPE => kind = take_varint(&mut rest)?,
            CHANGE_NODE => node = take_varint(&mut rest)?,
            _ => return None,
        }
    }
    let kind = match kind {
        0 => ConfChangeKind::AddVoter,
        1 => ConfChangeKind::Remove,
        2 => ConfChangeKind::AddLearner,
        _ => return None,
    };
    Some((kind, NodeId::new(node)?))
}

fn kind_number(kind: ConfChangeKind) -> u64 {
    match kind {
        ConfChangeKind::AddVoter => 0,
        ConfChangeKind::Remove => 1,
        ConfChangeKind::AddLearner => 2,
    }
}

fn put_varint(out: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    out.put_u8(u8::try_from(number).expect("seven bits are left"));
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_block<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let (block, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(block)
}
