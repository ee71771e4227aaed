//! The faults ordered for a disk: at which call, and of what kind.

/// What a call may run into, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An input/output error. A sync that fails loses what it should have made durable, or part of
    /// it, without any later sync noticing.
    Io,
    /// No space is left. Only creating and writing can run into it; others go on.
    Full,
}

/// A call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A file is created.
    Create,
    /// Bytes are written.
    Write,
    /// A length is set.
    Truncate,
    /// A file is synced, and with its first sync the directory.
    Sync,
    /// A file is deleted, or the directory synced, or both.
    Delete,
}

/// How a changing call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Go,
    /// Only of a write: it goes elsewhere.
    Misdirected,
    Fail(Failure),
    Frozen,
}

/// Counts down calls of one kind; at zero the next one is hit.
type Countdown = Option<u64>;

/// All that is ordered and has not happened yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Orders {
    pub(crate) freeze: Countdown,
    pub(crate) any: Option<(u64, Failure)>,
    pub(crate) write: Option<(u64, Failure)>,
    pub(crate) sync: Option<(u64, Failure)>,
    pub(crate) misdirect: Countdown,
}

fn due<T: Copy>(order: &mut Option<(u64, T)>) -> Option<T> {
    match order {
        None => None,
        Some((0, what)) => {
            let what = *what;
            *order = None;
            Some(what)
        }
        Some((left, _)) => {
            *left -= 1;
            None
        }
    }
}

impl Orders {
    /// Counts a call on a disk that is not frozen and says how it ends.
    pub(crate) fn meet(&mut self, call: Call) -> Verdict {
        if let Some(left) = &mut self.freeze {
            if *left == 0 {
                return Verdict::Frozen;
            }
            *left -= 1;
        }
        let mut failure = due(&mut self.any);
        let mut misdirected = None;
        match call {
            Call::Write => {
                failure = failure.or(due(&mut self.write));
                let mut order = self.misdirect.map(|left| (left, ()));
                misdirected = due(&mut order);
                self.misdirect = order.map(|(left, ())| left);
            }
            Call::Sync => failure = failure.or(due(&mut self.sync)),
            Call::Create | Call::Truncate | Call::Delete => {}
        }
        match (failure, misdirected) {
            (Some(failure), _) => Verdict::Fail(failure),
            (None, Some(())) => Verdict::Misdirected,
            (None, None) => Verdict::Go,
        }
    }

    /// A failure or a misdirection is still to come.
    pub(crate) fn failure_ordered(&self) -> bool {
        let Orders { freeze: _, any, write, sync, misdirect } = self;
        any.is_some() || write.is_some() || sync.is_some() || misdirect.is_some()
    }
}
