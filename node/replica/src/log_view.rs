//! What a replica knows of its own log without asking the disk: the recent entries, the term of
//! every entry, and how many bytes lie where.
//!
//! Not the log itself: that is raft.db. Entries that were applied and are durable leave this view
//! when it grows too large; a slow follower that still needs them is served by fetching blocks.

use std::collections::VecDeque;

use crate::canonical::Notes;
use crate::limits::{CACHE_BYTES_MAX, FETCH_BLOCKS_MAX};
use crate::{Entry, Fetch, Index, Keep, Term};

/// A sample of the byte counter is taken each time this many bytes were appended.
const SAMPLE_BYTES: u64 = 64 << 10;

/// Why entries cannot be read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// They are truncated; only a snapshot helps.
    Truncated,
    /// They are on disk.
    OnDisk,
}

/// The log as this replica sees it.
#[derive(Debug)]
pub(crate) struct LogView {
    truncated: (Index, Term),
    /// First index of each term in the log, ascending in both.
    terms: VecDeque<(Index, Term)>,
    last: Index,
    /// The contiguous tail of the log, up to `last`.
    recent: VecDeque<Entry>,
    recent_bytes: usize,
    /// Blocks read back from disk, oldest first.
    blocks: VecDeque<Vec<Entry>>,
    /// Data bytes ever appended at or below an index, sampled.
    samples: VecDeque<(Index, u64)>,
    appended_bytes: u64,
}

impl LogView {
    /// The view after a restart.
    pub(crate) fn new(
        truncated: (Index, Term),
        terms: Vec<(Index, Term)>,
        tail: Vec<Entry>,
        last: Index,
    ) -> LogView {
        // The terms of the tail are found again while it is pushed.
        let before_tail = tail.first().map_or(last, |entry| Index(entry.index.0 - 1));
        let terms = terms.into_iter().filter(|(first, _)| *first <= before_tail);
        let mut view = LogView {
            truncated,
            terms: terms.collect(),
            last: before_tail,
            recent: VecDeque::new(),
            recent_bytes: 0,
            blocks: VecDeque::new(),
            samples: VecDeque::new(),
            appended_bytes: 0,
        };
        for entry in tail {
            view.push(entry);
        }
        view
    }

    /// The first index that is in the log, or would be if it is empty.
    pub(crate) fn first(&self) -> Index {
        self.truncated.0.next()
    }

    /// The last index; the truncated one when the log is empty.
    pub(crate) fn last(&self) -> Index {
        self.last
    }

    /// The last truncated entry.
    pub(crate) fn truncated(&self) -> (Index, Term) {
        self.truncated
    }

