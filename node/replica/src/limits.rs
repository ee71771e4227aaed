//! The limits of the replica, each with its unit, related at compile time.

/// Milliseconds of one tick.
pub const TICK_MS: u64 = 10;
/// Largest command a client may propose.
pub const COMMAND_BYTES_MAX: usize = 2 << 20;
/// Commands packed into one entry.
pub const PACK_COMMANDS_MAX: usize = 256;
/// Bytes of commands packed into one entry; one larger command has an entry of its own.
pub const PACK_BYTES_MAX: usize = 128 << 10;
/// Data bytes in one append message; one larger entry has a message of its own.
pub const APPEND_BYTES_MAX: u64 = 128 << 10;
/// Append messages in flight to one follower.
pub const APPENDS_IN_FLIGHT_MAX: usize = 64;
/// Bytes proposed and not yet committed.
pub const UNCOMMITTED_BYTES_MAX: u64 = 8 << 20;
/// Bytes handed to the log writer and not yet durable.
pub const UNPERSISTED_BYTES_MAX: usize = 8 << 20;
/// Bytes handed to the state machine and not yet applied.
pub const UNAPPLIED_BYTES_MAX: usize = 8 << 20;
/// Bytes of recent entries kept in memory.
pub const CACHE_BYTES_MAX: usize = 8 << 20;
/// Reads waiting for a quorum.
pub const READS_MAX: usize = 65_536;
/// Entries kept in the log behind the slowest active follower.
pub const KEEP_ENTRIES: u64 = 5_000;
/// A learner this close to the end of the log is promoted.
pub const PROMOTE_LAG_ENTRIES_MAX: u64 = 1_000;
/// A follower this close may be given leadership.
pub const TRANSFER_LAG_ENTRIES_MAX: u64 = 128;
/// Milliseconds without progress after which a snapshot counts as failed.
pub const SNAPSHOT_STALL_MS: u64 = 10_000;
/// Milliseconds of one stuck write after which the node gives up.
pub const DISK_STALL_STOP_MS: u64 = 10_000;
/// Bytes kept in the log behind the slowest active follower, if that is more than
/// [`KEEP_ENTRIES`].
pub const KEEP_BYTES: u64 = 16 << 20;
/// Bytes of the log beyond which it is truncated whoever still needs it: a snapshot is cheaper.
pub const LOG_BYTES_MAX: u64 = 64 << 20;
/// The log is truncated in steps of at least this many entries, or a sixteenth of
/// [`KEEP_BYTES`].
pub const TRUNCATE_STEP_ENTRIES: u64 = 512;
/// Bytes asked for when a slow follower needs entries that left memory.
pub const FETCH_BYTES_MAX: u64 = 1 << 20;
/// Blocks of fetched entries kept in memory.
pub const FETCH_BLOCKS_MAX: usize = 4;
/// Followers' requests waiting for one fetched block.
pub const FETCH_WAITERS_MAX: usize = 16;
/// Bytes of committed entries handed out in one step of raft-rs.
pub const COMMITTED_BYTES_MAX: u64 = 1 << 20;
/// ReadIndex rounds in flight; reads that come meanwhile share the next one.
pub const READ_ROUNDS_MAX: usize = 4;
/// Largest index and term that are believed: far from where arithmetic would overflow.
pub const NUMBER_MAX: u64 = 1 << 62;
/// No cluster holds this many elections while a node is away; a greater jump is damage.
pub const TERM_JUMP_MAX: u64 = 1 << 32;
/// Bytes of a message's context: a read context has 16, the mark of a transfer has 16.
pub const CONTEXT_BYTES_MAX: usize = 64;
/// Bytes of one entry: the largest command, or a full pack, and the frame of the body.
pub const ENTRY_BYTES_MAX: usize = COMMAND_BYTES_MAX + PACK_BYTES_MAX;
/// A follower that has this much to apply takes no more entries until it has caught up.
pub const OVERLOAD_BYTES_MAX: usize = 2 * UNAPPLIED_BYTES_MAX;
/// Bytes of one message on the wire: the largest entry plus its frame.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

const _: () = {
    assert!(COMMAND_BYTES_MAX + PACK_BYTES_MAX < MESSAGE_BYTES_MAX);
    assert!(PACK_BYTES_MAX <= COMMAND_BYTES_MAX);
    assert!(COMMAND_BYTES_MAX as u64 <= UNCOMMITTED_BYTES_MAX);
    assert!(ENTRY_BYTES_MAX < MESSAGE_BYTES_MAX);
    assert!(APPEND_BYTES_MAX <= UNCOMMITTED_BYTES_MAX);
    assert!(KEEP_BYTES < LOG_BYTES_MAX);
    // The frame of a body (21 bytes) and of its commands (4 bytes each).
    assert!(PACK_BYTES_MAX > 21 + 4 * PACK_COMMANDS_MAX);
};
