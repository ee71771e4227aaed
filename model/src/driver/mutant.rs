//! Planted bugs in what surrounds a replica: its driver, its disk, its network. Each must be found,
//! and by the property that is there for it.
//!
//! Not in shipped builds, and not in raft-rs: the replica is always the real one.

use bytes::Bytes;
use pgraft_replica::{ConfChange, ConfState, EntryKind, Message};

use super::disk::{self, Disk, Machine};
use super::scope::Scope;

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
    /// The driver reports one entry more as applied than it was given.
    AppliedAhead,
    /// A node votes for everybody who asks.
    VotesForAll,
}

/// What a planted bug makes of a disk at a crash.
pub(super) fn damage(disk: &mut Disk, before: &Machine, mutant: Option<Mutant>) {
    match mutant {
        Some(Mutant::VoteLost) => disk.hard_state.vote = None,
        Some(Mutant::TailLost) if disk.last() > disk.machine.applied => {
            disk.log.pop_last();
            disk.hard_state.commit = disk.hard_state.commit.min(disk.last());
        }
        Some(Mutant::TruncatedAboveDurable) => disk.truncate(before.applied),
        Some(Mutant::SessionsLost) => disk.machine.sessions.clear(),
        Some(Mutant::AppliedTwice) => {
            disk.machine.chain = before.chain;
            disk.machine.effects = before.effects.clone();
            disk.machine.sessions = before.sessions.clone();
        }
        _ => {}
    }
}

/// Turns a command into another one.
pub(super) fn damage_entries(message: &mut Message) {
    for entry in &mut message.entries {
        if !disk::commands(entry).is_empty() {
            let mut data = entry.data.to_vec();
            // The frame of a body and of its only command has 25 bytes.
            data[25] ^= 0x40;
            entry.data = Bytes::from(data);
        }
    }
}

/// The configuration after all changes in the log, committed or not: a planted bug.
pub(super) fn conf_of_log(disk: &Disk, scope: &Scope) -> ConfState {
    let mut conf = disk.machine.conf.clone();
    for (_, entry) in disk.log.range(disk.machine.applied.0 + 1..) {
        if entry.kind == EntryKind::ConfChange {
            // The context stands last, and its only byte says which change it is.
            let known = entry.data.last().map(|at| scope.changes[usize::from(*at)].clone());
            let change = ConfChange { changes: known.unwrap_or_default(), context: Bytes::new() };
            conf = conf.changed_by(&change).unwrap_or(conf);
        }
    }
    conf
}
