//! The locks of one file: SQLite's five levels on the database, and the slots of its WAL index.
//!
//! Holders are numbered; a holder's own locks are never in its way.

use std::cell::UnsafeCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use libsqlite3_sys as ffi;

/// SQLite uses eight lock slots of the WAL index.
const SLOTS: usize = ffi::SQLITE_SHM_NLOCK as usize;

/// A piece of the WAL index: memory that SQLite reads and writes with its own barriers.
pub(crate) struct Region(UnsafeCell<Box<[u64]>>);

// SAFETY: the memory is only handed to SQLite, which shares a WAL index between threads under the
// locks below and its own barriers; Rust code never reads it.
#[expect(unsafe_code, reason = "shared memory of SQLite's")]
unsafe impl Sync for Region {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "shared memory of SQLite's")]
unsafe impl Send for Region {}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Region")
    }
}

impl Region {
    fn new(bytes: usize) -> Region {
        Region(UnsafeCell::new(vec![0; bytes.div_ceil(8)].into_boxed_slice()))
    }

    pub(crate) fn start(&self) -> *mut core::ffi::c_void {
        // SAFETY: nobody holds a reference into the box; the pointer is valid while `self` is.
        #[expect(unsafe_code, reason = "shared memory of SQLite's")]
        unsafe {
            (*self.0.get()).as_mut_ptr().cast()
        }
    }
}

/// The locks of a file and its WAL index.
#[derive(Debug, Default)]
pub(crate) struct FileLocks {
    levels: BTreeMap<u64, i32>,
    shared: [BTreeSet<u64>; SLOTS],
    exclusive: [Option<u64>; SLOTS],
    regions: Vec<Arc<Region>>,
    mapped: BTreeSet<u64>,
}

impl FileLocks {
    /// Raises a holder's level; false when another is in the way.
    pub(crate) fn lock(&mut self, holder: u64, level: i32) -> bool {
        let own = self.levels.get(&holder).copied().unwrap_or(ffi::SQLITE_LOCK_NONE);
        if own >= level {
            return true;
        }
        let others = self.levels.iter().filter(|(other, _)| **other != holder);
        let highest = others.map(|(_, level)| *level).max().unwrap_or(ffi::SQLITE_LOCK_NONE);
        let free = match level {
            ffi::SQLITE_LOCK_SHARED => highest < ffi::SQLITE_LOCK_PENDING,
            ffi::SQLITE_LOCK_RESERVED => highest < ffi::SQLITE_LOCK_RESERVED,
            _ => highest == ffi::SQLITE_LOCK_NONE,
        };
        if free {
            self.levels.insert(holder, level);
        } else if level == ffi::SQLITE_LOCK_EXCLUSIVE && highest < ffi::SQLITE_LOCK_RESERVED {
            // Keeps new readers away while it waits for those that are there.
            self.levels.insert(holder, ffi::SQLITE_LOCK_PENDING);
        }
        free
    }

    pub(crate) fn unlock(&mut self, holder: u64, level: i32) {
        if level == ffi::SQLITE_LOCK_NONE {
            self.levels.remove(&holder);
        } else {
            self.levels.insert(holder, level);
        }
    }

    pub(crate) fn reserved(&self) -> bool {
        self.levels.values().any(|level| *level >= ffi::SQLITE_LOCK_RESERVED)
    }

    pub(crate) fn map(
        &mut self,
        holder: u64,
        place: usize,
        bytes: usize,
        extend: bool,
    ) -> Option<Arc<Region>> {
        self.mapped.insert(holder);
        while extend && self.regions.len() <= place {
            self.regions.push(Arc::new(Region::new(bytes)));
        }
        self.regions.get(place).cloned()
    }

    pub(crate) fn shm_lock(
        &mut self,
        holder: u64,
        slots: std::ops::Range<usize>,
        flags: i32,
    ) -> bool {
        let exclusive = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            for slot in slots {
                self.shared[slot].remove(&holder);
                if self.exclusive[slot] == Some(holder) {
                    self.exclusive[slot] = None;
                }
            }
            return true;
        }
        let free = slots.clone().all(|slot| {
            let owner_elsewhere = self.exclusive[slot].is_some_and(|owner| owner != holder);
            let readers = self.shared[slot].iter().any(|reader| *reader != holder);
            !(owner_elsewhere || exclusive && readers)
        });
        if free {
            for slot in slots {
                if exclusive {
                    self.exclusive[slot] = Some(holder);
                } else {
                    self.shared[slot].insert(holder);
                }
            }
        }
        free
    }

    pub(crate) fn unmap(&mut self, holder: u64, delete: bool) {
        self.shm_lock(holder, 0..SLOTS, ffi::SQLITE_SHM_UNLOCK);
        self.mapped.remove(&holder);
        if delete && self.mapped.is_empty() {
            self.regions.clear();
        }
    }

    /// A holder is gone.
    pub(crate) fn release(&mut self, holder: u64) {
        self.unlock(holder, ffi::SQLITE_LOCK_NONE);
        self.unmap(holder, false);
        if self.mapped.is_empty() && self.levels.is_empty() {
            // Nobody is left: the next one recovers the WAL, as after the end of a process.
            self.regions.clear();
        }
    }
}
