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
/// Bytes of one message on the wire: the largest entry plus its frame.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

const _: () = {
    assert!(COMMAND_BYTES_MAX + PACK_BYTES_MAX < MESSAGE_BYTES_MAX);
    assert!(PACK_BYTES_MAX <= COMMAND_BYTES_MAX);
    assert!(COMMAND_BYTES_MAX as u64 <= UNCOMMITTED_BYTES_MAX);
};
