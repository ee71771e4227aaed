//! Commands, queries, replies and events as bytes. docs/FORMATS.md has the layout.
//!
//! Used by the machine itself, by gateways (SQL, command line, the etcd API) and by tests; the
//! node carries the bytes without knowing what a key is.

use pgraft_sdk::codec::{Reader, Writer};

pub use pgraft_sdk::codec::CodecError;

use crate::limits::TXN_DEPTH_MAX;
use crate::model::*;
use crate::rows::Change;

/// Version of all encodings in this file; the first byte of each.
pub const FORMAT: u8 = 1;

/// What each encoding begins with, apart from the bytes of keys and values; a guess that saves
/// growing the buffer.
const HEADER_BYTES: usize = 64;

impl Command {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = begin(match self {
            Command::Put(put) => put.key.len() + put.value.len(),
            _ => 0,
        });
        match self {
            Command::Put(put) => write_put(writer.u8(1), put),
            Command::DeleteRange(delete) => write_delete(writer.u8(2), delete),
            Command::Txn(txn) => write_txn(writer.u8(3), txn),
            Command::Compact { revision } => writer.u8(4).i64(*revision),
            Command::LeaseGrant { id, ttl } => writer.u8(5).i64(*id).i64(*ttl),
            Command::LeaseRevoke { id } => writer.u8(6).i64(*id),
            Command::LeaseKeepAlive { id } => writer.u8(7).i64(*id),
        };
        writer.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When the bytes are not what [`Command::encode`] writes, or transactions are nested deeper
    /// than [`TXN_DEPTH_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<Command, CodecError> {
        let mut reader = open(bytes)?;
        let command = match reader.u8("command")? {
            1 => Command::Put(read_put(&mut reader)?),
            2 => Command::DeleteRange(read_delete(&mut reader)?),
            3 => Command::Txn(read_txn(&mut reader, 1)?),
            4 => Command::Compact { revision: reader.i64("revision")? },
            5 => Command::LeaseGrant { id: reader.i64("lease")?, ttl: reader.i64("ttl")? },
            6 => Command::LeaseRevoke { id: reader.i64("lease")? },
            7 => Command::LeaseKeepAlive { id: reader.i64("lease")? },
            _ => return Err(reader.error("command")),
        };
        reader.end()?;
        Ok(command)
    }
}

