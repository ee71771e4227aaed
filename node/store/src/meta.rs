//! What state.db knows about itself: how far the log is applied, and the configuration then.
//!
//! Written in the same transaction as the rows, so both are always of the same entry.

use std::collections::BTreeSet;

use pgraft_replica::{ConfState, Index, NodeId, SnapshotMeta, Term};

use crate::decode::{Fields, Malformed};
use crate::digest::{AllTotals, decode_totals, encode_totals};
use crate::limits::CONF_NODES_MAX;

/// How far state.db is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The last applied entry.
    pub applied: Index,
    /// Its term.
    pub term: Term,
    /// The time of the log after that entry, Unix time in milliseconds; never goes back.
    pub time_ms: u64,
    /// The configuration after that entry.
    pub conf: ConfState,
}

impl Meta {
    /// What a snapshot of this state stands for.
    pub fn snapshot(&self) -> SnapshotMeta {
        SnapshotMeta { index: self.applied, term: self.term, conf: self.conf.clone() }
    }
}

/// index u64, term u64, time_ms u64, then four node lists: count u32 and ids u64 ascending.
pub(crate) fn encode_meta(meta: &Meta, out: &mut Vec<u8>) {
    out.extend_from_slice(&meta.applied.0.to_le_bytes());
    out.extend_from_slice(&meta.term.0.to_le_bytes());
    out.extend_from_slice(&meta.time_ms.to_le_bytes());
    let ConfState { voters, voters_outgoing, learners, learners_next } = &meta.conf;
    for nodes in [voters, voters_outgoing, learners, learners_next] {
        assert!(nodes.len() <= CONF_NODES_MAX, "{} nodes in one list", nodes.len());
        out.extend_from_slice(&(nodes.len() as u32).to_le_bytes());
        for node in nodes {
            out.extend_from_slice(&node.get().to_le_bytes());
        }
    }
}

pub(crate) fn decode_meta(fields: &mut Fields<'_>) -> Result<Meta, Malformed> {
    let applied = Index(fields.u64()?);
    let term = Term(fields.u64()?);
    let time_ms = fields.u64()?;
    let conf = ConfState {
        voters: decode_nodes(fields)?,
        voters_outgoing: decode_nodes(fields)?,
        learners: decode_nodes(fields)?,
        learners_next: decode_nodes(fields)?,
    };
    Ok(Meta { applied, term, time_ms, conf })
}

fn decode_nodes(fields: &mut Fields<'_>) -> Result<BTreeSet<NodeId>, Malformed> {
    let mut nodes = BTreeSet::new();
    for _ in 0..fields.count(CONF_NODES_MAX)? {
        let node = NodeId::new(fields.u64()?).ok_or_else(|| fields.bad("node id 0"))?;
        if nodes.last().is_some_and(|last| *last >= node) {
            return Err(fields.bad("node ids out of order"));
        }
        nodes.insert(node);
    }
    Ok(nodes)
}

/// The blob of state.db's meta row: generation u64, meta, totals, crc32c u32 over all before.
pub(crate) fn encode_row(generation: u64, meta: &Meta, totals: &AllTotals, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&generation.to_le_bytes());
    encode_meta(meta, out);
    encode_totals(totals, out);
    let crc = crc32c::crc32c(out);
    out.extend_from_slice(&crc.to_le_bytes());
}

pub(crate) fn decode_row(generation: u64, row: &[u8]) -> Result<(Meta, AllTotals), Malformed> {
    let Some((body, crc)) = row.split_last_chunk::<4>() else {
        return Err(Malformed { what: "cut short", at: row.len() });
    };
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return Err(Malformed { what: "checksum differs", at: body.len() });
    }
    let mut fields = Fields::new(body);
    if fields.u64()? != generation {
        return Err(fields.bad("generation differs from the file name"));
    }
    let meta = decode_meta(&mut fields)?;
    let totals = decode_totals(&mut fields)?;
    fields.end()?;
    Ok((meta, totals))
}
