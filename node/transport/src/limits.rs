//! The limits of the transport, each with its unit, related at compile time.

use std::time::Duration;

/// The only protocol version this build speaks; the handshake carries a range.
pub const PROTOCOL_VERSION: u16 = 1;
/// Bytes of one frame with its header.
pub const FRAME_BYTES_MAX: usize = pgraft_replica::limits::MESSAGE_BYTES_MAX;
/// Bytes of a frame before the sender is known: a greeting or a request to join.
pub const GREETING_BYTES_MAX: usize = 64 << 10;
/// Bytes read from a socket at once; larger bodies are read into a buffer of their own.
pub const READ_BYTES: usize = 16 << 10;
/// First size of such a buffer; it doubles as bytes arrive, never ahead of them.
pub const BODY_BYTES_FIRST: usize = 64 << 10;
/// Bytes of an incomplete frame that show that the line is slow, not dead.
pub const PROGRESS_BYTES_MIN: u64 = 16 << 10;

/// Bytes of events that the driver has not taken yet.
pub const EVENTS_BYTES_MAX: usize = 16 << 20;

/// Messages waiting for one peer.
pub const OUTBOX_MESSAGES_MAX: usize = 4096;
/// Encoded bytes waiting for one peer.
pub const OUTBOX_BYTES_MAX: usize = 8 << 20;
/// Bytes encoded for one write; one larger message has a write of its own.
pub const TURN_BYTES_MAX: usize = 1 << 20;
/// Capacity that an idle write buffer keeps.
pub const WRITE_BUFFER_BYTES_KEPT: usize = 256 << 10;

/// Entries in one message.
pub const ENTRIES_MAX: usize = 65_536;
/// Bytes of a read context.
pub const CONTEXT_BYTES_MAX: usize = 1 << 10;
/// Nodes in one set of a configuration.
pub const NODES_MAX: usize = 1024;

/// Bytes of a request or reply between nodes.
pub const RPC_BYTES_MAX: usize = FRAME_BYTES_MAX - 64;
/// Requests to one peer that are not yet written.
pub const CALLS_QUEUED_MAX: usize = 1024;
/// Bytes of requests to one peer that are not yet written.
pub const CALLS_QUEUED_BYTES_MAX: usize = 8 << 20;
/// Requests to one peer that wait for their reply.
pub const CALLS_IN_FLIGHT_MAX: usize = 1024;
/// What one handled request counts at least.
pub const HANDLED_BYTES_UNIT: usize = 4 << 10;
/// Requests of one peer being handled here, in units of [`HANDLED_BYTES_UNIT`] bytes.
pub const HANDLED_UNITS_MAX: usize = 4096;
/// Encoded replies waiting for the writer of one connection.
pub const ANSWERS_QUEUED_MAX: usize = 64;

/// Bytes of one snapshot chunk.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Chunks sent and not yet acknowledged.
pub const CHUNKS_IN_FLIGHT_MAX: u64 = 32;
/// The receiver acknowledges every so many chunks.
pub const CHUNKS_PER_ACK: u64 = 8;

/// Bytes of a cluster token.
pub const TOKEN_BYTES_MAX: usize = 1 << 10;
/// Bytes of an explanation in a refusal or an abort.
pub const REASON_BYTES_MAX: usize = 256;
/// Connections whose sender is not known yet.
pub const STRANGERS_MAX: usize = 64;
/// A connection that lasted this long lets the next pause start short again.
pub const STEADY: Duration = Duration::from_secs(1);
/// One warning per peer in this time; the next says how many were left out.
pub const COMPLAINT_EVERY: Duration = Duration::from_secs(5);
/// How long a refused sender is given to read why.
pub const FAREWELL: Duration = Duration::from_millis(500);
/// Pause after `accept` failed, for example for want of file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const _: () = {
    assert!(RPC_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(CHUNK_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(FRAME_BYTES_MAX <= OUTBOX_BYTES_MAX);
    assert!(FRAME_BYTES_MAX <= EVENTS_BYTES_MAX);
    assert!(GREETING_BYTES_MAX <= FRAME_BYTES_MAX);
    // The largest request must fit among those being handled, or it would wait for ever.
    assert!(RPC_BYTES_MAX.div_ceil(HANDLED_BYTES_UNIT) <= HANDLED_UNITS_MAX);
    assert!(2 * CHUNKS_PER_ACK <= CHUNKS_IN_FLIGHT_MAX);
    // The replica never builds a message that does not fit into a frame.
    assert!(pgraft_replica::limits::APPEND_BYTES_MAX < FRAME_BYTES_MAX as u64 / 2);
};

/// Times of a transport. The defaults suit a local network and an election timeout of a second.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Name resolution and TCP (later TLS) of one attempt.
    pub connect: Duration,
    /// From the first byte to the answer of the handshake.
    pub handshake: Duration,
    /// Nothing heard for this long: the connection is dead. Pings go out four times as often.
    pub silence: Duration,
    /// Shortest pause between two attempts to connect.
    pub reconnect_min: Duration,
    /// Longest pause between two attempts to connect.
    pub reconnect_max: Duration,
    /// One step of a snapshot (a chunk, an acknowledgement) may take this long.
    pub snapshot_idle: Duration,
    /// Checking and installing a complete snapshot may take this long.
    pub snapshot_finish: Duration,
    /// The answer to a request to join.
    pub join: Duration,
}

impl Timing {
    /// # Panics
    /// If a time is zero, or a pause can never be reached: both are mistakes of the program.
    pub(crate) fn check(&self) {
        // No `..`: a new time must be checked, too.
        let Timing {
            connect,
            handshake,
            silence,
            reconnect_min,
            reconnect_max,
            snapshot_idle,
            snapshot_finish,
            join,
        } = *self;
        let all =
            [connect, handshake, silence, reconnect_min, snapshot_idle, snapshot_finish, join];
        assert!(all.iter().all(|time| *time >= Duration::from_millis(1)), "{self:?}");
        assert!(reconnect_min <= reconnect_max, "{self:?}");
    }
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            connect: Duration::from_secs(1),
            handshake: Duration::from_secs(2),
            silence: Duration::from_secs(2),
            reconnect_min: Duration::from_millis(20),
            reconnect_max: Duration::from_millis(500),
            snapshot_idle: Duration::from_secs(10),
            snapshot_finish: Duration::from_secs(600),
            join: Duration::from_secs(10),
        }
    }
}
