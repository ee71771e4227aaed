//! The disk itself: files, names, and the faults ordered for it. Knows nothing of C.

use std::collections::BTreeMap;

use crate::chance::Chance;
use crate::file::FileData;

/// What a call may run into, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An input/output error. A sync that fails loses what it should have made durable, without
    /// any later sync noticing.
    Io,
    /// No space is left. Only creating and writing can run into it; others go on.
    Full,
}

/// How a changing call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Go,
    Fail(Failure),
    Frozen,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) files: BTreeMap<String, FileData>,
    /// Deleted, but the directory on the platter does not know it yet.
    ghosts: BTreeMap<String, FileData>,
    /// Handles of an earlier epoch are dead.
    pub(crate) epoch: u64,
    pub(crate) frozen: bool,
    pub(crate) freeze_at: Option<u64>,
    pub(crate) failure: Option<(u64, Failure)>,
    pub(crate) capacity: Option<u64>,
    /// Syncs of the first file are answered, and done when the second is written.
    pub(crate) deferred: Option<(String, String)>,
    pub(crate) calls: u64,
    pub(crate) syncs: u64,
    pub(crate) chance: Chance,
}

impl State {
    pub(crate) fn new(seed: u64, epoch: u64) -> State {
        State {
            files: BTreeMap::new(),
            ghosts: BTreeMap::new(),
            epoch,
            frozen: false,
            freeze_at: None,
            failure: None,
            capacity: None,
            deferred: None,
            calls: 0,
            syncs: 0,
            chance: Chance::new(seed),
        }
    }

    /// Counts a changing call and decides how it ends.
    pub(crate) fn change(&mut self) -> Verdict {
        if self.freeze_at.is_some_and(|at| self.calls >= at) {
            self.frozen = true;
        }
        if self.frozen {
            return Verdict::Frozen;
        }
        let call = self.calls;
        self.calls += 1;
        match self.failure {
            Some((at, failure)) if call >= at => {
                self.failure = None;
                Verdict::Fail(failure)
            }
            _ => Verdict::Go,
        }
    }

    pub(crate) fn has_room(&self, name: &str, end: usize) -> bool {
        let Some(capacity) = self.capacity else {
            return true;
        };
        let used: usize = self.files.values().map(|file| file.contents().len()).sum();
        let present = self.files.get(name).map_or(0, |file| file.contents().len());
        (used + end.saturating_sub(present)) as u64 <= capacity
    }

    pub(crate) fn delete(&mut self, name: &str) -> bool {
        let Some(file) = self.files.remove(name) else {
            return false;
        };
        if file.name_durable {
            self.ghosts.insert(name.to_owned(), file);
        }
        true
    }

    /// A write to `name` is under way.
    pub(crate) fn before_write(&mut self, name: &str) {
        if let Some((deferred, written)) = &self.deferred
            && written == name
            && let Some(file) = self.files.get_mut(deferred)
        {
            file.sync();
        }
    }

    pub(crate) fn sync(&mut self, name: &str) {
        self.syncs += 1;
        let deferred = self.deferred.as_ref().is_some_and(|(deferred, _)| deferred == name);
        if let Some(file) = self.files.get_mut(name).filter(|_| !deferred) {
            file.sync();
        }
    }

    /// Makes the present names durable, and the deleted ones gone.
    pub(crate) fn sync_directory(&mut self) {
        self.syncs += 1;
        self.ghosts.clear();
        for file in self.files.values_mut() {
            file.name_durable = true;
        }
    }

    pub(crate) fn process_crash(&mut self) {
        self.begin_epoch();
        for file in self.files.values_mut() {
            file.locks = Default::default();
        }
    }

    pub(crate) fn power_loss(&mut self) {
        self.frozen = true;
        self.begin_epoch();
        self.failure = None;
        let State { files, ghosts, chance, .. } = self;
        files.retain(|_, file| {
            file.power_loss(chance);
            // A name that was not synced may have got there all the same.
            file.name_durable || chance.coin()
        });
        for (name, mut ghost) in std::mem::take(ghosts) {
            ghost.power_loss(chance);
            if chance.coin() {
                files.entry(name).or_insert(ghost);
            }
        }
        for file in files.values_mut() {
            file.name_durable = true;
        }
    }

