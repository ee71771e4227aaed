//! What a peer may say: raft-rs panics on, or believes, things no correct peer sends (RAFT.md
//! 1.3, R-E to R-E5). Every received message passes here first.
//!
//! This is not protection against a lying member: who the sender is, the transport has checked,
//! and a member's claims about votes and logs are believed. It keeps damage from spreading.

use crate::limits::{
    CONTEXT_BYTES_MAX, ENTRY_BYTES_MAX, MESSAGE_BYTES_MAX, NUMBER_MAX, TERM_JUMP_MAX,
};
use crate::{EntryKind, Index, Message, MessageKind, NodeId, Role, Term, conf_codec};

/// Mark of a vote that a leadership transfer started; raft-rs' `CAMPAIGN_TRANSFER`.
const TRANSFER_MARK: &[u8] = b"CampaignTransfer";

/// What the check needs to know of the replica.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local {
    pub(crate) id: NodeId,
    pub(crate) term: Term,
    pub(crate) role: Role,
    pub(crate) leader: Option<NodeId>,
    pub(crate) last: Index,
    /// Something is on its way to disk.
    pub(crate) is_writing: bool,
    /// A received snapshot is not durable yet.
    pub(crate) is_installing: bool,
    /// More is waiting to be applied than is good.
    pub(crate) is_overloaded: bool,
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// Not for this node, or from itself.
    #[error("it is not addressed to this node")]
    Address,
    /// A term or index is zero where it cannot be, or absurdly large.
    #[error("a term or an index in it is out of range")]
    Number,
    /// Entries have gaps, terms that go back, or the wrong size or content.
    #[error("its entries are malformed")]
    Entries,
    /// A snapshot is missing, not expected, or has an impossible configuration.
    #[error("its snapshot is malformed")]
    Snapshot,
    /// A field is set that this kind does not have.
    #[error("it has a field that its kind does not have")]
    Field,
    /// Another node leads this term.
    #[error("another node leads its term")]
    SecondLeader,
    /// A leader asks for an election, but it is not our leader, or not in this term.
    #[error("only the leader may hand over leadership")]
    NotOurLeader,
    /// A leader asks for an election of a node that is installing a snapshot.
    #[error("this node is installing a snapshot and cannot take over")]
    Installing,
    /// It answers a vote request that has not left this node.
    #[error("it answers what was never asked")]
    NotAsked,
    /// It acknowledges entries beyond the leader's log.
    #[error("it acknowledges what was never sent")]
    NotSent,
    /// Entries would pile up faster than they are applied.
    #[error("this node has too much to apply")]
    Overloaded,
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Drop(Dropped),
    /// A leader knows that we once had more than we have: this log was lost or rolled back.
    LogLost {
        commit: Index,
    },
}

/// Judges `message`; pure.
pub(crate) fn judge(message: &Message, local: &Local) -> Verdict {
    let checks = [addresses, numbers, fields, entries, snapshot, roles];
    for check in checks {
        if let Err(dropped) = check(message, local) {
            return Verdict::Drop(dropped);
        }
    }
    let is_current = message.term >= local.term;
    if message.kind == MessageKind::Heartbeat && is_current && message.commit > local.last {
        return Verdict::LogLost { commit: message.commit };
    }
    Verdict::Pass
}

type Check = Result<(), Dropped>;

