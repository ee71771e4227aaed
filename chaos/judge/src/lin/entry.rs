//! Calls as the engines see them: times, claimed places, operations and what was heard. Not here:
//! how they come out of a history.

/// A call.
#[derive(Clone, Debug)]
pub struct Entry<O, R> {
    /// Its number, for whoever reads the verdict.
    pub op: u64,
    /// When it was asked. Any clock that is the same for all calls: lines of the history.
    pub called: u64,
    /// When it was answered; a call is before another if it returned strictly before the other
    /// was called. `None`: nobody knows whether it took effect, or will.
    pub returned: Option<u64>,
    /// Where in the log it claims to have taken effect.
    pub place: Option<Place>,
    /// What was asked.
    pub operation: O,
    /// What was heard; `None`: nobody heard anything, so every answer would be right.
    pub reply: Option<R>,
}

/// A place in the order that the log claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Index of the entry; for a read the last entry that was applied.
    pub index: u64,
    /// Position within the entry; [`Place::AFTER`] for a read.
    pub position: u32,
}

impl Place {
    /// The position of reads: behind all commands of the entry.
    pub const AFTER: u32 = u32::MAX;
}

/// Where every order ends: the call that no order could take in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Position of the call among the entries.
    pub at: usize,
    /// Calls that could have been ordered before it but do not help.
    pub concurrent: Vec<usize>,
    /// Of each order that was still possible, the last call that changed the state (`None`: the
    /// state was still the first one), and what the answer would have been.
    pub instead: Vec<(Option<usize>, String)>,
}

/// Most orders that an explanation lists.
pub const INSTEAD_MAX: usize = 4;

/// The beginnings and ends of the calls that matter, in order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) at: u64,
    /// Beginnings come before ends of the same time: such calls overlap.
    pub(crate) is_return: bool,
    pub(crate) entry: usize,
}

/// All moments in order. Reads whose answer nobody heard prove nothing and are left out.
pub(crate) fn moments<O, R>(entries: &[Entry<O, R>], is_read: impl Fn(&O) -> bool) -> Vec<Moment> {
    let mut moments = Vec::with_capacity(2 * entries.len());
    for (number, entry) in entries.iter().enumerate() {
        if entry.reply.is_none() && is_read(&entry.operation) {
            continue;
        }
        moments.push(Moment { at: entry.called, is_return: false, entry: number });
        if let Some(returned) = entry.returned {
            moments.push(Moment { at: returned, is_return: true, entry: number });
        }
    }
    moments.sort_unstable();
    moments
}