    fn begin_epoch(&mut self) {
        self.epoch += 1;
        if self.frozen {
            self.frozen = false;
            self.freeze_at = None;
        }
    }

    pub(crate) fn flip(&mut self, name: &str, byte: usize, bit: u8) {
        self.files.get_mut(name).expect("the file to damage exists").flip(byte, bit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(seed: u64) -> State {
        let mut state = State::new(seed, 1);
        state.files.insert("f".to_owned(), FileData::default());
        state
    }

    fn write(state: &mut State, at: usize, bytes: &[u8]) {
        state.files.get_mut("f").unwrap().write(at, bytes);
    }

    fn contents(state: &State) -> Option<Vec<u8>> {
        state.files.get("f").map(|file| file.contents().to_vec())
    }

    #[test]
    fn what_was_synced_survives_every_power_loss() {
        for seed in 0..200 {
            let mut state = with_file(seed);
            write(&mut state, 0, b"kept");
            state.sync("f");
            state.sync_directory();
            write(&mut state, 4, &[1; 2_000]);
            state.power_loss();
            assert_eq!(contents(&state).unwrap()[..4], *b"kept", "seed {seed}");
        }
    }

    #[test]
    fn what_was_not_synced_is_sometimes_lost_kept_torn_and_reordered() {
        let (mut lost, mut kept, mut torn, mut reordered) = (0, 0, 0, 0);
        for seed in 0..400 {
            let mut state = with_file(seed);
            state.sync_directory();
            write(&mut state, 0, &[1; 1_024]);
            write(&mut state, 2_048, &[2; 1_024]);
            state.power_loss();
            let mut found = contents(&state).unwrap();
            found.resize(3_072, 0);
            let sectors: Vec<u8> = found.chunks(512).map(|sector| sector[0]).collect();
            match sectors[..] {
                [0, 0, 0, 0, 0, 0] => lost += 1,
                [1, 1, 0, 0, 2, 2] => kept += 1,
                [0, 0, 0, 0, 2, 2] => reordered += 1,
                [1, 1, 0, 0, 0, 0] => {}
                _ => torn += 1,
            }
        }
        println!("{lost} lost, {kept} kept, {torn} torn, {reordered} reordered");
        assert!(lost > 20 && kept > 20 && torn > 20 && reordered > 20);
    }

    #[test]
    fn failed_sync_loses_what_no_later_sync_brings_back() {
        let mut state = with_file(1);
        write(&mut state, 0, b"lost");
        state.files.get_mut("f").unwrap().sync_failed();
        assert_eq!(contents(&state).unwrap(), b"lost", "a reader sees the page cache");
        state.sync("f");
        state.sync_directory();
        state.power_loss();
        assert_eq!(contents(&state).unwrap(), b"");
    }

    #[test]
    fn names_last_only_with_the_directory() {
        let (mut unsynced, mut undeleted) = (0, 0);
        for seed in 0..100 {
            let mut state = with_file(seed);
            state.sync("f");
            state.power_loss();
            unsynced += u32::from(contents(&state).is_some());
            let mut state = with_file(seed);
            state.sync_directory();
            assert!(state.delete("f"));
            state.power_loss();
            undeleted += u32::from(contents(&state).is_some());
            let mut state = with_file(seed);
            state.sync_directory();
            state.delete("f");
            state.sync_directory();
            state.power_loss();
            assert_eq!(contents(&state), None);
        }
        assert!((20..80).contains(&unsynced), "{unsynced} of 100");
        assert!((20..80).contains(&undeleted), "{undeleted} of 100");
    }

    #[test]
    fn frozen_disk_stays_frozen_until_it_loses_power() {
        let mut state = with_file(1);
        state.freeze_at = Some(1);
        assert_eq!(state.change(), Verdict::Go);
        assert_eq!([state.change(), state.change()], [Verdict::Frozen; 2]);
        state.power_loss();
        assert_eq!(state.change(), Verdict::Go);
    }
}