fn require(holds: bool, otherwise: Dropped) -> Check {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn addresses(message: &Message, local: &Local) -> Check {
    require(message.to == local.id && message.from != local.id, Dropped::Address)
}

fn numbers(message: &Message, local: &Local) -> Check {
    let Message { term, log_term, index, commit, commit_term, request_snapshot, .. } = message;
    require(term.0 > 0 && term.0 <= NUMBER_MAX, Dropped::Number)?;
    require(term.0 <= local.term.0.saturating_add(TERM_JUMP_MAX), Dropped::Number)?;
    require(log_term.0 <= NUMBER_MAX && commit_term.0 <= NUMBER_MAX, Dropped::Number)?;
    let indexes = [index, commit, request_snapshot, &message.reject_hint];
    require(indexes.iter().all(|index| index.0 <= NUMBER_MAX), Dropped::Number)?;
    // raft-rs takes term 0 for that of every entry beyond its log: it would find a match there.
    let is_anchored = (log_term.0 == 0) == (index.0 == 0);
    require(is_anchored || message.kind != MessageKind::Append, Dropped::Number)
}

fn fields(message: &Message, _: &Local) -> Check {
    let kind = message.kind;
    let may_have_context = match kind {
        MessageKind::Heartbeat | MessageKind::HeartbeatResponse => {
            message.context.len() <= CONTEXT_BYTES_MAX
        }
        MessageKind::Vote => message.context.is_empty() || message.context == TRANSFER_MARK,
        _ => message.context.is_empty(),
    };
    require(may_have_context, Dropped::Field)?;
    require(message.entries.is_empty() || kind == MessageKind::Append, Dropped::Field)?;
    // We never ask for snapshots, so nobody may ask us; and all are of one priority.
    require(message.request_snapshot == Index::ZERO && message.priority == 0, Dropped::Field)?;
    let is_answer = matches!(
        kind,
        MessageKind::AppendResponse | MessageKind::VoteResponse | MessageKind::PreVoteResponse
    );
    require(!message.reject || is_answer, Dropped::Field)
}

fn entries(message: &Message, _: &Local) -> Check {
    let mut before = (message.index, message.log_term);
    let mut bytes = 0usize;
    for entry in &message.entries {
        require(entry.index.0 == before.0.0 + 1, Dropped::Entries)?;
        let is_rising = entry.term >= before.1 && entry.term <= message.term;
        require(is_rising && entry.term.0 > 0, Dropped::Entries)?;
        require(entry.data.len() <= ENTRY_BYTES_MAX, Dropped::Entries)?;
        let is_readable =
            entry.kind == EntryKind::Normal || conf_codec::decode(&entry.data).is_some();
        require(is_readable, Dropped::Entries)?;
        bytes += entry.data.len();
        before = (entry.index, entry.term);
    }
    require(bytes <= MESSAGE_BYTES_MAX, Dropped::Entries)
}

fn snapshot(message: &Message, _: &Local) -> Check {
    let is_snapshot = message.kind == MessageKind::Snapshot;
    require(message.snapshot.is_some() == is_snapshot, Dropped::Snapshot)?;
    let Some(meta) = &message.snapshot else { return Ok(()) };
    let is_in_range = meta.index.0 > 0 && meta.index.0 <= NUMBER_MAX && meta.term.0 > 0;
    require(is_in_range && meta.term <= message.term, Dropped::Snapshot)?;
    require(meta.conf.is_valid(), Dropped::Snapshot)
}

fn roles(message: &Message, local: &Local) -> Check {
    let is_candidate = matches!(local.role, Role::PreCandidate | Role::Candidate);
    let is_same_term = message.term == local.term;
    match message.kind {
        MessageKind::Append | MessageKind::Snapshot | MessageKind::Heartbeat => {
            let other = is_same_term && local.leader.is_some_and(|leader| leader != message.from);
            require(!other, Dropped::SecondLeader)?;
            let grows = message.kind == MessageKind::Append && !message.entries.is_empty();
            require(!(grows && local.is_overloaded), Dropped::Overloaded)
        }
        MessageKind::TimeoutNow => {
            let ours = is_same_term && local.leader == Some(message.from);
            require(ours && local.role == Role::Follower, Dropped::NotOurLeader)?;
            require(!local.is_installing, Dropped::Installing)
        }
        // Our requests leave when our own vote is durable; an answer before that is a forgery or
        // from another life, and winning by it would panic (RAFT.md 1.3, R-K).
        MessageKind::VoteResponse | MessageKind::PreVoteResponse => {
            require(!(is_candidate && local.is_writing), Dropped::NotAsked)
        }
        MessageKind::AppendResponse => {
            let leads = local.role == Role::Leader && is_same_term;
            require(!leads || message.reject || message.index <= local.last, Dropped::NotSent)
        }
        MessageKind::Vote | MessageKind::PreVote | MessageKind::HeartbeatResponse => Ok(()),
    }
}