impl Query {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = begin(0);
        match self {
            Query::Range(range) => write_range(writer.u8(1), range),
            Query::LeaseTimeToLive { id, keys } => writer.u8(2).i64(*id).bool(*keys),
            Query::Leases => writer.u8(3),
            Query::Status => writer.u8(4),
            Query::History(history) => writer
                .u8(5)
                .bytes(&history.key)
                .bytes(&history.range_end)
                .i64(history.start_revision),
        };
        writer.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When the bytes are not what [`Query::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Query, CodecError> {
        let mut reader = open(bytes)?;
        let query = match reader.u8("query")? {
            1 => Query::Range(read_range(&mut reader)?),
            2 => Query::LeaseTimeToLive { id: reader.i64("lease")?, keys: reader.bool("keys")? },
            3 => Query::Leases,
            4 => Query::Status,
            5 => Query::History(HistoryRequest {
                key: reader.bytes("key")?.to_vec(),
                range_end: reader.bytes("range end")?.to_vec(),
                start_revision: reader.i64("start revision")?,
            }),
            _ => return Err(reader.error("query")),
        };
        reader.end()?;
        Ok(query)
    }
}

impl Reply {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = begin(0);
        write_reply(&mut writer, self);
        writer.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When the bytes are not what [`Reply::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Reply, CodecError> {
        let mut reader = open(bytes)?;
        let reply = read_reply(&mut reader, 0)?;
        reader.end()?;
        Ok(reply)
    }
}

impl Event {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = begin(self.kv.key.len() + self.kv.value.len());
        write_event(&mut writer, self);
        writer.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When the bytes are not what [`Event::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Event, CodecError> {
        let mut reader = open(bytes)?;
        let event = read_event(&mut reader)?;
        reader.end()?;
        Ok(event)
    }
}

fn begin(content_bytes: usize) -> Writer {
    let mut writer = Writer::with_capacity(HEADER_BYTES + content_bytes);
    writer.u8(FORMAT);
    writer
}

fn open(bytes: &[u8]) -> Result<Reader<'_>, CodecError> {
    let mut reader = Reader::new(bytes);
    match reader.u8("format 1")? {
        FORMAT => Ok(reader),
        _ => Err(reader.error("format 1")),
    }
}

fn write_put<'a>(writer: &'a mut Writer, put: &Put) -> &'a mut Writer {
    writer
        .bytes(&put.key)
        .bytes(&put.value)
        .i64(put.lease)
        .bool(put.prev_kv)
        .bool(put.ignore_value)
        .bool(put.ignore_lease)
}

fn read_put(reader: &mut Reader<'_>) -> Result<Put, CodecError> {
    Ok(Put {
        key: reader.bytes("key")?.to_vec(),
        value: reader.bytes("value")?.to_vec(),
        lease: reader.i64("lease")?,
        prev_kv: reader.bool("prev_kv")?,
        ignore_value: reader.bool("ignore_value")?,
        ignore_lease: reader.bool("ignore_lease")?,
    })
}

fn write_delete<'a>(writer: &'a mut Writer, delete: &DeleteRange) -> &'a mut Writer {
    writer.bytes(&delete.key).bytes(&delete.range_end).bool(delete.prev_kv)
}

fn read_delete(reader: &mut Reader<'_>) -> Result<DeleteRange, CodecError> {
    Ok(DeleteRange {
        key: reader.bytes("key")?.to_vec(),
        range_end: reader.bytes("range end")?.to_vec(),
        prev_kv: reader.bool("prev_kv")?,
    })
}

fn write_range<'a>(writer: &'a mut Writer, range: &RangeRequest) -> &'a mut Writer {
    writer
        .bytes(&range.key)
        .bytes(&range.range_end)
        .i64(range.limit)
        .i64(range.revision)
        .u8(range.sort_order as u8)
        .u8(range.sort_target as u8)
        .bool(range.keys_only)
        .bool(range.count_only)
        .i64(range.min_mod_revision)
        .i64(range.max_mod_revision)
        .i64(range.min_create_revision)
        .i64(range.max_create_revision)
}

fn read_range(reader: &mut Reader<'_>) -> Result<RangeRequest, CodecError> {
    Ok(RangeRequest {
        key: reader.bytes("key")?.to_vec(),
        range_end: reader.bytes("range end")?.to_vec(),
        limit: reader.i64("limit")?,
        revision: reader.i64("revision")?,
        sort_order: match reader.u8("sort order")? {
            0 => SortOrder::None,
            1 => SortOrder::Ascend,
            2 => SortOrder::Descend,
            _ => return Err(reader.error("sort order")),
        },
        sort_target: match reader.u8("sort target")? {
            0 => SortTarget::Key,
            1 => SortTarget::Version,
            2 => SortTarget::Create,
            3 => SortTarget::Mod,
            4 => SortTarget::Value,
            _ => return Err(reader.error("sort target")),
        },
        keys_only: reader.bool("keys_only")?,
        count_only: reader.bool("count_only")?,
        min_mod_revision: reader.i64("min_mod_revision")?,
        max_mod_revision: reader.i64("max_mod_revision")?,
        min_create_revision: reader.i64("min_create_revision")?,
        max_create_revision: reader.i64("max_create_revision")?,
    })
}

fn write_txn<'a>(writer: &'a mut Writer, txn: &Txn) -> &'a mut Writer {
    writer
        .list(&txn.compare, write_compare)
        .list(&txn.success, write_op)
        .list(&txn.failure, write_op)
}

fn read_txn(reader: &mut Reader<'_>, depth: usize) -> Result<Txn, CodecError> {
    if depth > TXN_DEPTH_MAX {
        return Err(reader.error("a transaction that is not nested so deep"));
    }
    Ok(Txn {
        compare: reader.list("compares", read_compare)?,
        success: reader.list("operations", |reader| read_op(reader, depth))?,
        failure: reader.list("operations", |reader| read_op(reader, depth))?,
    })
}

fn write_op(writer: &mut Writer, op: &Op) {
    match op {
        Op::Range(range) => write_range(writer.u8(1), range),
        Op::Put(put) => write_put(writer.u8(2), put),
        Op::DeleteRange(delete) => write_delete(writer.u8(3), delete),
        Op::Txn(txn) => write_txn(writer.u8(4), txn),
    };
}

fn read_op(reader: &mut Reader<'_>, depth: usize) -> Result<Op, CodecError> {
    Ok(match reader.u8("operation")? {
        1 => Op::Range(read_range(reader)?),
        2 => Op::Put(read_put(reader)?),
        3 => Op::DeleteRange(read_delete(reader)?),
        4 => Op::Txn(read_txn(reader, depth + 1)?),
        _ => return Err(reader.error("operation")),
    })
}

fn write_compare(writer: &mut Writer, compare: &Compare) {
    writer.bytes(&compare.key).bytes(&compare.range_end).u8(compare.result as u8);
    match &compare.target {
        CompareTarget::Version(version) => writer.u8(0).i64(*version),
        CompareTarget::Create(revision) => writer.u8(1).i64(*revision),
        CompareTarget::Mod(revision) => writer.u8(2).i64(*revision),
        CompareTarget::Value(value) => writer.u8(3).bytes(value),
        CompareTarget::Lease(lease) => writer.u8(4).i64(*lease),
    };
}

fn read_compare(reader: &mut Reader<'_>) -> Result<Compare, CodecError> {
    Ok(Compare {
        key: reader.bytes("key")?.to_vec(),
        range_end: reader.bytes("range end")?.to_vec(),
        result: match reader.u8("compare result")? {
            0 => CompareResult::Equal,
            1 => CompareResult::Greater,
            2 => CompareResult::Less,
            3 => CompareResult::NotEqual,
            _ => return Err(reader.error("compare result")),
        },
        target: match reader.u8("compare target")? {
            0 => CompareTarget::Version(reader.i64("version")?),
            1 => CompareTarget::Create(reader.i64("create revision")?),
            2 => CompareTarget::Mod(reader.i64("mod revision")?),
            3 => CompareTarget::Value(reader.bytes("value")?.to_vec()),
            4 => CompareTarget::Lease(reader.i64("lease")?),
            _ => return Err(reader.error("compare target")),
        },
    })
}

fn write_key_value(writer: &mut Writer, kv: &KeyValue) {
    writer
        .bytes(&kv.key)
        .i64(kv.create_revision)
        .i64(kv.mod_revision)
        .i64(kv.version)
        .i64(kv.lease)
        .bytes(&kv.value);
}

/// As [`Event::encode`], straight from the row of a change: every put does this.
pub(crate) fn encode_event(
    kind: EventKind,
    change: &Change<'_>,
    main: u64,
    prev_main: u64,
) -> Vec<u8> {
    let mut writer = begin(change.key.len() + change.value.len());
    writer
        .u8(kind as u8)
        .bytes(change.key)
        .i64(change.create as i64)
        .i64(main as i64)
        .i64(change.version as i64)
        .i64(change.lease)
        .bytes(change.value)
        .i64(prev_main as i64);
    writer.finish()
}

fn read_key_value(reader: &mut Reader<'_>) -> Result<KeyValue, CodecError> {
    Ok(KeyValue {
        key: reader.bytes("key")?.to_vec(),
        create_revision: reader.i64("create revision")?,
        mod_revision: reader.i64("mod revision")?,
        version: reader.i64("version")?,
        lease: reader.i64("lease")?,
        value: reader.bytes("value")?.to_vec(),
    })
}

fn write_event(writer: &mut Writer, event: &Event) {
    writer.u8(event.kind as u8);
    write_key_value(writer, &event.kv);
    writer.i64(event.prev_revision);
}

fn read_event(reader: &mut Reader<'_>) -> Result<Event, CodecError> {
    Ok(Event {
        kind: match reader.u8("event")? {
            0 => EventKind::Put,
            1 => EventKind::Delete,
            _ => return Err(reader.error("event")),
        },
        kv: read_key_value(reader)?,
        prev_revision: reader.i64("previous revision")?,
    })
}

fn write_reply(writer: &mut Writer, reply: &Reply) {
    match reply {
        Reply::Put { revision, prev_kv } => {
            writer.u8(1).i64(*revision).option(prev_kv.as_ref(), write_key_value)
        }
        Reply::DeleteRange { revision, deleted, prev_kvs } => {
            writer.u8(2).i64(*revision).i64(*deleted).list(prev_kvs, write_key_value)
        }
        Reply::Range(range) => writer
            .u8(3)
            .i64(range.revision)
            .list(&range.kvs, write_key_value)
            .bool(range.more)
            .i64(range.count),
        Reply::Txn(txn) => {
            writer.u8(4).i64(txn.revision).bool(txn.succeeded).list(&txn.responses, write_reply)
        }
        Reply::Compact { revision } => writer.u8(5).i64(*revision),
        Reply::LeaseGrant { revision, id, ttl } => writer.u8(6).i64(*revision).i64(*id).i64(*ttl),
        Reply::LeaseRevoke { revision } => writer.u8(7).i64(*revision),
        Reply::LeaseKeepAlive { revision, id, ttl } => {
            writer.u8(8).i64(*revision).i64(*id).i64(*ttl)
        }
        Reply::LeaseTimeToLive { revision, id, ttl, granted_ttl, keys } => {
            writer.u8(9).i64(*revision).i64(*id).i64(*ttl).i64(*granted_ttl).list(
                keys,
                |writer, key| {
                    writer.bytes(key);
                },
            )
        }
        Reply::Leases { revision, ids } => writer.u8(10).i64(*revision).list(ids, |writer, id| {
            writer.i64(*id);
        }),
        Reply::Status(status) => write_status(writer.u8(11), status),
        Reply::History(history) => writer
            .u8(12)
            .i64(history.revision)
            .list(&history.events, write_event)
            .i64(history.next_revision),
    };
}

fn read_reply(reader: &mut Reader<'_>, depth: usize) -> Result<Reply, CodecError> {
    if depth > TXN_DEPTH_MAX {
        return Err(reader.error("a reply that is not nested so deep"));
    }
    let kind = reader.u8("reply")?;
    if kind == 11 {
        return Ok(Reply::Status(read_status(reader)?));
    }
    let revision = reader.i64("revision")?;
    Ok(match kind {
        1 => Reply::Put { revision, prev_kv: reader.option("pair", read_key_value)? },
        2 => Reply::DeleteRange {
            revision,
            deleted: reader.i64("deleted")?,
            prev_kvs: reader.list("pairs", read_key_value)?,
        },
        3 => Reply::Range(RangeReply {
            revision,
            kvs: reader.list("pairs", read_key_value)?,
            more: reader.bool("more")?,
            count: reader.i64("count")?,
        }),
        4 => Reply::Txn(TxnReply {
            revision,
            succeeded: reader.bool("succeeded")?,
            responses: reader.list("replies", |reader| read_reply(reader, depth + 1))?,
        }),
        5 => Reply::Compact { revision },
        6 => Reply::LeaseGrant { revision, id: reader.i64("lease")?, ttl: reader.i64("ttl")? },
        7 => Reply::LeaseRevoke { revision },
        8 => Reply::LeaseKeepAlive { revision, id: reader.i64("lease")?, ttl: reader.i64("ttl")? },
        9 => Reply::LeaseTimeToLive {
            revision,
            id: reader.i64("lease")?,
            ttl: reader.i64("ttl")?,
            granted_ttl: reader.i64("granted ttl")?,
            keys: reader.list("keys", |reader| reader.bytes("key").map(<[u8]>::to_vec))?,
        },
        10 => Reply::Leases { revision, ids: reader.list("leases", |reader| reader.i64("lease"))? },
        12 => Reply::History(HistoryReply {
            revision,
            events: reader.list("events", read_event)?,
            next_revision: reader.i64("next revision")?,
        }),
        _ => return Err(reader.error("reply")),
    })
}

fn write_status<'a>(writer: &'a mut Writer, status: &Status) -> &'a mut Writer {
    writer
        .i64(status.revision)
        .i64(status.compact_revision)
        .bool(status.compacting)
        .u64(status.keys)
        .u64(status.tombstones)
        .u64(status.changes)
        .u64(status.leases)
}

fn read_status(reader: &mut Reader<'_>) -> Result<Status, CodecError> {
    Ok(Status {
        revision: reader.i64("revision")?,
        compact_revision: reader.i64("compact revision")?,
        compacting: reader.bool("compacting")?,
        keys: reader.u64("keys")?,
        tombstones: reader.u64("tombstones")?,
        changes: reader.u64("changes")?,
        leases: reader.u64("leases")?,
    })
}
