//! What a power loss does to un-synced writes, and what was counted of it.

/// What becomes of one un-synced thing when the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It never reached the platter.
    Lost,
    /// It is whole.
    Kept,
    /// Of a write, the n-th sector it touches arrived when bit n (modulo 64) is set. Anything else
    /// is whole.
    Torn(u64),
}

/// What a power loss did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Writes and truncations lost.
    pub lost: u64,
    /// Writes and truncations kept whole.
    pub kept: u64,
    /// Writes of which only some sectors were kept.
    pub torn: u64,
    /// Writes kept, whole or in part, although an earlier one to the same file was lost.
    pub reordered: u64,
    /// Files that are gone because their names were never synced.
    pub names_lost: u64,
    /// Deleted files that are there again because the deletion was never synced.
    pub names_revived: u64,
}

impl Loss {
    /// One write met its fate; `gap`: an earlier one of the same file was lost.
    pub(crate) fn count(&mut self, fate: Fate, gap: bool) {
        match fate {
            Fate::Lost => self.lost += 1,
            Fate::Kept => self.kept += 1,
            Fate::Torn(_) => self.torn += 1,
        }
        self.reordered += u64::from(gap && fate != Fate::Lost);
    }
}

/// What happened to a disk since it was made, for "sometimes" conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Writes that were done.
    pub writes: u64,
    /// Syncs that were answered with success, of files and of the directory; lies as well.
    pub syncs: u64,
    /// Of these, the lies.
    pub lies: u64,
    /// Calls that failed because a failure was ordered.
    pub failures: u64,
    /// Writes refused because the disk was full.
    pub full: u64,
    /// Writes that went to another place.
    pub misdirected: u64,
    /// Bits that were flipped.
    pub flips: u64,
    /// Power losses.
    pub power_losses: u64,
    /// What the last of these did.
    pub last_loss: Loss,
}

/// What a disk had to do, for simulations in which that takes time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Writes done.
    pub writes: u64,
    /// Bytes of them.
    pub write_bytes: u64,
    /// Syncs answered with success.
    pub syncs: u64,
}
