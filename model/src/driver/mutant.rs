//! Planted bugs in what surrounds a replica: its driver, its disk, its network. Each must be found,
//! and by the property that is there for it.
//!
//! Not in shipped builds, and not in raft-rs: the replica is always the real one.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// A crash takes the vote along.
    VoteLost,
    /// A write is confirmed before it is durable.
    ConfirmedBeforeDurable,
    /// A follower acknowledges entries when it gets them, not when they are durable.
    AcknowledgedEarly,
    /// A follower's vote leaves before it is durable.
    VotedEarly,
    /// The disk loses the last entry at a crash, although it was synced.
    TailLost,
    /// The applied index is not in the machine's transaction: entries are applied again.
    AppliedTwice,
    /// A snapshot does not carry the session table.
    SnapshotWithoutSessions,
    /// The session table is lost at a crash.
    SessionsLost,
    /// A snapshot is installed without its configuration.
    SnapshotWithoutConf,
    /// The configuration is not written when a change is applied.
    ConfNotWrittenWithApplied,
    /// A node counts votes by the changes in its log, committed or not, after a restart.
    ConfBeforeCommit,
    /// The commit index is not written with the entries of its ready.
    CommitNotWritten,
    /// A leader answers reads from what it knows, without asking a quorum.
    ReadWithoutQuorum,
    /// The log is truncated up to what is applied, durable or not.
    TruncatedAboveDurable,
    /// Who waits for an entry is refused when its leader loses leadership.
    RefusedInFlight,
    /// Who waits for an entry is told a second time when it is told once.
    AnsweredTwice,
    /// A command is damaged on its way to a follower, and nobody looks at the checksum.
    EntryDamaged,
    /// A leader that steps aside takes back its last entry.
    LeaderTakesBack,
    /// A node votes for everybody who asks.
    VotesForAll,
}
