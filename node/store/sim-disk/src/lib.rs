//! A disk in memory for SQLite, with the failures of a real one: power loss (what was not synced is
//! lost, partly kept, out of order, torn), a freeze at any call, errors of writes and syncs, no
//! space, syncs that lie, misdirected writes, flipped bits, and a page cache that lies after a
//! failed fsync. For tests, models and chaos runs; no shipped crate depends on it.
//!
//! [`SimDisk::power_loss`] never gives SQLite the chance of a clean shutdown: the disk is frozen
//! first, and connections opened before are dead for ever (VERIFICATION.md 0).
//!
//! Not here: what is stored, and time. Everything derives from the seed of a disk, except SQLite's
//! own choice of salts in a WAL, which comes from its process-wide generator:
//! [`seed_sqlite_randomness`] for those who need bytes that repeat.
#![warn(missing_docs)]

mod chance;
mod file;
mod image;
mod locks;
mod loss;
mod orders;
mod randomness;
mod state;
mod vfs;

pub use image::{Change, Image, Moment, Unsynced};
pub use loss::{Cost, Counters, Fate, Loss};
pub use orders::{Call, Failure};
pub use randomness::seed_sqlite_randomness;

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

    /// Syncs so far that were answered with success, of files and of the directory.
    pub fn syncs(&self) -> u64 {
        self.slot.with(|state| state.counters.syncs)
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.slot.with(|state| state.counters)
    }

    /// What the disk had to do since this was last asked.
    pub fn take_cost(&self) -> Cost {
        self.slot.with(|state| std::mem::take(&mut state.cost))
    }

    /// The names of the files, as a running process sees them.
    pub fn files(&self) -> Vec<String> {
        self.slot.with(|state| state.image.files.keys().cloned().collect())
    }

    /// Freezes the disk at the `calls`-th changing call from here on (0 = the next): neither that
    /// call nor any later one does anything, and all fail.
    pub fn freeze_in(&self, calls: u64) {
        self.slot.with(|state| state.orders.freeze = Some(calls));
    }

    /// Freezes the disk at once. Also what must come before a simulated crash drops a connection:
    /// SQLite may write and sync while it closes, which no crash does.
    pub fn freeze(&self) {
        self.slot.with(|state| state.frozen = true);
    }

    /// Whether the disk is frozen.
    pub fn frozen(&self) -> bool {
        self.slot.with(|state| state.frozen)
    }

    /// Lets the `calls`-th changing call from here on fail once (0 = the next).
    pub fn fail_in(&self, calls: u64, failure: Failure) {
        self.slot.with(|state| state.orders.any = Some((calls, failure)));
    }

    /// Lets the `writes`-th write from here on fail once (0 = the next).
    pub fn fail_write_in(&self, writes: u64, failure: Failure) {
        self.slot.with(|state| state.orders.write = Some((writes, failure)));
    }

    /// Lets the `syncs`-th sync of a file from here on fail once with an input/output error (0 =
    /// the next).
    pub fn fail_sync_in(&self, syncs: u64) {
        self.slot.with(|state| state.orders.sync = Some((syncs, Failure::Io)));
    }

    /// Lets the `writes`-th write from here on (0 = the next) go to the beginning of another sector
    /// of the same file. It is answered with success.
    pub fn misdirect_in(&self, writes: u64) {
        self.slot.with(|state| state.orders.misdirect = Some(writes));
    }

    /// Whether a failure or a misdirection is ordered that no call has run into yet.
    pub fn failure_ordered(&self) -> bool {
        self.slot.with(|state| state.orders.failure_ordered())
    }

    /// Takes back every freeze, failure and misdirection that has not happened yet.
    pub fn cancel_orders(&self) {
        self.slot.with(|state| state.orders = Default::default());
    }

    /// While `lying`, syncs are answered and not done. What they should have made durable waits for
    /// the first sync of the same file after that.
    pub fn set_lying(&self, lying: bool) {
        self.slot.with(|state| state.lying = lying);
    }

    /// Limits the bytes of all files together; `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.slot.with(|state| state.capacity = bytes);
    }

    /// Bytes of all files together, as a running process sees them.
    pub fn used(&self) -> u64 {
        let files = |state: &mut State| state.image.files();
        self.slot.with(files).iter().map(|(_, bytes)| *bytes as u64).sum()
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

    /// The kernel drops its clean pages: what a failed sync lost is gone from view, too. For
    /// between a crash of the process and its next start.
    pub fn drop_caches(&self) {
        self.slot.with(|state| {
            for file in state.image.files.values_mut() {
                file.drop_caches();
            }
        });
    }

    /// Flips one bit of what is stored, as a decaying disk does.
    ///
    /// # Panics
    /// When the file has no such byte.
    pub fn flip(&self, name: &str, byte: usize, bit: u8) {
        self.slot.with(|state| state.flip(name, byte, bit));
    }

    /// Flips one bit, lowest first, of the byte at `permille` of all bytes of the files with a
    /// `chosen` name. Returns which it was; `None` when there are no such bytes.
    pub fn flip_at(
        &self,
        chosen: impl Fn(&str) -> bool,
        permille: u32,
        bit: u8,
    ) -> Option<(String, usize)> {
        self.slot.with(|state| {
            let (name, byte) = state.byte_at(chosen, permille)?;
            state.flip(&name, byte, bit % 8);
            Some((name, byte))
        })
    }

    /// The bytes of a file as a running process sees them.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.slot.with(|state| state.file(name).map(|file| file.contents().to_vec()))
    }

    /// A copy of all that is stored, synced or not.
    pub fn image(&self) -> Image {
        self.slot.with(|state| state.image.clone())
    }

    /// Keeps the moment before each changing call from here on.
    pub fn record_moments(&self) {
        self.slot.with(|state| state.moments = Some(Vec::new()));
    }

    /// The moments since [`SimDisk::record_moments`]; no more are kept.
    pub fn take_moments(&self) -> Vec<Moment> {
        self.slot.with(|state| state.moments.take()).unwrap_or_default()
    }

    /// Puts another disk in the place of this one: all connections are dead, and nothing stays
    /// ordered of freezes and failures. Capacity, lies and counters stay.
    pub fn restore(&self, image: &Image) {
        self.slot.with(|state| state.restore(image));
    }
}

impl Drop for SimDisk {
    fn drop(&mut self) {
        self.slot.with(|state| *state = State::new(0, state.epoch + 1));
        self.slot.give_back();
    }
}
