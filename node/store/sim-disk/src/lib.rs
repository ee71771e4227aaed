//! A disk in memory for SQLite, with the failures of a real one: power loss (what was not synced is
//! lost, partly kept, out of order, torn), errors, no space, and a lying page cache after a failed
//! fsync. For tests, models and chaos runs; no shipped crate depends on it.
//!
//! [`SimDisk::power_loss`] never gives SQLite the chance of a clean shutdown: the disk is frozen
//! first, and connections opened before are dead for ever (VERIFICATION.md 0).
//!
//! Not here: what is stored. SQLite's own choice of salts in a WAL comes from its process-wide
//! generator and is the one thing that differs from run to run.
#![warn(missing_docs)]

mod chance;
mod file;
mod locks;
mod state;
mod vfs;

pub use state::Failure;

use state::State;
use vfs::Slot;

/// One simulated disk, registered as a SQLite VFS under a name of its own.
#[derive(Debug)]
pub struct SimDisk {
    slot: &'static Slot,
}

impl SimDisk {
    /// An empty disk; what power losses keep derives from `seed`.
    pub fn new(seed: u64) -> SimDisk {
        let slot = Slot::take();
        slot.with(|state| *state = State::new(seed, state.epoch + 1));
        SimDisk { slot }
    }

    /// Name of the VFS.
    pub fn vfs(&self) -> String {
        self.slot.name()
    }

    /// Calls so far that change something: create, write, truncate, sync, delete.
    pub fn calls(&self) -> u64 {
        self.slot.with(|state| state.calls)
    }

    /// Successful syncs so far, of files and of the directory.
    pub fn syncs(&self) -> u64 {
        self.slot.with(|state| state.syncs)
    }

    /// The names of the files, as a running process sees them.
    pub fn files(&self) -> Vec<String> {
        self.slot.with(|state| state.files.keys().cloned().collect())
    }

    /// Freezes the disk at the `calls`-th changing call from here on (0 = the next): neither that
    /// call nor any later one does anything, and all fail.
    pub fn freeze_in(&self, calls: u64) {
        self.slot.with(|state| state.freeze_at = Some(state.calls + calls));
    }

    /// Freezes the disk at once.
    pub fn freeze(&self) {
        self.slot.with(|state| state.frozen = true);
    }

    /// Whether the disk is frozen.
    pub fn frozen(&self) -> bool {
        self.slot.with(|state| state.frozen)
    }

    /// Lets the `calls`-th changing call from here on fail once (0 = the next).
    pub fn fail_in(&self, calls: u64, failure: Failure) {
        self.slot.with(|state| state.failure = Some((state.calls + calls, failure)));
    }

    /// Whether a failure is ordered that no call has run into yet.
    pub fn failure_ordered(&self) -> bool {
        self.slot.with(|state| state.failure.is_some())
    }

    /// Limits the bytes of all files together; `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.slot.with(|state| state.capacity = bytes);
    }

    /// Syncs of the file `name` are answered and done only when `written` is written to: with a WAL
    /// and its database that is what `synchronous=NORMAL` does.
    pub fn defer_syncs(&self, name: &str, written: &str) {
        self.slot.with(|state| state.deferred = Some((name.to_owned(), written.to_owned())));
    }

    /// The process is gone, the machine runs on: nothing is lost, all connections are dead. A
    /// freeze that is still to come stays ordered.
    pub fn process_crash(&self) {
        self.slot.with(State::process_crash);
    }

    /// The power fails and comes back: all connections are dead, and of what was not synced chance
    /// decides what is left. Nothing stays ordered of freezes and failures.
    pub fn power_loss(&self) {
        self.slot.with(State::power_loss);
    }

    /// Flips one bit of what is stored, as a decaying disk does.
    ///
    /// # Panics
    /// When the file has no such byte.
    pub fn flip(&self, name: &str, byte: usize, bit: u8) {
        self.slot.with(|state| state.flip(name, byte, bit));
    }

    /// The bytes of a file as a running process sees them.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.slot.with(|state| state.files.get(name).map(|file| file.contents().to_vec()))
    }
}

impl Drop for SimDisk {
    fn drop(&mut self) {
        self.slot.with(|state| *state = State::new(0, state.epoch + 1));
        self.slot.give_back();
    }
}
