//! Replies and events as text.

use std::fmt::Write as _;

use crate::model::*;

/// Bytes of a key or value that are shown.
const SHOWN_BYTES_MAX: usize = 40;
/// Pairs of a range that are shown.
const SHOWN_PAIRS_MAX: usize = 20;

fn text(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN_BYTES_MAX {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    format!("\"{}...\" ({} bytes)", bytes[..8].escape_ascii(), bytes.len())
}

fn pair(kv: &KeyValue) -> String {
    let KeyValue { key, create_revision, mod_revision, version, lease, value } = kv;
    let lease = if *lease == 0 { String::new() } else { format!(" lease={lease}") };
    format!(
        "{} = {} create={create_revision} mod={mod_revision} version={version}{lease}",
        text(key),
        text(value),
    )
}

pub(super) fn show_event(event: &Event) -> String {
    let Event { kind, kv, prev_revision } = event;
    let prev = if *prev_revision == 0 { String::new() } else { format!(" prev={prev_revision}") };
    match kind {
        EventKind::Put => format!("put {}{prev}", pair(kv)),
        EventKind::Delete => {
            let bare = KeyValue {
                key: kv.key.clone(),
                mod_revision: kv.mod_revision,
                ..KeyValue::default()
            };
            assert_eq!(*kv, bare, "a deletion carries key and mod revision only");
            format!("delete {} mod={}{prev}", text(&kv.key), kv.mod_revision)
        }
    }
}

fn show_pairs(told: &mut String, kvs: &[KeyValue], depth: usize) {
    let indent = "  ".repeat(depth);
    for kv in kvs.iter().take(SHOWN_PAIRS_MAX) {
        *told += &format!("{indent}{}\n", pair(kv));
    }
    if kvs.len() > SHOWN_PAIRS_MAX {
        *told += &format!("{indent}... {} pairs in all\n", kvs.len());
    }
}

/// One line for the reply, and indented ones for what it holds.
pub(super) fn show_reply(told: &mut String, reply: &Reply, depth: usize) {
    let line = match reply {
        Reply::Put { revision, .. } => format!("put rev={revision}"),
        Reply::DeleteRange { revision, deleted, .. } => {
            format!("deleted {deleted} rev={revision}")
        }
        Reply::Range(range) => {
            let more = if range.more { " more" } else { "" };
            format!("range rev={} count={}{more}", range.revision, range.count)
        }
        Reply::Txn(txn) => {
            let branch = if txn.succeeded { "then" } else { "else" };
            format!("txn {branch} rev={}", txn.revision)
        }
        Reply::Compact { revision } => format!("compacted rev={revision}"),
        Reply::LeaseGrant { revision, id, ttl } => format!("granted {id} ttl={ttl} rev={revision}"),
        Reply::LeaseRevoke { revision } => format!("revoked rev={revision}"),
        Reply::LeaseKeepAlive { revision, id, ttl } => {
            format!("kept {id} ttl={ttl} rev={revision}")
        }
        Reply::LeaseTimeToLive { revision, id, ttl, granted_ttl, .. } => {
            format!("lease {id} ttl={ttl} granted={granted_ttl} rev={revision}")
        }
        Reply::Leases { revision, ids } => format!("leases {ids:?} rev={revision}"),
        Reply::Status(status) => format!(
            "status rev={} compacted={}{} keys={} tombstones={} changes={} leases={}",
            status.revision,
            status.compact_revision,
            if status.compacting { " compacting" } else { "" },
            status.keys,
            status.tombstones,
            status.changes,
            status.leases,
        ),
        Reply::History(history) => {
            format!("history rev={} next={}", history.revision, history.next_revision)
        }
    };
    *told += &format!("{}{line}\n", "  ".repeat(depth));
    match reply {
        Reply::Put { prev_kv: Some(kv), .. } => {
            *told += &format!("{}prev {}\n", "  ".repeat(depth + 1), pair(kv));
        }
        Reply::DeleteRange { prev_kvs, .. } => show_pairs(told, prev_kvs, depth + 1),
        Reply::Range(range) => show_pairs(told, &range.kvs, depth + 1),
        Reply::Txn(txn) => {
            txn.responses.iter().for_each(|reply| show_reply(told, reply, depth + 1));
        }
        Reply::LeaseTimeToLive { keys, .. } => {
            for key in keys {
                *told += &format!("  {}\n", text(key));
            }
        }
        Reply::History(history) => {
            for event in history.events.iter().take(SHOWN_PAIRS_MAX) {
                *told += &format!("  {}\n", show_event(event));
            }
            if history.events.len() > SHOWN_PAIRS_MAX {
                let _infallible = writeln!(told, "  ... {} events in all", history.events.len());
            }
        }
        _ => {}
    }
}