    /// First index of each term, ascending.
    pub(crate) fn terms(&self) -> impl Iterator<Item = (Index, Term)> + '_ {
        self.terms.iter().copied()
    }

    /// Term of the entry at `index`; `None` outside of `[first - 1, last]`.
    pub(crate) fn term(&self, index: Index) -> Option<Term> {
        if index == self.truncated.0 {
            return Some(self.truncated.1);
        }
        if index < self.truncated.0 || index > self.last {
            return None;
        }
        let after = self.terms.partition_point(|(first, _)| *first <= index);
        let (_, term) = self.terms[after.checked_sub(1).expect("terms cover the whole log")];
        Some(term)
    }

    /// Index of the oldest entry in memory.
    fn recent_first(&self) -> Index {
        self.recent.front().map_or(self.last.next(), |entry| entry.index)
    }

    /// The entries of `[low, high)` that are in memory and fit `bytes_max`, at least one.
    ///
    /// # Errors
    /// When the first one is not in memory.
    ///
    /// # Panics
    /// If the range lies beyond the log: the caller has lost count.
    pub(crate) fn entries(
        &self,
        low: Index,
        high: Index,
        bytes_max: u64,
    ) -> Result<Vec<Entry>, Missing> {
        assert!(high.0 <= self.last.0 + 1, "[{low}, {high}) lies beyond the last entry");
        if low < self.first() {
            return Err(Missing::Truncated);
        }
        if let Some(offset) = low.0.checked_sub(self.recent_first().0) {
            let offset = usize::try_from(offset).expect("the view is in memory");
            return Ok(fitting(self.recent.range(offset..), high, bytes_max));
        }
        for block in self.blocks.iter().rev() {
            let first = block[0].index;
            if first <= low && low.0 < first.0 + block.len() as u64 {
                let offset = usize::try_from(low.0 - first.0).expect("a block is in memory");
                return Ok(fitting(block[offset..].iter(), high, bytes_max));
            }
        }
        Err(Missing::OnDisk)
    }

    /// What must be read from disk to answer for `low`.
    pub(crate) fn fetch(&self, low: Index, bytes_max: u64) -> Fetch {
        Fetch { low, high: self.recent_first(), bytes_max }
    }

    /// Remembers a block that was read from disk.
    ///
    /// # Panics
    /// If the block is not a piece of this log: the disk gave back something else than was
    /// written, and sending it on would spread the damage.
    pub(crate) fn add_block(&mut self, block: Vec<Entry>) {
        let Some(first) = block.first() else { return };
        // Truncated while it was being read; raft will ask for a snapshot.
        if first.index < self.first() {
            return;
        }
        for (offset, entry) in (0u64..).zip(&block) {
            assert_eq!(entry.index.0, block[0].index.0 + offset, "a fetched block has a gap");
            let term = self.term(entry.index);
            assert_eq!(term, Some(entry.term), "fetched entry {} has another term", entry.index);
        }
        if self.blocks.len() == FETCH_BLOCKS_MAX {
            self.blocks.pop_front();
        }
        self.blocks.push_back(block);
    }

    /// Appends `entries`, replacing the tail from the first one's index on.
    ///
    /// # Panics
    /// If they leave a gap, or replace what is truncated.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index >= self.first(), "append at {} into the truncated log", first.index);
        assert!(first.index.0 <= self.last.0 + 1, "append at {} leaves a gap", first.index);
        if first.index <= self.last {
            self.cut_tail(first.index);
        }
        for entry in entries {
            self.push(entry.clone());
        }
    }

    fn push(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last.next(), "entries must be contiguous");
        let newest = self.terms.back().map_or(self.truncated.1, |(_, term)| *term);
        assert!(newest <= entry.term, "term went back at index {}", entry.index);
        if self.terms.is_empty() || newest < entry.term {
            self.terms.push_back((entry.index, entry.term));
        }
        self.last = entry.index;
        self.recent_bytes += entry.data.len();
        self.appended_bytes += entry.data.len() as u64;
        let sampled = self.samples.back().map_or(0, |(_, bytes)| *bytes);
        if self.appended_bytes >= sampled + SAMPLE_BYTES {
            self.samples.push_back((entry.index, self.appended_bytes));
        }
        self.recent.push_back(entry);
    }

    /// Drops all entries at and after `from`.
    fn cut_tail(&mut self, from: Index) {
        while self.recent.back().is_some_and(|entry| entry.index >= from) {
            let entry = self.recent.pop_back().expect("just seen");
            self.recent_bytes -= entry.data.len();
            self.appended_bytes -= entry.data.len() as u64;
        }
        while self.terms.back().is_some_and(|(first, _)| *first >= from) {
            self.terms.pop_back();
        }
        while self.samples.back().is_some_and(|(index, _)| *index >= from) {
            self.samples.pop_back();
        }
        self.last = Index(from.0 - 1);
        let first = self.recent_first();
        assert!(first <= from, "entries that left memory are applied, none may be replaced");
    }

    /// The log now begins after `index`.
    ///
    /// # Panics
    /// If `index` is beyond the log.
    pub(crate) fn truncate(&mut self, index: Index) {
        if index <= self.truncated.0 {
            return;
        }
        let term = self.term(index).expect("only what is in the log is truncated");
        self.truncated = (index, term);
        while self.terms.get(1).is_some_and(|(first, _)| *first <= index.next()) {
            self.terms.pop_front();
        }
        if let Some(oldest) = self.terms.front_mut() {
            oldest.0 = oldest.0.max(index.next());
        }
        if self.last == index {
            self.terms.clear();
        }
        while self.recent.front().is_some_and(|entry| entry.index <= index) {
            self.drop_oldest();
        }
        // The last sample at or below `index` stays: the bytes after it are counted from there.
        while self.samples.get(1).is_some_and(|(at, _)| *at <= index) {
            self.samples.pop_front();
        }
        self.blocks.retain(|block| block[0].index > index);
    }

    /// A snapshot takes the place of the whole log.
    pub(crate) fn reset(&mut self, index: Index, term: Term) {
        *self = LogView::new((index, term), Vec::new(), Vec::new(), index);
    }

    /// Lets entries up to `done` leave memory while there are more bytes than allowed.
    pub(crate) fn evict(&mut self, done: Index) {
        while self.recent_bytes > CACHE_BYTES_MAX
            && self.recent.front().is_some_and(|entry| entry.index <= done)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(entry) = self.recent.pop_front() {
            self.recent_bytes -= entry.data.len();
        }
    }

    /// Bytes between `index` and the end, to the precision of a sample. Entries from before the
    /// last start that were already applied then count as nothing.
    pub(crate) fn bytes_after(&self, index: Index) -> u64 {
        let after = self.samples.partition_point(|(at, _)| *at <= index);
        let before = after.checked_sub(1).map_or(0, |at| self.samples[at].1);
        self.appended_bytes - before
    }

    /// The highest index behind which at least `bytes` lie up to `end`; zero when there are fewer.
    pub(crate) fn index_with_bytes_up_to(&self, end: Index, bytes: u64) -> Index {
        let total = self.appended_bytes - self.bytes_after(end);
        let Some(wanted) = total.checked_sub(bytes) else { return Index::ZERO };
        let after = self.samples.partition_point(|(_, sum)| *sum <= wanted);
        after.checked_sub(1).map_or(Index::ZERO, |at| self.samples[at].0)
    }

    /// Whether there is enough in the log for a truncation to be thought of, or would be with
    /// `entries` and `bytes` more.
    pub(crate) fn is_worth_truncating(&self, keep: &Keep, entries: u64, bytes: u64) -> bool {
        self.truncated.0.distance_to(self.last) + entries >= keep.step
            || self.appended_bytes + bytes >= keep.bytes / 16
    }

    pub(crate) fn canonical(&self, notes: &mut Notes<'_>) {
        notes.number("truncated", self.truncated.0.0);
        notes.number("truncated", self.truncated.1.0);
        notes.count("terms", self.terms.len());
        for (first, term) in &self.terms {
            notes.number("terms", first.0);
            notes.number("terms", term.0);
        }
        notes.number("last", self.last.0);
        notes.entries("recent", self.recent.iter());
        notes.count("blocks", self.blocks.len());
        self.blocks.iter().for_each(|block| notes.entries("blocks", block.iter()));
        notes.count("samples", self.samples.len());
        for (index, bytes) in &self.samples {
            notes.number("samples", index.0);
            notes.number("samples", *bytes);
        }
        notes.number("appended bytes", self.appended_bytes);
    }
}

fn fitting<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    high: Index,
    bytes_max: u64,
) -> Vec<Entry> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    for entry in entries.take_while(|entry| entry.index < high) {
        bytes += entry.data.len() as u64;
        if bytes > bytes_max && !taken.is_empty() {
            break;
        }
        taken.push(entry.clone());
    }
    taken
}

#[cfg(test)]
mod tests;
