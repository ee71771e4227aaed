//! Messages that wait for one peer: bounded in number and bytes, heartbeats first.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use pgraft_replica::{Message, MessageKind};
use tokio::sync::Notify;

use crate::codec;
use crate::frame::{self, FrameKind, HEADER_BYTES};
use crate::limits::{FRAME_BYTES_MAX, OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX, TURN_BYTES_MAX};

#[derive(Debug, Default)]
struct Waiting {
    /// Heartbeats and their answers: they keep leadership alive behind megabytes of entries.
    urgent: VecDeque<(usize, Message)>,
    rest: VecDeque<(usize, Message)>,
    bytes: usize,
    /// A message was dropped since the queue was last emptied.
    overflowed: bool,
    dropped: u64,
    sent: u64,
    sent_bytes: u64,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// It will be sent with the next turn.
    Queued,
    /// Dropped: the first one since the queue was last emptied.
    Overflowed,
    /// Dropped, as others before it.
    Dropped,
    /// Dropped: no frame could hold it.
    TooLong(usize),
}

/// How full it is, and what went through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) dropped: u64,
    pub(crate) sent: u64,
    pub(crate) sent_bytes: u64,
}

/// The queue. One task takes out of it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

impl Outbox {
    pub(crate) fn push(&self, message: Message) -> Push {
        let len = HEADER_BYTES + codec::encoded_len(&message);
        if len > FRAME_BYTES_MAX {
            self.with(|waiting| waiting.dropped += 1);
            return Push::TooLong(len);
        }
        let pushed = self.with(|waiting| {
            let messages = waiting.urgent.len() + waiting.rest.len();
            if messages >= OUTBOX_MESSAGES_MAX || waiting.bytes + len > OUTBOX_BYTES_MAX {
                waiting.dropped += 1;
                let before = std::mem::replace(&mut waiting.overflowed, true);
                return if before { Push::Dropped } else { Push::Overflowed };
            }
            waiting.bytes += len;
            let urgent =
                matches!(message.kind, MessageKind::Heartbeat | MessageKind::HeartbeatResponse);
            let queue = if urgent { &mut waiting.urgent } else { &mut waiting.rest };
            queue.push_back((len, message));
            Push::Queued
        });
        if pushed == Push::Queued {
            self.wake.notify_one();
        }
        pushed
    }

    /// Returns when something waits.
    pub(crate) async fn ready(&self) {
        while self.with(|waiting| waiting.bytes == 0) {
            self.wake.notified().await;
        }
    }

    /// Moves messages, as frames, to the end of `buffer`: heartbeats first, and at least one
    /// message when any waits, but no more than [`TURN_BYTES_MAX`].
    pub(crate) fn drain(&self, buffer: &mut Vec<u8>, version: u16) {
        let mut turn = Vec::new();
        self.with(|waiting| {
            let mut bytes = 0;
            loop {
                let urgent = !waiting.urgent.is_empty();
                let queue = if urgent { &mut waiting.urgent } else { &mut waiting.rest };
                let Some((len, _)) = queue.front() else { break };
                if bytes > 0 && bytes + len > TURN_BYTES_MAX {
                    break;
                }
                let (len, message) = queue.pop_front().expect("looked at above");
                bytes += len;
                turn.push(message);
            }
            waiting.bytes -= bytes;
            waiting.sent += turn.len() as u64;
            waiting.sent_bytes += bytes as u64;
            if waiting.bytes == 0 {
                waiting.overflowed = false;
            }
        });
        for message in &turn {
            let start = frame::begin(buffer);
            codec::encode(message, buffer);
            frame::finish(buffer, start, FrameKind::Message, version);
        }
    }

    /// Forgets what waits, because the connection it waited for is gone. How many there were.
    pub(crate) fn clear(&self) -> usize {
        self.with(|waiting| {
            let messages = waiting.urgent.len() + waiting.rest.len();
            waiting.urgent = VecDeque::new();
            waiting.rest = VecDeque::new();
            waiting.bytes = 0;
            waiting.overflowed = false;
            waiting.dropped += messages as u64;
            messages
        })
    }

    pub(crate) fn fill(&self) -> Fill {
        self.with(|waiting| Fill {
            messages: waiting.urgent.len() + waiting.rest.len(),
            bytes: waiting.bytes,
            dropped: waiting.dropped,
            sent: waiting.sent,
            sent_bytes: waiting.sent_bytes,
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
