//! What travels between modelled nodes.

use std::fmt;

use pgraft_replica::{Message, MessageKind, NodeId};

use super::disk::Machine;
use super::words::{Key, Words};

/// Something on its way.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// A message; that of a snapshot has its data with it.
    Message { message: Box<Message>, machine: Option<Machine> },
    /// The leader's transport knows that a snapshot arrived.
    Delivered { leader: NodeId, to: NodeId },
}

impl Item {
    pub(super) fn plain(message: Message) -> Item {
        Item::Message { message: Box::new(message), machine: None }
    }

    /// To whom.
    pub(super) fn to(&self) -> NodeId {
        match self {
            Item::Message { message, .. } => message.to,
            Item::Delivered { leader, .. } => *leader,
        }
    }

    /// Whether it changes nothing on a node whose durable term is `term`, now or ever: raft-rs
    /// ignores these kinds when their term is over, and a durable term never goes back.
    pub(super) fn is_over(&self, term: u64) -> bool {
        let Item::Message { message, .. } = self else { return false };
        let answers = matches!(
            message.kind,
            MessageKind::Append | MessageKind::Heartbeat | MessageKind::PreVote
        );
        !answers && message.term.0 < term
    }

    pub(super) fn key(&self) -> Key {
        match self {
            Item::Message { message, machine } => {
                let mut words = Words::new(2);
                message.canonical(&mut |_, number| words.add(number));
                if let Some(machine) = machine {
                    machine.words(&mut words);
                }
                words.key()
            }
            Item::Delivered { leader, to } => {
                let mut words = Words::new(3);
                words.add(leader.get());
                words.add(to.get());
                words.key()
            }
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self {
            Item::Message { message, .. } => message,
            Item::Delivered { leader, to } => {
                return write!(f, "word to n{leader} that n{to} has the snapshot");
            }
        };
        let Message { kind, from, to, term, log_term, index, commit, .. } = &**message;
        write!(f, "{kind:?} n{from}->n{to} term {term}")?;
        let no = if message.reject { " no" } else { "" };
        match kind {
            MessageKind::Append => {
                let until = message.entries.last().map_or(*index, |entry| entry.index);
                write!(f, " after {index}@{log_term} until {until} commit {commit}")
            }
            MessageKind::AppendResponse => write!(f, "{no} {index}"),
            MessageKind::Vote | MessageKind::PreVote => write!(f, " log {index}@{log_term}"),
            MessageKind::Snapshot => {
                write!(f, " {}", message.snapshot.as_ref().map_or(0, |meta| meta.index.0))
            }
            MessageKind::Heartbeat | MessageKind::HeartbeatResponse => {
                let read = if message.context.is_empty() { "" } else { " with a read" };
                write!(f, " commit {commit}{read}")
            }
            _ => write!(f, "{no}"),
        }
    }
}
