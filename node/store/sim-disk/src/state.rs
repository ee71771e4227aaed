//! The disk itself: files, names, and what becomes of them. Knows nothing of C.

use std::collections::BTreeMap;

use crate::chance::Chance;
use crate::file::{FileData, SECTOR_BYTES};
use crate::image::{Image, Moment};
use crate::locks::FileLocks;
use crate::loss::{Cost, Counters, Loss};
use crate::orders::{Call, Orders, Verdict};

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) image: Image,
    /// By name of the file; none of them outlives its process.
    locks: BTreeMap<String, FileLocks>,
    /// Handles of an earlier epoch are dead.
    pub(crate) epoch: u64,
    pub(crate) frozen: bool,
    pub(crate) orders: Orders,
    pub(crate) capacity: Option<u64>,
    pub(crate) lying: bool,
    /// Syncs of the first file are answered, and done when the second is written.
    pub(crate) deferred: Option<(String, String)>,
    pub(crate) calls: u64,
    pub(crate) counters: Counters,
    pub(crate) cost: Cost,
    pub(crate) chance: Chance,
    /// The moment before each changing call, while they are recorded.
    pub(crate) moments: Option<Vec<Moment>>,
}

impl State {
    pub(crate) fn new(seed: u64, epoch: u64) -> State {
        State {
            image: Image::default(),
            locks: BTreeMap::new(),
            epoch,
            frozen: false,
            orders: Orders::default(),
            capacity: None,
            lying: false,
            deferred: None,
            calls: 0,
            counters: Counters::default(),
            cost: Cost::default(),
            chance: Chance::new(seed),
            moments: None,
        }
    }

    /// Counts a changing call and decides how it ends.
    pub(crate) fn change(&mut self, call: Call) -> Verdict {
        if self.frozen {
            return Verdict::Frozen;
        }
        if let Some(moments) = &mut self.moments {
            moments.push(Moment { call, image: self.image.clone() });
        }
        let verdict = self.orders.meet(call);
        match verdict {
            Verdict::Frozen => {
                self.frozen = true;
                return verdict;
            }
            Verdict::Fail(_) => self.counters.failures += 1,
            Verdict::Misdirected => self.counters.misdirected += 1,
            Verdict::Go => {}
        }
        self.calls += 1;
        verdict
    }

    pub(crate) fn file(&mut self, name: &str) -> Option<&mut FileData> {
        self.image.files.get_mut(name)
    }

    pub(crate) fn locks(&mut self, name: &str) -> &mut FileLocks {
        if !self.locks.contains_key(name) {
            self.locks.insert(name.to_owned(), FileLocks::default());
        }
        self.locks.get_mut(name).expect("inserted above")
    }

    pub(crate) fn create(&mut self, name: &str) {
        self.image.files.insert(name.to_owned(), FileData::default());
    }

    /// Writes, when there is room.
    pub(crate) fn write(&mut self, name: &str, at: usize, bytes: &[u8]) -> bool {
        if !self.has_room(name, at + bytes.len()) {
            self.counters.full += 1;
            return false;
        }
        self.before_write(name);
        self.counters.writes += 1;
        self.cost.writes += 1;
        self.cost.write_bytes += bytes.len() as u64;
        self.file(name).expect("an open file is there").write(at, bytes);
        true
    }

    fn has_room(&self, name: &str, end: usize) -> bool {
        let Some(capacity) = self.capacity else {
            return true;
        };
        let files = &self.image.files;
        let used: usize = files.values().map(|file| file.contents().len()).sum();
        let present = files.get(name).map_or(0, |file| file.contents().len());
        let more = end.saturating_sub(present);
        // A write that needs no new space goes through even where there is too little.
        more == 0 || (used + more) as u64 <= capacity
    }

    /// Where a misdirected write of `bytes` bytes goes that was meant for `at`: the start of any
    /// other sector up to the end of the file.
    pub(crate) fn elsewhere(&mut self, name: &str, at: usize) -> usize {
        let bytes = self.file(name).map_or(0, |file| file.contents().len());
        let sectors = bytes / SECTOR_BYTES + 1;
        let meant = at / SECTOR_BYTES;
        if meant >= sectors {
            return SECTOR_BYTES * self.chance.below(sectors);
        }
        // Of the others, or the one after the end where there is no other.
        let place = self.chance.below(sectors.max(2) - 1);
        SECTOR_BYTES * (place + usize::from(place >= meant))
    }

