//! What can happen, in words: the operations, and the ends they may come to.

use std::fmt;
use std::sync::Arc;

use pgraft_sim_disk::{Call, Fate, Image};

use super::run::{Ended, Failing};

/// What a driver does with the stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Op {
    /// One entry, and the commit index moves to the entry before it.
    Append,
    /// Two entries, and no hard state.
    Extend,
    /// Another leader's entry takes the place of all that is not committed.
    Overwrite,
    /// A hard state alone: a new term and a vote in it.
    Vote,
    /// A hard state alone: all that is in the log is committed.
    Commit,
    /// What is committed is applied, in one transaction, without a sync.
    Apply,
    /// The state is made durable, and the log may go up to there.
    Checkpoint,
    /// What may go of the log goes.
    Idle,
    /// A snapshot from a peer takes the place of log and state.
    Install,
    /// The process ends and another one starts; the machine runs on.
    Restart,
}

impl Op {
    pub(super) const ALL: [Op; 10] = [
        Op::Append,
        Op::Extend,
        Op::Overwrite,
        Op::Vote,
        Op::Commit,
        Op::Apply,
        Op::Checkpoint,
        Op::Idle,
        Op::Install,
        Op::Restart,
    ];

    /// Whether it is a write of the log, which also truncates.
    pub(super) fn writes_log(self) -> bool {
        matches!(self, Op::Append | Op::Extend | Op::Overwrite | Op::Vote | Op::Commit | Op::Idle)
    }
}

/// A step of a process that goes on living.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Step {
    pub(super) op: Op,
    /// The write that finds the disk full; after that there is space and the operation is done
    /// again.
    pub(super) full_at: Option<u64>,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Death {
    /// The power failed, and this became of what was not synced.
    Power { torn: bool, reordered: bool },
    /// The process was killed; the machine runs on.
    Killed,
    /// A write or a sync failed, which ends a process. `evicted`: the kernel then needed the memory
    /// of its clean pages.
    Failed { sync: bool, evicted: bool },
}

/// A transition. Where listing it needs a run, the run's end is kept, so that nothing is run twice.
#[derive(Clone)]
pub(super) enum Action {
    /// A step ends well, or in a difference from the specification.
    Do { step: Step, ended: Option<Arc<Ended>> },
    /// The disk ends before a call of an operation, or while nothing is under way.
    PowerLoss { during: Option<Op>, before: Option<(usize, Call)>, cut: Arc<Cut> },
    /// The process ends before a call of an operation.
    Kill { during: Op, before: (usize, Call), image: Arc<Image> },
    /// The write or sync with this number fails, and the process ends.
    Failure { during: Op, failing: Failing, evicted: bool },
    /// The node starts on what is left.
    Start { ended: Arc<Ended> },
    /// The disk ends while the node starts, or right after.
    PowerLossInStart { before: Option<(usize, Call)>, cut: Arc<Cut> },
}

/// An image and what a power loss makes of it.
pub(super) struct Cut {
    pub(super) image: Image,
    pub(super) fates: Vec<Fate>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.full_at {
            None => write!(f, "{:?}", self.op),
            Some(at) => write!(f, "{:?}, its write {at} finds the disk full, and again", self.op),
        }
    }
}

impl fmt::Debug for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Death::Power { torn: true, .. } => write!(f, "without power, torn"),
            Death::Power { .. } => write!(f, "without power"),
            Death::Killed => write!(f, "killed"),
            Death::Failed { sync: true, .. } => write!(f, "ended by a failed sync"),
            Death::Failed { .. } => write!(f, "ended by a failed write"),
        }
    }
}

impl fmt::Debug for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fates.is_empty() {
            return write!(f, "all was synced");
        }
        for (fate, unsynced) in self.fates.iter().zip(self.image.unsynced()) {
            let file = unsynced.name.rsplit('/').next().unwrap_or_default();
            write!(f, "\n          {file} {:?}: {fate:?}", unsynced.what)?;
        }
        Ok(())
    }
}

fn place(before: &Option<(usize, Call)>) -> String {
    match before {
        None => "after its last call".to_owned(),
        Some((at, call)) => format!("before its call {at}, a {call:?}"),
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Do { step, .. } => write!(f, "{step:?}"),
            Action::PowerLoss { during: None, cut, .. } => {
                write!(f, "power loss while nothing is under way: {cut:?}")
            }
            Action::PowerLoss { during: Some(op), before, cut } => {
                write!(f, "power loss in {op:?}, {}: {cut:?}", place(before))
            }
            Action::Kill { during, before, .. } => {
                write!(f, "the process is killed in {during:?}, {}", place(&Some(*before)))
            }
            Action::Failure { during, failing, evicted } => {
                let evicted = if *evicted { ", and the kernel drops its clean pages" } else { "" };
                write!(f, "{failing:?} of {during:?} fails{evicted}")
            }
            Action::Start { .. } => write!(f, "start"),
            Action::PowerLossInStart { before, cut } => {
                write!(f, "power loss in the start, {}: {cut:?}", place(before))
            }
        }
    }
}

impl PartialEq for Action {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}
