//! What is on its way to disk, and the messages that wait for it: a vote or an acknowledgement
//! leaves only after the state it speaks for is durable (Raft thesis, section 3.8).

use std::collections::VecDeque;

use crate::canonical::Notes;
use crate::{Index, Message};

/// One persist effect that the driver has not confirmed.
#[derive(Debug)]
pub(crate) struct Write {
    /// Number of the effect.
    pub(crate) number: u64,
    /// Number of the last ready that it, or something after it, stands for.
    pub(crate) last_ready: u64,
    /// Bytes of its entries.
    pub(crate) bytes: usize,
    /// It carries a new term or vote.
    pub(crate) has_vote: bool,
    /// It installs a snapshot at this index.
    pub(crate) snapshot: Option<Index>,
    /// Leave when it is durable.
    pub(crate) messages: Vec<Message>,
}

/// The writes in flight, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    queue: VecDeque<Write>,
    bytes: usize,
    votes: usize,
    snapshots: usize,
}

impl Writes {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes handed to the log writer and not confirmed.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a term or vote is not durable yet: then nothing may leave that speaks in it.
    pub(crate) fn has_vote(&self) -> bool {
        self.votes > 0
    }

    /// Whether a snapshot is being installed.
    pub(crate) fn has_snapshot(&self) -> bool {
        self.snapshots > 0
    }

    pub(crate) fn push(&mut self, write: Write) {
        let last = self.queue.back().map_or(0, |last| last.last_ready);
        assert!(last < write.number, "write {} after ready {last}", write.number);
        self.bytes += write.bytes;
        self.votes += usize::from(write.has_vote);
        self.snapshots += usize::from(write.snapshot.is_some());
        self.queue.push_back(write);
    }

    /// The youngest write, to which later messages are attached so that they keep their order.
    pub(crate) fn last_mut(&mut self) -> Option<&mut Write> {
        self.queue.back_mut()
    }

    /// The oldest write, if `number` covers it.
    pub(crate) fn pop_up_to(&mut self, number: u64) -> Option<Write> {
        if self.queue.front().is_none_or(|write| write.number > number) {
            return None;
        }
        let write = self.queue.pop_front().expect("just seen");
        self.bytes -= write.bytes;
        self.votes -= usize::from(write.has_vote);
        self.snapshots -= usize::from(write.snapshot.is_some());
        Some(write)
    }

    /// Without the numbers, which only say what comes first.
    pub(crate) fn canonical(&self, notes: &mut Notes<'_>) {
        notes.count("writes", self.queue.len());
        for write in &self.queue {
            notes.count("writes", write.bytes);
            notes.flag("writes", write.has_vote);
            notes.number("writes", write.snapshot.map_or(0, |index| index.0 + 1));
            notes.messages("held messages", write.messages.iter());
        }
    }
}
