//! The node's status in shared memory: written by one thread of the worker, read by any backend.
//!
//! A sequence lock over atomics: the writer never waits, a reader repeats when it was overtaken.
//! A status has an age, because the worker may hang or have been stopped: one that is older than
//! the election timeout says nothing about who leads now.
//! Not here: anything of variable size; that goes over the socket.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, PgAtomic, pg_shmem_init};

use pgraft_node::clock::boottime_ns;
use pgraft_node::status::{State, Status, StatusBoard};

use crate::report::Report;
use crate::settings;

/// Numbers in a status.
const WORDS: usize = 20;
/// Attempts of a reader before it takes the status for unreadable. A write is 25 stores, so this
/// is reached only when the writer was stopped in the middle of one.
const READ_ATTEMPTS_MAX: u32 = 100_000;

const STATES: [State; 5] =
    [State::Stopped, State::Starting, State::Follower, State::Candidate, State::Leader];

/// What the worker does, as opposed to the node in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Phase {
    /// Not started since the server did, or ended.
    Stopped = 0,
    /// Opening the node.
    Starting = 1,
    /// The node runs.
    Running = 2,
    /// Ending.
    Stopping = 3,
    /// The settings are wrong; it will not start again before the server does.
    Refused = 4,
    /// This node was removed from its cluster; it will not start again before the server does.
    Removed = 5,
}

const PHASES: [Phase; 6] = [
    Phase::Stopped,
    Phase::Starting,
    Phase::Running,
    Phase::Stopping,
    Phase::Refused,
    Phase::Removed,
];

/// Lies in shared memory. All zeros is "never started".
#[derive(Default)]
pub(crate) struct Board {
    /// Odd while a write is under way.
    sequence: AtomicU64,
    words: [AtomicU64; WORDS],
    /// When the last write was, nanoseconds of the clock that never stops.
    published_ns: AtomicU64,
    phase: AtomicU32,
    starts: AtomicU32,
}

// SAFETY: nothing but atomics, valid in every process that maps it.
unsafe impl PGRXSharedMemory for Board {}

// SAFETY: the only shared memory of this name.
static BOARD: PgAtomic<Board> = unsafe { PgAtomic::new(c"pgraft_board") };
/// Inherited by every child of the postmaster; stays false where the library was loaded later.
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Asks for the shared memory; hooks that other libraries have set are called first.
#[expect(unexpected_cfgs, reason = "the macro also knows PostgreSQL 13")]
pub(crate) fn request() {
    pg_shmem_init!(BOARD);
    REQUESTED.store(true, Ordering::Relaxed);
}

/// The board, in any process of a server that preloads the library.
///
/// # Errors
/// When the library is not in `shared_preload_libraries`.
pub(crate) fn board() -> Result<&'static Board, Report> {
    if REQUESTED.load(Ordering::Relaxed) { Ok(BOARD.get()) } else { Err(Report::not_preloaded()) }
}

impl Board {
    /// Called by a new worker: whatever an earlier one left, even half a write, is void.
    pub(crate) fn worker_starts(&self) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + sequence % 2, Ordering::Release);
        self.starts.fetch_add(1, Ordering::Relaxed);
        self.publish(&Status { state: State::Starting, ..Status::default() });
        self.enter(Phase::Starting);
    }

    /// Notes what the worker does from now on.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u32, Ordering::Release);
    }

    /// What the worker does.
    pub(crate) fn phase(&self) -> Phase {
        PHASES[self.phase.load(Ordering::Acquire) as usize]
    }

    /// How often the worker has started since the server's memory was set up.
    pub(crate) fn starts(&self) -> u32 {
        self.starts.load(Ordering::Relaxed)
    }

    /// The status if the worker runs and published recently enough to say something about now.
    pub(crate) fn fresh(&self) -> Option<Status> {
        if self.phase() != Phase::Running {
            return None;
        }
        let (mut status, published_ns) = self.read()?;
        let now_ns = boottime_ns();
        let age = Duration::from_nanos(now_ns.saturating_sub(published_ns));
        status.is_leader = status.is_leader
            && now_ns < status.leader_until_ns
            && age <= settings::leadership_age_max();
        (age <= settings::status_age_max()).then_some(status)
    }

    /// The last status, however old; all zeros when nothing was published or can be read.
    pub(crate) fn last(&self) -> Status {
        self.read().map(|(status, _)| status).unwrap_or_default()
    }

    fn read(&self) -> Option<(Status, u64)> {
        for _ in 0..READ_ATTEMPTS_MAX {
            let before = self.sequence.load(Ordering::Acquire);
            if before.is_multiple_of(2) {
                let words = self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
                let published_ns = self.published_ns.load(Ordering::Relaxed);
                fence(Ordering::Acquire);
                if self.sequence.load(Ordering::Relaxed) == before {
                    return Some((from_words(words), published_ns));
                }
            }
            std::hint::spin_loop();
        }
        None
    }
}

impl StatusBoard for Board {
    fn publish(&self, status: &Status) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in self.words.iter().zip(to_words(status)) {
            word.store(value, Ordering::Relaxed);
        }
        self.published_ns.store(boottime_ns(), Ordering::Relaxed);
        self.sequence.store(sequence + 2, Ordering::Release);
    }
}

fn to_words(status: &Status) -> [u64; WORDS] {
    // No `..`: a new field must fail to compile until it has its word.
    let Status {
        node_id,
        state,
        term,
        leader_id,
        is_leader,
        leader_until_ns,
        commit,
        applied,
        last_index,
        first_index,
        snapshot_index,
        members,
        voters,
        messages_sent,
        heartbeats_sent,
        elections_started,
        replicated,
        errors,
        log_writes,
        pid,
    } = *status;
    [
        node_id,
        state as u64,
        term,
        leader_id,
        u64::from(is_leader),
        leader_until_ns,
        commit,
        applied,
        last_index,
        first_index,
        snapshot_index,
        members,
        voters,
        messages_sent,
        heartbeats_sent,
        elections_started,
        replicated,
        errors,
        log_writes,
        pid,
    ]
}

fn from_words(words: [u64; WORDS]) -> Status {
    let [
        node_id,
        state,
        term,
        leader_id,
        is_leader,
        leader_until_ns,
        commit,
        applied,
        last_index,
        first_index,
        snapshot_index,
        members,
        voters,
        messages_sent,
        heartbeats_sent,
        elections_started,
        replicated,
        errors,
        log_writes,
        pid,
    ] = words;
    let state = STATES.iter().copied().find(|known| *known as u64 == state).unwrap_or_default();
    Status {
        node_id,
        state,
        term,
        leader_id,
        is_leader: is_leader == 1,
        leader_until_ns,
        commit,
        applied,
        last_index,
        first_index,
        snapshot_index,
        members,
        voters,
        messages_sent,
        heartbeats_sent,
        elections_started,
        replicated,
        errors,
        log_writes,
        pid,
    }
}
