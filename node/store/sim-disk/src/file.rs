//! One file: what a process sees, what is on the platter, and what is in between.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::chance::Chance;
use crate::loss::{Fate, Loss};

/// The unit a disk writes whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;

/// What a process did to a file and no sync has made durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pending {
    Write { at: usize, bytes: Arc<[u8]> },
    Truncate { bytes: usize },
}

/// A file's contents; cheap to clone, and then copied when written to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileData {
    view: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    pending: Vec<Pending>,
    /// The directory on the platter knows the name.
    pub(crate) name_durable: bool,
}

/// How kind a power loss is to one file.
#[derive(Clone, Copy)]
enum Mood {
    Nothing,
    Everything,
    Prefix(usize),
    Some,
}

fn write_at(image: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    // Growing by what is written, not by zeros: without optimisation `resize` is a slow loop.
    let inside = image.len().saturating_sub(at).min(bytes.len());
    if image.len() < at {
        image.resize(at, 0);
    }
    image[at..at + inside].copy_from_slice(&bytes[..inside]);
    image.extend_from_slice(&bytes[inside..]);
}

fn apply(image: &mut Arc<Vec<u8>>, pending: &Pending) {
    let image = Arc::make_mut(image);
    match pending {
        Pending::Write { at, bytes } => write_at(image, *at, bytes),
        Pending::Truncate { bytes } => image.resize(*bytes, 0),
    }
}

/// The sectors that a write touches, as ranges of its bytes.
fn sectors(at: usize, bytes: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        (from < bytes).then(|| {
            // Sectors are places on the disk, not in the write.
            let to = bytes.min(from + SECTOR_BYTES - (at + from) % SECTOR_BYTES);
            std::mem::replace(&mut from, to)..to
        })
    })
}

/// Only the sectors of `mask` arrive.
fn apply_torn(image: &mut Arc<Vec<u8>>, pending: &Pending, mask: u64) {
    let Pending::Write { at, bytes } = pending else {
        return apply(image, pending);
    };
    for (place, range) in sectors(*at, bytes.len()).enumerate() {
        if mask >> (place % 64) & 1 == 1 {
            write_at(Arc::make_mut(image), at + range.start, &bytes[range]);
        }
    }
}

impl Hash for FileData {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let FileData { view, durable, pending, name_durable } = self;
        (view, pending, name_durable).hash(hasher);
        // Comparing is much faster than hashing the same bytes twice.
        if view != durable {
            durable.hash(hasher);
        }
    }
}

impl FileData {
    pub(crate) fn contents(&self) -> &[u8] {
        &self.view
    }

    pub(crate) fn pending(&self) -> &[Pending] {
        &self.pending
    }

    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        write_at(Arc::make_mut(&mut self.view), at, bytes);
        self.pending.push(Pending::Write { at, bytes: bytes.into() });
    }

    pub(crate) fn truncate(&mut self, bytes: usize) {
        Arc::make_mut(&mut self.view).resize(bytes, 0);
        self.pending.push(Pending::Truncate { bytes });
    }

    pub(crate) fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            apply(&mut self.durable, &pending);
        }
    }

    /// A failed fsync: the kernel marks the pages clean, so that no later sync writes them, while
    /// readers still see them ("fsyncgate"). Some may have arrived.
    pub(crate) fn sync_failed(&mut self, chance: &mut Chance) {
        let nothing_arrives = chance.coin();
        for pending in self.pending.drain(..) {
            if !nothing_arrives && chance.coin() {
                apply(&mut self.durable, &pending);
            }
        }
    }

    /// The kernel needs the memory of its clean pages: what it forgot to write is gone from view.
    pub(crate) fn drop_caches(&mut self) {
        self.view = Arc::clone(&self.durable);
        for pending in &self.pending {
            apply(&mut self.view, pending);
        }
    }

    /// All that a process sees is on the platter.
    pub(crate) fn settle(&mut self) {
        self.durable = Arc::clone(&self.view);
        self.pending.clear();
        self.name_durable = true;
    }

    pub(crate) fn flip(&mut self, byte: usize, bit: u8) {
        Arc::make_mut(&mut self.view)[byte] ^= 1 << bit;
        if let Some(durable) = Arc::make_mut(&mut self.durable).get_mut(byte) {
            *durable ^= 1 << bit;
        }
    }

    /// The power is gone and comes back: what was pending meets the fate that `fate` says.
    pub(crate) fn power_loss(&mut self, mut fate: impl FnMut(usize) -> Fate, loss: &mut Loss) {
        let pending = std::mem::take(&mut self.pending);
        let mut gap = false;
        for (place, write) in pending.iter().enumerate() {
            let fate = fate(place);
            match fate {
                Fate::Lost => {}
                Fate::Kept => apply(&mut self.durable, write),
                Fate::Torn(mask) => apply_torn(&mut self.durable, write, mask),
            }
            loss.count(fate, gap);
            gap |= fate == Fate::Lost;
        }
        self.view = Arc::clone(&self.durable);
    }

    /// As `power_loss`, with fates by chance.
    pub(crate) fn power_loss_by_chance(&mut self, chance: &mut Chance, loss: &mut Loss) {
        let mood = match chance.below(5) {
            0 => Mood::Nothing,
            1 => Mood::Everything,
            2 => Mood::Prefix(chance.below(self.pending.len() + 1)),
            _ => Mood::Some,
        };
        let fate = |place: usize| {
            let (keep, torn) = match mood {
                Mood::Nothing => (false, false),
                Mood::Everything => (true, false),
                Mood::Prefix(end) => (place < end, place + 1 == end && chance.coin()),
                Mood::Some => (chance.coin(), chance.below(4) == 0),
            };
            match (keep, torn) {
                (false, _) => Fate::Lost,
                (true, false) => Fate::Kept,
                (true, true) => Fate::Torn(chance.next()),
            }
        };
        self.power_loss(fate, loss);
    }
}
