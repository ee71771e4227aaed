//! Messages between replicas: our own type, so that the codec of the wire and the parser of
//! raft-rs never meet (RAFT.md 1.1, the advisory).

use bytes::Bytes;

use crate::{Entry, Index, NodeId, SnapshotMeta, Term};

/// The kinds that may cross the wire; raft-rs has more, all of them local.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Entries, or a probe.
    Append,
    /// Answer to `Append`, `Heartbeat` of an older term, or `Snapshot`.
    AppendResponse,
    /// A candidate asks for a vote.
    Vote,
    /// Answer to `Vote`.
    VoteResponse,
    /// Would you vote for me? (Raft thesis, section 9.6)
    PreVote,
    /// Answer to `PreVote`.
    PreVoteResponse,
    /// Metadata of a snapshot whose data came on its own connection.
    Snapshot,
    /// The leader is alive; carries the commit index and a read context.
    Heartbeat,
    /// Answer to `Heartbeat`.
    HeartbeatResponse,
    /// Leadership transfer: campaign at once (Raft thesis, section 3.10).
    TimeoutNow,
}

/// One message. Fields as in raft-rs' `eraftpb.Message`; those a kind does not use are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: MessageKind,
    /// Sender, authenticated by the transport.
    pub from: NodeId,
    /// Receiver.
    pub to: NodeId,
    /// The sender's term (a pre-vote carries the term it would campaign for).
    pub term: Term,
    /// Term of the entry at `index`.
    pub log_term: Term,
    /// Index before `entries`, or what is acknowledged or rejected.
    pub index: Index,
    /// The sender's commit index.
    pub commit: Index,
    /// Term of the entry at `commit` (votes only).
    pub commit_term: Term,
    /// Entries of an `Append`.
    pub entries: Vec<Entry>,
    /// Metadata of a `Snapshot`.
    pub snapshot: Option<SnapshotMeta>,
    /// Index a follower asks a snapshot for; 0 = does not ask.
    pub request_snapshot: Index,
    /// The answer is no.
    pub reject: bool,
    /// Where the rejecting follower's log may match.
    pub reject_hint: Index,
    /// Read context of a heartbeat, or the transfer mark of a vote.
    pub context: Bytes,
    /// Election priority; always 0 here.
    pub priority: i64,
}

impl Message {
    /// A message with nothing but its kind and addresses.
    pub fn new(kind: MessageKind, from: NodeId, to: NodeId, term: Term) -> Message {
        Message {
            kind,
            from,
            to,
            term,
            log_term: Term(0),
            index: Index::ZERO,
            commit: Index::ZERO,
            commit_term: Term(0),
            entries: Vec::new(),
            snapshot: None,
            request_snapshot: Index::ZERO,
            reject: false,
            reject_hint: Index::ZERO,
            context: Bytes::new(),
            priority: 0,
        }
    }
}
