//! What happened on the way to a state: so that a run can say that it got anywhere.
//!
//! Not part of a state's identity: of two ways to the same state, the marks are those of the one
//! that came first.

/// A set of things that happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u32);

impl Marks {
    pub(super) const RESTARTED: Marks = Marks(1);
    /// With an entry that was not committed.
    pub(super) const LEADER_CRASHED: Marks = Marks(1 << 1);
    pub(super) const JOINT_ENTERED: Marks = Marks(1 << 2);
    pub(super) const JOINT_CRASHED: Marks = Marks(1 << 3);
    pub(super) const JOINT_LEFT: Marks = Marks(1 << 4);
    /// A crash kept what was written and not yet confirmed.
    pub(super) const WRITE_KEPT: Marks = Marks(1 << 5);
    /// A crash took what was handed to the disk.
    pub(super) const WRITE_LOST: Marks = Marks(1 << 6);
    /// state.db fell back to its checkpoint.
    pub(super) const STATE_LOST: Marks = Marks(1 << 7);
    pub(super) const SNAPSHOT_INSTALLED: Marks = Marks(1 << 8);
    pub(super) const READ_SERVED: Marks = Marks(1 << 9);
    pub(super) const READ_REFUSED: Marks = Marks(1 << 10);
    /// A follower campaigned because its leader asked it to.
    pub(super) const HANDED_OVER: Marks = Marks(1 << 11);
    /// And won.
    pub(super) const TRANSFERRED: Marks = Marks(1 << 12);
    /// A command was applied a second time, without effect.
    pub(super) const REPEAT_IGNORED: Marks = Marks(1 << 13);
    pub(super) const CONF_CHANGED: Marks = Marks(1 << 14);
    pub(super) const OVERWRITTEN: Marks = Marks(1 << 15);
    pub(super) const FETCHED: Marks = Marks(1 << 16);
    pub(super) const TRUNCATED: Marks = Marks(1 << 17);
    /// An append or a vote was refused.
    pub(super) const REJECTED: Marks = Marks(1 << 18);
    /// A node stopped because it is not a member any more.
    pub(super) const STOPPED: Marks = Marks(1 << 19);
    /// And applied.
    pub(super) const ENTRY_COMMITTED: Marks = Marks(1 << 20);

    pub(super) fn set(&mut self, marks: Marks) {
        self.0 |= marks.0;
    }

    pub(super) fn set_if(&mut self, happened: bool, marks: Marks) {
        if happened {
            self.set(marks);
        }
    }

    /// Whether all of `marks` are set.
    pub(super) fn has(self, marks: Marks) -> bool {
        self.0 & marks.0 == marks.0
    }
}
