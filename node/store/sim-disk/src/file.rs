//! One file: what a process sees, what is on the platter, and what is in between.

use crate::chance::Chance;
use crate::locks::FileLocks;

/// The unit a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug)]
enum Pending {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { bytes: usize },
}

/// A file's contents and locks.
#[derive(Debug, Default)]
pub(crate) struct FileData {
    view: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
    /// The directory on the platter knows the name.
    pub(crate) name_durable: bool,
    pub(crate) locks: FileLocks,
}

/// How kind a power loss is to one file.
#[derive(Clone, Copy)]
enum Kept {
    Nothing,
    Everything,
    Prefix(usize),
    Some,
}

fn apply(image: &mut Vec<u8>, pending: &Pending) {
    match pending {
        Pending::Write { at, bytes } => {
            let end = at + bytes.len();
            if image.len() < end {
                image.resize(end, 0);
            }
            image[*at..end].copy_from_slice(bytes);
        }
        Pending::Truncate { bytes } => image.resize(*bytes, 0),
    }
}

/// Only some sectors of a write arrive.
fn apply_torn(image: &mut Vec<u8>, pending: &Pending, chance: &mut Chance) {
    let Pending::Write { at, bytes } = pending else {
        return apply(image, pending);
    };
    let mut from = 0;
    while from < bytes.len() {
        // Sectors are places on the disk, not in the write.
        let to = bytes.len().min(from + SECTOR_BYTES - (at + from) % SECTOR_BYTES);
        if chance.coin() {
            let part = Pending::Write { at: at + from, bytes: bytes[from..to].to_vec() };
            apply(image, &part);
        }
        from = to;
    }
}

impl FileData {
    pub(crate) fn contents(&self) -> &[u8] {
        &self.view
    }

    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        self.push(Pending::Write { at, bytes: bytes.to_vec() });
    }

    pub(crate) fn truncate(&mut self, bytes: usize) {
        self.push(Pending::Truncate { bytes });
    }

    fn push(&mut self, pending: Pending) {
        apply(&mut self.view, &pending);
        self.pending.push(pending);
    }

    pub(crate) fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            apply(&mut self.durable, &pending);
        }
    }

    /// A failed fsync: the cache forgets that the pages are dirty, so that no later sync writes
    /// them, while every reader still sees them ("fsyncgate").
    pub(crate) fn sync_failed(&mut self) {
        self.pending.clear();
    }

    pub(crate) fn flip(&mut self, byte: usize, bit: u8) {
        self.view[byte] ^= 1 << bit;
        if let Some(durable) = self.durable.get_mut(byte) {
            *durable ^= 1 << bit;
        }
    }

    pub(crate) fn power_loss(&mut self, chance: &mut Chance) {
        let pending = std::mem::take(&mut self.pending);
        let kept = match chance.below(5) {
            0 => Kept::Nothing,
            1 => Kept::Everything,
            2 => Kept::Prefix(chance.below(pending.len() + 1)),
            _ => Kept::Some,
        };
        for (place, write) in pending.iter().enumerate() {
            let (keep, torn) = match kept {
                Kept::Nothing => (false, false),
                Kept::Everything => (true, false),
                Kept::Prefix(end) => (place < end, place + 1 == end && chance.coin()),
                Kept::Some => (chance.coin(), chance.below(4) == 0),
            };
            match (keep, torn) {
                (false, _) => {}
                (true, false) => apply(&mut self.durable, write),
                (true, true) => apply_torn(&mut self.durable, write, chance),
            }
        }
        self.view.clone_from(&self.durable);
        self.locks = FileLocks::default();
    }
}
