//! A whole disk as a value: kept, compared, put back, or taken through one particular power loss.

use std::collections::BTreeMap;

use crate::file::{FileData, Pending, SECTOR_BYTES};
use crate::loss::{Fate, Loss};
use crate::orders::Call;

/// What was on a disk at one moment, synced or not. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Image {
    pub(crate) files: BTreeMap<String, FileData>,
    /// Deleted, but the directory on the platter does not know it yet.
    pub(crate) ghosts: BTreeMap<String, FileData>,
}

/// A moment in the life of a disk: a call is about to change something.
#[derive(Clone, Debug)]
pub struct Moment {
    /// What is about to be done.
    pub call: Call,
    /// The disk before that.
    pub image: Image,
}

/// Something no sync has made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsynced {
    /// The file.
    pub name: String,
    /// What was done to it.
    pub what: Change,
}

/// What can be un-synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Bytes were written.
    Write {
        /// Their place in the file.
        at: usize,
        /// How many.
        bytes: usize,
    },
    /// The length was set.
    Truncate {
        /// To this.
        bytes: usize,
    },
    /// The file was created.
    Create,
    /// The file was deleted. When that is lost, the file is there again.
    Delete,
}

impl Change {
    /// Sectors that it touches: only more than one can be torn.
    pub fn sectors(self) -> usize {
        match self {
            Change::Write { at, bytes } => (at + bytes).div_ceil(SECTOR_BYTES) - at / SECTOR_BYTES,
            Change::Truncate { .. } | Change::Create | Change::Delete => 1,
        }
    }
}

impl Image {
    /// Everything that a power loss may take: first the writes, file by file in their order, then
    /// the names that were created, then those that were deleted with the writes before that.
    pub fn unsynced(&self) -> Vec<Unsynced> {
        let mut found = Vec::new();
        let mut push = |name: &String, what| found.push(Unsynced { name: name.clone(), what });
        for (name, file) in &self.files {
            writes(file).for_each(|change| push(name, change));
        }
        for (name, _) in self.files.iter().filter(|(_, file)| !file.name_durable) {
            push(name, Change::Create);
        }
        for (name, ghost) in &self.ghosts {
            writes(ghost).for_each(|change| push(name, change));
            push(name, Change::Delete);
        }
        found
    }

    /// The disk after a power loss in which each of [`Image::unsynced`] met the fate of the same
    /// place. All of it is durable.
    ///
    /// # Panics
    /// When there are fewer fates than un-synced things.
    #[must_use]
    pub fn after_power_loss(&self, fates: &[Fate]) -> Image {
        let mut fates = fates.iter().copied();
        let mut next = move || fates.next().expect("a fate for everything that is un-synced");
        let Image { mut files, ghosts } = self.clone();
        let mut loss = Loss::default();
        for file in files.values_mut() {
            file.power_loss(|_| next(), &mut loss);
        }
        files.retain(|_, file| file.name_durable || next() != Fate::Lost);
        for (name, mut ghost) in ghosts {
            ghost.power_loss(|_| next(), &mut loss);
            if next() == Fate::Lost {
                files.entry(name).or_insert(ghost);
            }
        }
        for file in files.values_mut() {
            file.name_durable = true;
        }
        Image { files, ghosts: BTreeMap::new() }
    }

    /// The disk once everything that a process sees was synced.
    #[must_use]
    pub fn settled(&self) -> Image {
        let mut files = self.files.clone();
        files.values_mut().for_each(FileData::settle);
        Image { files, ghosts: BTreeMap::new() }
    }

    /// Names and bytes of the files, as a process sees them.
    pub fn files(&self) -> Vec<(String, usize)> {
        self.files.iter().map(|(name, file)| (name.clone(), file.contents().len())).collect()
    }
}

fn writes(file: &FileData) -> impl Iterator<Item = Change> {
    file.pending().iter().map(|pending| match pending {
        Pending::Write { at, bytes } => Change::Write { at: *at, bytes: bytes.len() },
        Pending::Truncate { bytes } => Change::Truncate { bytes: *bytes },
    })
}
