//! Commands, queries, replies and events of the machine as values. [`crate::codec`] turns them
//! into bytes; what they mean is etcd's, and described in docs/KV.md.

/// What changes the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Writes a key.
    Put(Put),
    /// Deletes a key or a range of keys.
    DeleteRange(DeleteRange),
    /// Compares, then does one of two lists of operations; one revision for all of them.
    Txn(Txn),
    /// Forgets what was overwritten or deleted before a revision.
    Compact {
        /// Reads at revisions below it will be refused.
        revision: i64,
    },
    /// A new lease.
    LeaseGrant {
        /// 0 = the machine chooses.
        id: i64,
        /// Seconds; raised to [`crate::LEASE_TTL_SECONDS_MIN`].
        ttl: i64,
    },
    /// Ends a lease and deletes its keys.
    LeaseRevoke {
        /// Which.
        id: i64,
    },
    /// Gives a lease its full time again.
    LeaseKeepAlive {
        /// Which.
        id: i64,
    },
}

/// What only reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Keys of a range.
    Range(RangeRequest),
    /// How long a lease has left.
    LeaseTimeToLive {
        /// Which.
        id: i64,
        /// Whether to list its keys.
        keys: bool,
    },
    /// All leases.
    Leases,
    /// Numbers about the store.
    Status,
    /// What happened from a revision on: for watchers that begin in the past.
    History(HistoryRequest),
}

/// Writes a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// Not empty.
    pub key: Vec<u8>,
    /// May be empty.
    pub value: Vec<u8>,
    /// The lease to attach to, 0 = none (and detach from the old one).
    pub lease: i64,
    /// Whether to reply with the old pair.
    pub prev_kv: bool,
    /// Keep the value; the key must exist and `value` be empty.
    pub ignore_value: bool,
    /// Keep the lease; the key must exist and `lease` be 0.
    pub ignore_lease: bool,
}

impl Put {
    /// A plain write.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Put {
        Put { key: key.into(), value: value.into(), ..Put::default() }
    }
}

/// Deletes a key or a range of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRange {
    /// Not empty.
    pub key: Vec<u8>,
    /// Empty = only `key`; "\0" = from `key` on; otherwise `[key, range_end)`.
    pub range_end: Vec<u8>,
    /// Whether to reply with the old pairs.
    pub prev_kv: bool,
}

/// If `compare` holds then `success`, else `failure`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold; none = true.
    pub compare: Vec<Compare>,
    /// Done when they hold.
    pub success: Vec<Op>,
    /// Done when they do not.
    pub failure: Vec<Op>,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads; sees the writes of earlier operations.
    Range(RangeRequest),
    /// Writes.
    Put(Put),
    /// Deletes.
    DeleteRange(DeleteRange),
    /// A transaction in the transaction; its compares look at the state before the outermost.
    Txn(Txn),
}

/// A condition on one key, or on every key of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Not empty.
    pub key: Vec<u8>,
    /// As in [`RangeRequest`].
    pub range_end: Vec<u8>,
    /// How what is stored must stand to `target`.
    pub result: CompareResult,
    /// What is compared, and with what.
    pub target: CompareTarget,
}

/// How what is stored must stand to the given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareResult {
    /// Equal to it.
    Equal,
    /// Greater than it.
    Greater,
    /// Less than it.
    Less,
    /// Not equal to it.
    NotEqual,
}

/// What is compared, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    /// The version; 0 when the key is missing.
    Version(i64),
    /// The create revision; 0 when the key is missing.
    Create(i64),
    /// The mod revision; 0 when the key is missing.
    Mod(i64),
    /// The value; a missing key never compares.
    Value(Vec<u8>),
    /// The lease; 0 when the key is missing.
    Lease(i64),
}

/// Reads a range of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeRequest {
    /// Not empty.
    pub key: Vec<u8>,
    /// Empty = only `key`; "\0" = from `key` on; otherwise `[key, range_end)`.
    pub range_end: Vec<u8>,
    /// At most so many pairs; 0 or less = all.
    pub limit: i64,
    /// The state after this revision; 0 or less = now.
    pub revision: i64,
    /// Order of the pairs.
    pub sort_order: SortOrder,
    /// What is sorted by.
    pub sort_target: SortTarget,
    /// Leave the values out.
    pub keys_only: bool,
    /// Leave the pairs out and only count.
    pub count_only: bool,
    /// Only pairs with at least this mod revision; 0 = any. The next three likewise.
    pub min_mod_revision: i64,
    /// At most this mod revision.
    pub max_mod_revision: i64,
    /// At least this create revision.
    pub min_create_revision: i64,
    /// At most this create revision.
    pub max_create_revision: i64,
}

impl RangeRequest {
    /// One key, now.
    pub fn key(key: impl Into<Vec<u8>>) -> RangeRequest {
        RangeRequest { key: key.into(), ..RangeRequest::default() }
    }

    /// All keys that begin with `prefix`, now; all keys when it is empty.
    pub fn prefix(prefix: &[u8]) -> RangeRequest {
        let (key, range_end) = prefix_range(prefix);
        RangeRequest { key, range_end, ..RangeRequest::default() }
    }
}

