//! How much may happen in a run: the bounds of the driver's model, beside depth.

use bytes::Bytes;
use pgraft_replica::{ConfChangeKind, ConfState, Keep, NodeId};

use super::disk::{Disk, Machine};
use super::marks::Marks;
use super::mutant::Mutant;
use super::node::id;

/// The changes of one configuration change; none means leaving a joint configuration, which the
/// replica does by itself.
pub(super) type Changes = Vec<(ConfChangeKind, NodeId)>;

/// The replica counts the bytes of its log in steps of this size.
const COMMAND_BYTES: usize = 64 << 10;

/// How often each thing may happen, and what happens without being asked.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// Nodes that there are.
    pub(super) servers: u8,
    /// The first of them are voters, the others wait to be added.
    pub(super) voters: u8,
    /// Begin where node 1 leads and all is quiet, not where nobody knows anything.
    pub(super) led: bool,
    /// And begin later still: node 3 waits to apply the first change, and was away when the second
    /// one and all commands were committed.
    pub(super) behind: bool,
    /// Commands are large and little of the log is kept: leaders truncate theirs, whoever may
    /// still need it.
    pub(super) truncates: bool,
    /// Nobody times out in this term.
    pub(super) term_max: u64,
    /// Letters on the way; what is sent beyond is lost.
    pub(super) letters: usize,
    /// Commands, and how often clients propose one of them again.
    pub(super) proposals: u8,
    pub(super) repeats: u8,
    pub(super) reads: u8,
    /// Proposed in this order.
    pub(super) changes: Vec<Changes>,
    pub(super) transfers: u8,
    pub(super) crashes: u8,
    /// Letters that arrive and stay on the way.
    pub(super) duplicates: u8,
    pub(super) beats: u8,
    pub(super) sleeps: u8,
    /// Connections that break.
    pub(super) breaks: u8,
    /// Followers may doubt their leader without campaigning.
    pub(super) doubts: bool,
    /// state.db may be made durable, and falls back to that at a crash.
    pub(super) checkpoints: bool,
    /// Writes are durable before anything else happens, except those of snapshots.
    pub(super) writes_at_once: bool,
    /// Committed commands are applied before anything else happens; configuration changes take
    /// their time.
    pub(super) applies_at_once: bool,
    /// To be walked through by chance: what drives the cluster forward is likelier than what
    /// disturbs it, and a letter that changes nothing is thrown away.
    pub(super) walks: bool,
    pub(super) mutant: Option<Mutant>,
    /// What must have happened somewhere, beside an election and a commit.
    pub(super) must: &'static [Marks],
}

impl Scope {
    /// Elections of `voters`, up to `term_max`; nothing else.
    pub(super) fn elections(voters: u8, term_max: u64) -> Scope {
        Scope {
            servers: voters,
            voters,
            led: false,
            behind: false,
            truncates: false,
            term_max,
            letters: 6,
            proposals: 0,
            repeats: 0,
            reads: 0,
            changes: Vec::new(),
            transfers: 0,
            crashes: 0,
            duplicates: 0,
            beats: 0,
            sleeps: 0,
            breaks: 0,
            doubts: true,
            checkpoints: false,
            writes_at_once: false,
            applies_at_once: true,
            walks: false,
            mutant: None,
            must: &[],
        }
    }

    /// As [`Scope::elections`], from where node 1 leads.
    pub(super) fn led(voters: u8, term_max: u64) -> Scope {
        Scope { led: true, ..Scope::elections(voters, term_max) }
    }

    /// The disk of a node before its first start.
    pub(super) fn disk(&self) -> Disk {
        let machine = self.machine();
        Disk { machine: machine.clone(), durable: machine, ..Disk::default() }
    }

    /// How much of the log stays.
    pub(super) fn keep(&self) -> Keep {
        if self.truncates {
            let bytes_max = COMMAND_BYTES as u64;
            Keep { entries: u64::MAX, bytes: u64::MAX, bytes_max, step: 1 }
        } else {
            Keep::default()
        }
    }

    /// A client's command: which one it is, and the ticket it was proposed with.
    pub(super) fn command(&self, id: u8, ticket: u8) -> Bytes {
        let mut command = vec![id, ticket];
        if self.truncates {
            command.resize(COMMAND_BYTES, 0);
        }
        Bytes::from(command)
    }

    /// The machine before anything happened.
    pub(super) fn machine(&self) -> Machine {
        let voters = (1..=self.voters).map(id).collect();
        Machine { conf: ConfState { voters, ..ConfState::default() }, ..Machine::default() }
    }
}
