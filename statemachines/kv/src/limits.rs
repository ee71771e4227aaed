//! Every limit of the machine, with its unit.

/// Largest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1 << 10;
/// Largest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Largest encoded command, in bytes (etcd: 1.5 MiB).
pub const REQUEST_BYTES_MAX: usize = (1 << 20) + (1 << 19);
/// Operations of one transaction: the largest of compares, success and failure; nested
/// transactions share what their parent leaves.
pub const TXN_OPS_MAX: usize = 128;
/// Levels of nested transactions. Reading and running them is recursive, and a module's stack
/// is small.
pub const TXN_DEPTH_MAX: usize = 16;
/// Shortest life of a lease, in seconds; shorter wishes are raised to it. etcd: one and a half
/// election timeouts.
pub const LEASE_TTL_SECONDS_MIN: i64 = 2;
/// Longest life of a lease, in seconds; as in etcd.
pub const LEASE_TTL_SECONDS_MAX: i64 = 9_000_000_000;
/// Keys that one request changes.
pub const REQUEST_CHANGES_MAX: u32 = 10_000;
/// Bytes of the keys that one request changes, so that its revision fits in one answer.
pub const REQUEST_CHANGES_BYTES_MAX: usize = 3 << 20;
/// Keys that the end of a lease deletes in one revision; the rest follows in later ones.
pub const LEASE_KEYS_PER_REVISION_MAX: usize = 3000;
/// Leases that end in one wake-up, as in etcd; the rest follows in the next one.
pub const LEASES_ENDED_PER_WAKE_MAX: usize = 500;
/// Revision rows that one step of a compaction looks at.
pub const COMPACTION_STEP_ROWS_MAX: u32 = 1000;
/// Bytes of revision rows that one step of a compaction looks at.
pub const COMPACTION_STEP_BYTES_MAX: u32 = 1 << 20;
/// Log time between two steps of a compaction, in ms.
pub const COMPACTION_PAUSE_MS: u64 = 10;
/// Events that one answer to a question for history holds; the last revision is whole.
pub const HISTORY_EVENTS_MAX: usize = 1000;
/// Bytes of keys and values after which an answer to a question for history stops.
pub const HISTORY_BYTES_MAX: usize = 512 << 10;
/// Changes that one answer to a question for history looks at.
pub const HISTORY_CHANGES_MAX: usize = 20_000;

const _: () = {
    // What the host stores per row (statemachines/wit: 2 KiB and 2 MiB) must hold our rows: a key
    // with a prefix and a lease id, and a value with its key and header.
    assert!(KEY_BYTES_MAX + 16 <= 2 << 10);
    assert!(VALUE_BYTES_MAX + KEY_BYTES_MAX + 128 <= 2 << 20);
    assert!(KEY_BYTES_MAX + VALUE_BYTES_MAX < REQUEST_BYTES_MAX);
    // A wake-up may end one lease of that size, and others with nearly as many keys before it.
    assert!(2 * LEASE_KEYS_PER_REVISION_MAX < REQUEST_CHANGES_MAX as usize);
    assert!(LEASE_KEYS_PER_REVISION_MAX * KEY_BYTES_MAX <= REQUEST_CHANGES_BYTES_MAX);
};
