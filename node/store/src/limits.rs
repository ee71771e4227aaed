//! The limits of the store, each with its unit, related at compile time.

/// Bytes of a page of raft.db.
pub const LOG_PAGE_BYTES: u32 = 8192;
/// Bytes of a page of state.db.
pub const STATE_PAGE_BYTES: u32 = 4096;
/// KiB of page cache of the connection of raft.db.
pub const LOG_CACHE_KIB: u32 = 2048;
/// KiB of page cache of the writer of state.db.
pub const STATE_CACHE_KIB: u32 = 8192;
/// KiB of page cache of each other connection to state.db.
pub const READER_CACHE_KIB: u32 = 2048;
/// Rows of the log deleted in one transaction.
pub const TRUNCATE_ROWS_MAX: u64 = 2_000;
/// Bytes in raft.db's WAL above which an idle writer checkpoints.
pub const LOG_WAL_IDLE_BYTES: u64 = 4 << 20;
/// Bytes in raft.db's WAL above which a write checkpoints, idle or not.
pub const LOG_WAL_FORCED_BYTES: u64 = 32 << 20;
/// Bytes above which a WAL file is cut when it starts over.
pub const WAL_KEEP_BYTES: u64 = 64 << 20;
/// Bytes of state.db's WAL above which the checkpointer makes it start over.
pub const STATE_WAL_RESTART_BYTES: u64 = 64 << 20;
/// Bytes of one entry's data in the log.
pub const ENTRY_BYTES_MAX: usize = 8 << 20;
/// Bytes of the genesis kept in raft.db.
pub const GENESIS_BYTES_MAX: usize = 16 << 20;
/// Bytes of a key in state.db; machines are held to less by the host.
pub const KEY_BYTES_MAX: usize = 4 << 10;
/// Bytes of a value in state.db; machines are held to less by the host.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// Keyspaces in state.db.
pub const MACHINES_MAX: usize = 4_096;
/// Nodes in each list of a configuration.
pub const CONF_NODES_MAX: usize = 4_096;
/// Bytes of old rows that a savepoint copies before it leaves the rest to SQLite's savepoints.
pub(crate) const UNDO_BYTES_MAX: usize = 1 << 20;
/// Nested savepoints.
pub const SAVEPOINTS_MAX: usize = 64;
/// Bytes of one snapshot chunk, header included.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Bytes of a chunk's header.
pub const CHUNK_HEADER_BYTES: usize = 24;
/// Bytes of keys and values in one snapshot.
pub const SNAPSHOT_BYTES_MAX: u64 = 64 << 30;
/// Milliseconds the writer of state.db waits for a checkpoint that restarts the WAL.
pub const WRITER_BUSY_MS: u64 = 10_000;
/// Bytes of the ballast file.
pub const BALLAST_BYTES: u64 = 64 << 20;
/// The ballast is created only when this many times its size is free.
pub const BALLAST_FREE_FACTOR: u64 = 8;
/// Milliseconds before the first retry on a full disk; doubles with each.
pub const FULL_RETRY_MS_MIN: u64 = 100;
/// Milliseconds on a full disk after which the node gives up.
pub const FULL_STOP_MS: u64 = 10_000;
/// Generations looked for on a simulated disk, which cannot list its files.
pub const GENERATIONS_PROBED_MAX: u64 = 256;

const _: () = {
    assert!(LOG_WAL_IDLE_BYTES < LOG_WAL_FORCED_BYTES);
    assert!(LOG_WAL_FORCED_BYTES < WAL_KEEP_BYTES);
    assert!(ENTRY_BYTES_MAX >= pgraft_replica::limits::COMMAND_BYTES_MAX);
    // Header, trailer and row headers must fit a chunk.
    assert!(CHUNK_HEADER_BYTES + 36 * MACHINES_MAX + 64 < CHUNK_BYTES_MAX);
    assert!(CHUNK_HEADER_BYTES + 4 * (4 + 8 * CONF_NODES_MAX) + 64 < CHUNK_BYTES_MAX);
    assert!(FULL_RETRY_MS_MIN < FULL_STOP_MS);
};
