//! How the log's disk does, as far as the log writer can tell.

use crate::canonical::Notes;
use crate::limits::TICK_MS;

/// The state of the disk.
#[derive(Debug)]
pub(crate) struct Disk {
    slow_ms: u64,
    stuck_ms: u64,
    stalled_ms: u64,
}

impl Disk {
    /// Slow is half of the shortest election timeout in one write, stuck all of it.
    pub(crate) fn new(election_ticks: u32) -> Disk {
        let base_ms = u64::from(election_ticks / 2) * TICK_MS;
        Disk { slow_ms: base_ms / 2, stuck_ms: base_ms, stalled_ms: 0 }
    }

    /// The current write has been going on for `stalled_ms`; 0 when it is done.
    pub(crate) fn observe(&mut self, stalled_ms: u64) {
        self.stalled_ms = stalled_ms;
    }

    /// No new proposals, no elections; leadership should go elsewhere.
    pub(crate) fn is_slow(&self) -> bool {
        self.stalled_ms > self.slow_ms
    }

    /// Leadership must go.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stalled_ms > self.stuck_ms
    }

    pub(crate) fn canonical(&self, notes: &mut Notes<'_>) {
        notes.number("disk", self.stalled_ms);
    }
}