    pub(crate) fn delete(&mut self, name: &str) -> bool {
        let Some(file) = self.image.files.remove(name) else {
            return false;
        };
        self.locks.remove(name);
        if file.name_durable {
            self.image.ghosts.insert(name.to_owned(), file);
        }
        true
    }

    /// A write to `name` is under way.
    fn before_write(&mut self, name: &str) {
        if let Some((deferred, written)) = &self.deferred
            && written == name
            && let Some(file) = self.image.files.get_mut(deferred)
        {
            file.sync();
        }
    }

    fn count_sync(&mut self) {
        self.counters.syncs += 1;
        self.counters.lies += u64::from(self.lying);
        self.cost.syncs += 1;
    }

    pub(crate) fn sync(&mut self, name: &str) {
        self.count_sync();
        let deferred = self.deferred.as_ref().is_some_and(|(deferred, _)| deferred == name);
        let lying = self.lying || deferred;
        if let Some(file) = self.file(name).filter(|_| !lying) {
            file.sync();
        }
    }

    pub(crate) fn sync_failed(&mut self, name: &str) {
        let file = self.image.files.get_mut(name).expect("an open file is there");
        file.sync_failed(&mut self.chance);
    }

    /// Makes the present names durable, and the deleted ones gone.
    pub(crate) fn sync_directory(&mut self) {
        self.count_sync();
        if self.lying {
            return;
        }
        self.image.ghosts.clear();
        for file in self.image.files.values_mut() {
            file.name_durable = true;
        }
    }

    pub(crate) fn process_crash(&mut self) {
        self.begin_epoch();
    }

    pub(crate) fn power_loss(&mut self) {
        self.frozen = true;
        self.begin_epoch();
        self.orders = Orders::default();
        let mut loss = Loss::default();
        let State { image: Image { files, ghosts }, chance, .. } = self;
        files.retain(|_, file| {
            file.power_loss_by_chance(chance, &mut loss);
            // A name that was not synced may have got there all the same.
            let present = file.name_durable || chance.coin();
            loss.names_lost += u64::from(!present);
            present
        });
        for (name, mut ghost) in std::mem::take(ghosts) {
            ghost.power_loss_by_chance(chance, &mut loss);
            if chance.coin() && !files.contains_key(&name) {
                loss.names_revived += 1;
                files.insert(name, ghost);
            }
        }
        for file in files.values_mut() {
            file.name_durable = true;
        }
        self.counters.power_losses += 1;
        self.counters.last_loss = loss;
    }

    /// Another disk is in its place, and the process on the old one is gone.
    pub(crate) fn restore(&mut self, image: &Image) {
        self.frozen = true;
        self.begin_epoch();
        self.orders = Orders::default();
        self.image = image.clone();
    }

    fn begin_epoch(&mut self) {
        self.epoch += 1;
        self.locks.clear();
        if self.frozen {
            self.frozen = false;
            self.orders.freeze = None;
        }
    }

    pub(crate) fn flip(&mut self, name: &str, byte: usize, bit: u8) {
        self.counters.flips += 1;
        self.file(name).expect("the file to damage exists").flip(byte, bit);
    }

    /// The file and byte at `permille` of all bytes of the files whose names contain `part`.
    pub(crate) fn byte_at(
        &self,
        chosen: impl Fn(&str) -> bool,
        permille: u32,
    ) -> Option<(String, usize)> {
        let files = self.image.files.iter().filter(|(name, _)| chosen(name));
        let sizes: Vec<(&String, usize)> =
            files.map(|(name, file)| (name, file.contents().len())).collect();
        let total: usize = sizes.iter().map(|(_, bytes)| bytes).sum();
        let mut byte = total * permille.min(999) as usize / 1_000;
        for (name, bytes) in sizes {
            if byte < bytes {
                return Some((name.clone(), byte));
            }
            byte -= bytes;
        }
        None
    }
}

#[cfg(test)]
mod tests;