impl DeleteRange {
    /// One key.
    pub fn key(key: impl Into<Vec<u8>>) -> DeleteRange {
        DeleteRange { key: key.into(), ..DeleteRange::default() }
    }

    /// All keys that begin with `prefix`; all keys when it is empty.
    pub fn prefix(prefix: &[u8]) -> DeleteRange {
        let (key, range_end) = prefix_range(prefix);
        DeleteRange { key, range_end, prev_kv: false }
    }
}

/// `key` and `range_end` for all keys that begin with `prefix`.
pub fn prefix_range(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let key = if prefix.is_empty() { vec![0] } else { prefix.to_vec() };
    let end = pgraft_sdk::prefix_end(prefix);
    (key, if end.is_empty() { vec![0] } else { end })
}

/// Order of the pairs of a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// By key, unless another target is given: then ascending.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Largest first.
    Descend,
}

/// What is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// The version.
    Version,
    /// The create revision.
    Create,
    /// The mod revision.
    Mod,
    /// The value.
    Value,
}

/// What happened from a revision on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryRequest {
    /// As in [`RangeRequest`].
    pub key: Vec<u8>,
    /// As in [`RangeRequest`].
    pub range_end: Vec<u8>,
    /// The first revision to look at.
    pub start_revision: i64,
}

/// A key with everything the store knows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Vec<u8>,
    /// Revision of the first put since the key was last absent.
    pub create_revision: i64,
    /// Revision of the last put.
    pub mod_revision: i64,
    /// Puts since the key was last absent; 1 at creation.
    pub version: i64,
    /// The attached lease, 0 = none.
    pub lease: i64,
    /// The value.
    pub value: Vec<u8>,
}

/// What commands and queries are answered with. `revision` is the store's at the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Of [`Command::Put`].
    Put {
        /// That of this put.
        revision: i64,
        /// The old pair, when asked for and there was one.
        prev_kv: Option<KeyValue>,
    },
    /// Of [`Command::DeleteRange`].
    DeleteRange {
        /// The store's.
        revision: i64,
        /// How many keys were deleted.
        deleted: i64,
        /// The old pairs, when asked for.
        prev_kvs: Vec<KeyValue>,
    },
    /// Of [`Query::Range`].
    Range(RangeReply),
    /// Of [`Command::Txn`].
    Txn(TxnReply),
    /// Of [`Command::Compact`].
    Compact {
        /// The store's.
        revision: i64,
    },
    /// Of [`Command::LeaseGrant`].
    LeaseGrant {
        /// The store's.
        revision: i64,
        /// Its id.
        id: i64,
        /// Its life in seconds, as granted.
        ttl: i64,
    },
    /// Of [`Command::LeaseRevoke`].
    LeaseRevoke {
        /// The store's.
        revision: i64,
    },
    /// Of [`Command::LeaseKeepAlive`].
    LeaseKeepAlive {
        /// The store's.
        revision: i64,
        /// Which lease.
        id: i64,
        /// Seconds from now; 0 = there is no such lease (any more).
        ttl: i64,
    },
    /// Of [`Query::LeaseTimeToLive`].
    LeaseTimeToLive {
        /// The store's.
        revision: i64,
        /// Which lease.
        id: i64,
        /// Seconds left; -1 = there is no such lease.
        ttl: i64,
        /// Its life in seconds, as granted.
        granted_ttl: i64,
        /// Its keys in order, when asked for.
        keys: Vec<Vec<u8>>,
    },
    /// Of [`Query::Leases`].
    Leases {
        /// The store's.
        revision: i64,
        /// In ascending order of ids as unsigned numbers.
        ids: Vec<i64>,
    },
    /// Of [`Query::Status`].
    Status(Status),
    /// Of [`Query::History`].
    History(HistoryReply),
}

/// Keys of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    /// The store's, also when an older one was read.
    pub revision: i64,
    /// The pairs.
    pub kvs: Vec<KeyValue>,
    /// The limit cut something off.
    pub more: bool,
    /// Keys in the range at that revision, before filters and limit.
    pub count: i64,
}

/// What a transaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnReply {
    /// The store's.
    pub revision: i64,
    /// Whether the compares held.
    pub succeeded: bool,
    /// One per operation done.
    pub responses: Vec<Reply>,
}

/// Numbers about the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The store's revision.
    pub revision: i64,
    /// Reads below it are refused; 0 = never compacted.
    pub compact_revision: i64,
    /// Whether a compaction still frees space.
    pub compacting: bool,
    /// Keys that exist.
    pub keys: u64,
    /// Deleted keys whose history is still kept.
    pub tombstones: u64,
    /// Changes kept, the current ones included.
    pub changes: u64,
    /// Leases.
    pub leases: u64,
}

/// Changes of a range, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryReply {
    /// The store's.
    pub revision: i64,
    /// Whole revisions only.
    pub events: Vec<Event>,
    /// Where to go on: everything before it was looked at.
    pub next_revision: i64,
}

/// One change of one key: the payload of the machine's events; their topic is the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The pair after it. Of a deleted key only `key` and `mod_revision` are set.
    pub kv: KeyValue,
    /// The mod revision of the pair that was replaced or deleted, 0 = there was none. A range at
    /// that revision finds it, unless compacted.
    pub prev_revision: i64,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Written.
    Put,
    /// Deleted.
    Delete,
}
