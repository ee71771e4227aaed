//! Commands on their way into the log: packing them into entries, and knowing whose they are when
//! the entries come back committed.
//!
//! Not here: whether this node may propose at all. A proposal is found again by (index, term): if
//! another term's entry is committed at that index, ours never will be.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::body::Body;
use crate::canonical::Notes;
use crate::chance::Chance;
use crate::limits::{COMMAND_BYTES_MAX, PACK_BYTES_MAX, PACK_COMMANDS_MAX};
use crate::{Entry, EntryKind, Index, Proposal, Refusal, Term, Ticket, body};

/// One entry's worth of commands.
#[derive(Debug)]
pub(crate) struct Pack {
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) body: Bytes,
}

/// Who waits for an entry.
#[derive(Debug)]
struct Pending {
    index: Index,
    term: Term,
    kind: EntryKind,
    tickets: Vec<Ticket>,
}

/// What became of the proposals at or before a committed entry.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// Who waits for exactly this entry.
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) refused: Vec<(Ticket, Refusal)>,
}

/// Stamps, packs and remembers proposals.
#[derive(Debug)]
pub(crate) struct Proposals {
    entropy: Chance,
    wall_ms: u64,
    /// Newest stamp in the log, or given out.
    stamp_ms: u64,
    /// Ascending by index.
    pending: VecDeque<Pending>,
}

impl Proposals {
    pub(crate) fn new(seed: u64) -> Proposals {
        Proposals {
            entropy: Chance::new(seed, "entropy"),
            wall_ms: 0,
            stamp_ms: 0,
            pending: VecDeque::new(),
        }
    }

    /// What the driver's clock says.
    pub(crate) fn set_wall_ms(&mut self, wall_ms: u64) {
        self.wall_ms = wall_ms;
    }

    /// Looks at an entry that another leader stamped.
    pub(crate) fn observe(&mut self, entry: &Entry) {
        if entry.kind == EntryKind::Normal
            && let Some(time_ms) = body::time_ms(&entry.data)
        {
            self.stamp_ms = self.stamp_ms.max(time_ms);
        }
    }

    /// Packs commands, in order, into as few entries as the limits allow; commands that are too
    /// large are refused.
    pub(crate) fn pack(
        &mut self,
        proposals: Vec<Proposal>,
        refused: &mut Vec<(Ticket, Refusal)>,
    ) -> Vec<Pack> {
        self.stamp_ms = self.stamp_ms.max(self.wall_ms);
        let mut packs = Vec::new();
        let mut tickets = Vec::new();
        let mut commands: Vec<Bytes> = Vec::new();
        let mut bytes = 0;
        for Proposal { ticket, command } in proposals {
            if command.len() > COMMAND_BYTES_MAX {
                refused.push((ticket, Refusal::TooLarge(command.len(), COMMAND_BYTES_MAX)));
                continue;
            }
            let is_full =
                commands.len() == PACK_COMMANDS_MAX || bytes + command.len() > PACK_BYTES_MAX;
            if is_full && !commands.is_empty() {
                packs.push(self.seal(std::mem::take(&mut tickets), std::mem::take(&mut commands)));
                bytes = 0;
            }
            bytes += command.len();
            tickets.push(ticket);
            commands.push(command);
        }
        if !commands.is_empty() {
            packs.push(self.seal(tickets, commands));
        }
        packs
    }

    fn seal(&mut self, tickets: Vec<Ticket>, commands: Vec<Bytes>) -> Pack {
        let body = Body { time_ms: self.stamp_ms, entropy: self.entropy.next(), commands };
        Pack { tickets, body: body.encode() }
    }

    /// Remembers who waits for the entry at (`index`, `term`).
    pub(crate) fn track(&mut self, index: Index, term: Term, kind: EntryKind, t: Vec<Ticket>) {
        // What this node proposed in an earlier term at this index or later was cut off its log
        // since, but may still be committed by another: those stay, out of order is impossible
        // only within a term.
        let at = self.pending.partition_point(|pending| pending.index <= index);
        self.pending.insert(at, Pending { index, term, kind, tickets: t });
    }

    /// Settles the proposals that the committed `entry` decides.
    pub(crate) fn resolve(&mut self, entry: &Entry) -> Resolved {
        let mut resolved = Resolved::default();
        while self.pending.front().is_some_and(|pending| pending.index <= entry.index) {
            let pending = self.pending.pop_front().expect("just seen");
            if (pending.index, pending.term) != (entry.index, entry.term) {
                let refusals = pending.tickets.into_iter();
                resolved.refused.extend(refusals.map(|ticket| (ticket, Refusal::Overwritten)));
            } else if pending.kind != entry.kind {
                // raft-rs replaces a configuration change by an empty entry when another one is
                // pending, and reports success (RAFT.md 1.3, R-D).
                let refusals = pending.tickets.into_iter();
                resolved.refused.extend(refusals.map(|ticket| (ticket, Refusal::Busy)));
            } else {
                resolved.tickets = pending.tickets;
            }
        }
        resolved
    }

    /// A snapshot covers everything up to `index`: nobody here can say what became of proposals
    /// before it. Their tickets are never answered, and the driver's deadline reports "unknown".
    pub(crate) fn forget_up_to(&mut self, index: Index) {
        while self.pending.front().is_some_and(|pending| pending.index <= index) {
            self.pending.pop_front();
        }
    }

    pub(crate) fn canonical(&self, notes: &mut Notes<'_>) {
        notes.number("entropy", self.entropy.position());
        notes.number("wall clock", self.wall_ms);
        notes.number("time stamp", self.stamp_ms);
        notes.count("proposals", self.pending.len());
        for Pending { index, term, kind, tickets } in &self.pending {
            notes.number("proposals", index.0);
            notes.number("proposals", term.0);
            notes.flag("proposals", *kind == EntryKind::ConfChange);
            notes.count("proposals", tickets.len());
            tickets.iter().for_each(|ticket| notes.number("proposals", ticket.0));
        }
    }
}

#[cfg(test)]
mod tests;
