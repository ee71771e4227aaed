//! The only file that names raft-rs: conversions, its `Storage`, and `RawNode` behind our types.
//!
//! Not here: any decision. What to do with a ready, when to propose, read, campaign or stop is
//! decided by the files beside this one, which see raft-rs only as [`Raft`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use raft::eraftpb;
use raft::{GetEntriesContext, RawNode, StateRole, StorageError};

use crate::canonical::Notes;
use crate::limits::{
    APPEND_BYTES_MAX, APPENDS_IN_FLIGHT_MAX, COMMITTED_BYTES_MAX, FETCH_BYTES_MAX,
    FETCH_WAITERS_MAX, UNCOMMITTED_BYTES_MAX,
};
use crate::log_view::{LogView, Missing};
use crate::{
    ConfChange, ConfState, Entry, EntryKind, Fetch, HardState, Index, Message, MessageKind, NodeId,
    PeerState, PeerView, Role, SnapshotMeta, Term,
};

/// What raft-rs is told once.
pub(crate) struct Settings {
    pub(crate) id: NodeId,
    /// Shortest election timeout, and the period of check-quorum.
    pub(crate) election_ticks_min: u32,
    /// Longest election timeout.
    pub(crate) election_ticks_max: u32,
    pub(crate) heartbeat_ticks: u32,
    pub(crate) applied: Index,
}

/// One ready of raft-rs, already fed to the log view and advanced.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    pub(crate) number: u64,
    /// A leader's: raft-rs lets them leave before its own write.
    pub(crate) messages: Vec<Message>,
    /// To leave after the write, except those the caller knows to be harmless.
    pub(crate) after_write: Vec<Message>,
    /// Read contexts confirmed by a quorum, and their index.
    pub(crate) reads: Vec<(Vec<u8>, Index)>,
    pub(crate) committed: Vec<Entry>,
    pub(crate) entries: Vec<Entry>,
    /// When term, vote or commit changed.
    pub(crate) hard_state: Option<HardState>,
    pub(crate) snapshot: Option<SnapshotMeta>,
    /// Something other than the commit index must become durable.
    pub(crate) must_write: bool,
}

/// The log for raft-rs to read. It asks during a step, through `&self`: what cannot be answered
/// at once is noted here and becomes an effect after the step.
struct Storage {
    hard_state: HardState,
    conf: ConfState,
    log: LogView,
    /// Who waits for a block of old entries, by its first index.
    waiters: RefCell<BTreeMap<Index, Vec<GetEntriesContext>>>,
    fetches: RefCell<Vec<Fetch>>,
    wanted_snapshots: RefCell<BTreeSet<NodeId>>,
    pinned_snapshots: RefCell<BTreeMap<NodeId, SnapshotMeta>>,
}

impl raft::Storage for Storage {
    fn initial_state(&self) -> raft::Result<raft::RaftState> {
        let hard_state = hard_state_out(self.hard_state);
        Ok(raft::RaftState { hard_state, conf_state: conf_state_out(&self.conf) })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        match self.log.entries(Index(low), Index(high), bytes_max) {
            Ok(entries) => Ok(entries.into_iter().map(entry_out).collect()),
            Err(Missing::Truncated) => Err(StorageError::Compacted.into()),
            Err(Missing::OnDisk) => {
                assert!(context.can_async(), "unapplied entries never leave memory, {low} did");
                let mut waiters = self.waiters.borrow_mut();
                let waiting = waiters.entry(Index(low)).or_insert_with(|| {
                    self.fetches.borrow_mut().push(self.log.fetch(Index(low), FETCH_BYTES_MAX));
                    Vec::new()
                });
                // Each heartbeat answer asks again; more than this are the same followers.
                if waiting.len() < FETCH_WAITERS_MAX {
                    waiting.push(context);
                }
                Err(StorageError::LogTemporarilyUnavailable.into())
            }
        }
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.log.term(Index(index)) {
            Some(term) => Ok(term.0),
            None if Index(index) < self.log.first() => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.log.first().0)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.log.last().0)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        let Some(to) = NodeId::new(to) else {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        };
        if let Some(meta) = self.pinned_snapshots.borrow_mut().remove(&to)
            && meta.index.0 >= request_index
            && meta.index >= self.log.truncated().0
        {
            return Ok(snapshot_out(&meta));
        }
        self.wanted_snapshots.borrow_mut().insert(to);
        Err(StorageError::SnapshotTemporarilyUnavailable.into())
    }
}

/// raft-rs, speaking our types.
pub(crate) struct Raft {
    node: RawNode<Storage>,
}

impl Raft {
    /// Starts from what was found on disk; the caller has validated it.
    ///
    /// # Errors
    /// What raft-rs says about the settings or the configuration.
    pub(crate) fn new(
        settings: &Settings,
        hard_state: HardState,
        conf: ConfState,
        log: LogView,
    ) -> Result<Raft, String> {
        let config = raft::Config {
            id: settings.id.get(),
            election_tick: settings.election_ticks_min as usize,
            heartbeat_tick: settings.heartbeat_ticks as usize,
            min_election_tick: settings.election_ticks_min as usize,
            max_election_tick: settings.election_ticks_max as usize + 1,
            applied: settings.applied.0,
            max_size_per_msg: APPEND_BYTES_MAX,
            max_inflight_msgs: APPENDS_IN_FLIGHT_MAX,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: COMMITTED_BYTES_MAX,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            skip_bcast_commit: false,
            read_only_option: raft::ReadOnlyOption::Safe,
            priority: 0,
        };
        let storage = Storage {
            hard_state,
            conf,
            log,
            waiters: RefCell::default(),
            fetches: RefCell::default(),
            wanted_snapshots: RefCell::default(),
            pinned_snapshots: RefCell::default(),
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, storage, &logger).map_err(|error| error.to_string())?;
        Ok(Raft { node })
    }

    // What is so.

    pub(crate) fn role(&self) -> Role {
        match self.node.raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Candidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        }
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    pub(crate) fn term(&self) -> Term {
        Term(self.node.raft.term)
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        NodeId::new(self.node.raft.leader_id)
    }

    pub(crate) fn committed(&self) -> Index {
        Index(self.node.raft.raft_log.committed)
    }

    pub(crate) fn persisted(&self) -> Index {
        Index(self.node.raft.raft_log.persisted)
    }

    pub(crate) fn last(&self) -> Index {
        Index(self.node.raft.raft_log.last_index())
    }

    pub(crate) fn log(&self) -> &LogView {
        &self.node.store().log
    }

    pub(crate) fn log_mut(&mut self) -> &mut LogView {
        &mut self.node.mut_store().log
    }

    /// Whether a snapshot was received and waits for its ready.
    pub(crate) fn has_pending_snapshot(&self) -> bool {
        self.node.snap().is_some()
    }

    /// Whether a configuration change may still be unapplied.
    pub(crate) fn has_pending_conf(&self) -> bool {
        self.node.raft.has_pending_conf()
    }

    /// Whether an entry of the current term is committed: before that a leader does not know
    /// what is committed (Raft paper, 8).
    pub(crate) fn committed_in_term(&self) -> bool {
        self.node.raft.commit_to_current_term()
    }

    pub(crate) fn uncommitted_bytes(&self) -> u64 {
        self.node.raft.uncommitted_size() as u64
    }

    pub(crate) fn transfer_target(&self) -> Option<NodeId> {
        self.node.raft.lead_transferee.and_then(NodeId::new)
    }

    /// Whether the next tick starts an election when the timeout is `timeout`.
    pub(crate) fn is_about_to_campaign(&self, timeout: u32) -> bool {
        let raft = &self.node.raft;
        !self.is_leader()
            && raft.promotable()
            && raft.election_elapsed + 1 >= usize::try_from(timeout).expect("32 bits fit")
    }

    /// The peers as the leader sees them, by id; empty elsewhere.
    pub(crate) fn peers(&self) -> Vec<PeerView> {
        if !self.is_leader() {
            return Vec::new();
        }
        let own = self.node.raft.id;
        let progress = self.node.raft.prs().iter().filter(|(id, _)| **id != own);
        let mut peers: Vec<PeerView> =
            progress.filter_map(|(id, progress)| peer_view(*id, progress)).collect();
        peers.sort_by_key(|peer| peer.id);
        peers
    }

    // What may happen.

    /// Hands over a message that [`crate::sanitise`] let pass.
    pub(crate) fn step(&mut self, message: Message) {
        let (from, rejected) = (message.from, message.reject);
        // A refusal (unknown peer) changes nothing; raft-rs has no other error here.
        let _ = self.node.step(message_out(message));
        // raft-rs #555: a delayed rejection may put `next` at or below `matched`.
        if rejected
            && let Some(progress) = self.node.raft.mut_prs().get_mut(from.get())
            && progress.next_idx <= progress.matched
        {
            progress.next_idx = progress.matched + 1;
        }
    }

    /// One tick; a follower or candidate campaigns when it heard nothing for `timeout` ticks.
    pub(crate) fn tick(&mut self, timeout: u32) {
        if !self.is_leader() {
            self.node.raft.set_randomized_election_timeout(timeout as usize);
        }
        self.node.tick();
    }

    /// Appends entries of this leader; the first one's index, or `None` when raft-rs refuses.
    pub(crate) fn propose(&mut self, bodies: Vec<(EntryKind, Bytes)>) -> Option<Index> {
        assert!(!bodies.is_empty(), "raft-rs panics on a proposal without entries");
        let mut message = eraftpb::Message::default();
        message.set_msg_type(eraftpb::MessageType::MsgPropose);
        message.from = self.node.raft.id;
        let entries = bodies.into_iter().map(|(kind, data)| {
            let mut entry = eraftpb::Entry::default();
            entry.set_entry_type(entry_kind_out(kind));
            entry.data = data;
            entry
        });
        message.set_entries(entries.collect());
        let first = self.last().next();
        self.node.step(message).ok().map(|()| first)
    }

    pub(crate) fn read_index(&mut self, context: &[u8]) {
        self.node.read_index(context.to_vec());
    }

    pub(crate) fn broadcast_heartbeat(&mut self) {
        self.node.ping();
    }

    pub(crate) fn transfer_leader(&mut self, to: NodeId) {
        self.node.transfer_leader(to.get());
    }

    /// Gives up leadership (or a candidacy) without a new term.
    pub(crate) fn step_down(&mut self) {
        let term = self.node.raft.term;
        self.node.raft.become_follower(term, raft::INVALID_ID);
    }

    /// Switches to the configuration after `change`; to be called before [`Raft::applied`].
    ///
    /// # Errors
    /// When the change does not apply; nothing has changed then.
    pub(crate) fn apply_conf_change(&mut self, change: &ConfChange) -> Result<ConfState, String> {
        let change = conf_change_out(change);
        match self.node.apply_conf_change(&change) {
            Ok(conf) => Ok(conf_state_in(&conf)),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn applied(&mut self, index: Index) {
        self.node.advance_apply_to(index.0);
    }

    /// All readies up to `number` are durable.
    pub(crate) fn wrote(&mut self, number: u64) {
        self.node.on_persist_ready(number);
    }

    pub(crate) fn report_unreachable(&mut self, peer: NodeId) {
        self.node.report_unreachable(peer.get());
    }

    pub(crate) fn report_snapshot(&mut self, peer: NodeId, delivered: bool) {
        let status =
            if delivered { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
        self.node.report_snapshot(peer.get(), status);
    }

    /// A snapshot for `to` is at hand: send its metadata now.
    pub(crate) fn snapshot_pinned(&mut self, to: NodeId, meta: SnapshotMeta) {
        self.node.store().pinned_snapshots.borrow_mut().insert(to, meta);
        if self.is_leader() && self.node.raft.prs().get(to.get()).is_some() {
            self.node.raft.send_append(to.get());
        }
    }

    /// Forgets snapshots that nobody took.
    pub(crate) fn forget_pinned_snapshots(&mut self) {
        self.node.store().pinned_snapshots.borrow_mut().clear();
    }

    /// Old entries came from disk: whoever waited for them is sent to.
    pub(crate) fn fetched(&mut self, low: Index, entries: Vec<Entry>) {
        let waiting = self.node.store().waiters.borrow_mut().remove(&low).unwrap_or_default();
        if entries.is_empty() {
            return;
        }
        self.log_mut().add_block(entries);
        for context in waiting {
            self.node.on_entries_fetched(context);
        }
    }

    /// Blocks of old entries that raft-rs asked for since the last call.
    pub(crate) fn take_fetches(&mut self) -> Vec<Fetch> {
        self.node.store().fetches.take()
    }

    /// Followers that raft-rs wanted a snapshot for since the last call.
    pub(crate) fn take_wanted_snapshots(&mut self) -> BTreeSet<NodeId> {
        self.node.store().wanted_snapshots.take()
    }

    pub(crate) fn has_ready(&self) -> bool {
        self.node.has_ready()
    }

    /// Takes one ready and advances past it. Nothing may come between the two, so both happen
    /// here (RAFT.md 1.2).
    pub(crate) fn ready(&mut self) -> Ready {
        let mut ready = self.node.ready();
        let snapshot = (!ready.snapshot().is_empty())
            .then(|| snapshot_in(ready.snapshot()).expect("the sanitiser checked it"));
        let taken = Ready {
            number: ready.number(),
            messages: messages_in(ready.take_messages()),
            after_write: messages_in(ready.take_persisted_messages()),
            reads: ready
                .take_read_states()
                .into_iter()
                .map(|read| (read.request_ctx, Index(read.index)))
                .collect(),
            committed: ready.take_committed_entries().into_iter().map(entry_in).collect(),
            entries: ready.take_entries().into_iter().map(entry_in).collect(),
            hard_state: ready.hs().map(hard_state_in),
            snapshot,
            must_write: ready.must_sync(),
        };
        // raft-rs must be able to read back what it just handed out.
        if let Some(meta) = &taken.snapshot {
            self.log_mut().reset(meta.index, meta.term);
        }
        self.log_mut().append(&taken.entries);
        self.node.advance_append_async(ready);
        taken
    }
}

// The canonical value (crate::canonical): what raft-rs keeps and shows.

impl Raft {
    /// Not in it: the randomised timeout, which is set before each tick that asks for it; the
    /// ticks since the last heartbeat, always 0 with one tick between heartbeats; the window of
    /// appends in flight except whether it is full; what peers have committed, which is kept and
    /// never asked for; requested snapshots, which there are none of; and what follows from the
    /// configuration and the replica's own applied index.
    pub(crate) fn canonical(&self, notes: &mut Notes<'_>) {
        let raft = &self.node.raft;
        notes.number("term", raft.term);
        notes.number("vote", raft.vote);
        notes.number("role", raft.state as u64);
        notes.number("leader", raft.leader_id);
        notes.number("transfer target", raft.lead_transferee.unwrap_or(0));
        notes.number("pending conf", raft.pending_conf_index);
        notes.number("election elapsed", raft.election_elapsed as u64);
        notes.count("uncommitted bytes", raft.uncommitted_size());
        notes.messages("unsent", messages_in(raft.msgs.clone()).iter());
        notes.conf("raft conf", &conf_state_in(&raft.prs().conf().to_conf_state()));
        self.canonical_log(notes);
        self.canonical_progress(notes);
        self.canonical_reads(notes);
        self.canonical_storage(notes);
    }

    fn canonical_log(&self, notes: &mut Notes<'_>) {
        let log = &self.node.raft.raft_log;
        notes.number("committed", log.committed);
        notes.number("persisted", log.persisted);
        notes.number("unstable", log.unstable.offset);
        let unstable: Vec<Entry> = log.unstable.entries.iter().cloned().map(entry_in).collect();
        notes.entries("unstable", unstable.iter());
        let snapshot = log.unstable.snapshot.as_ref().and_then(snapshot_in);
        notes.snapshot("unstable", snapshot.as_ref());
        self.log().canonical(notes);
    }

    /// Followers have progress too, left over or set when a term began, and never look at it.
    fn canonical_progress(&self, notes: &mut Notes<'_>) {
        let tracker = self.node.raft.prs();
        let votes: BTreeMap<u64, bool> = tracker.votes().iter().map(|(id, v)| (*id, *v)).collect();
        notes.count("votes", votes.len());
        for (id, granted) in votes {
            notes.number("votes", id);
            notes.flag("votes", granted);
        }
        if !self.is_leader() {
            return;
        }
        let progress: BTreeMap<u64, &raft::Progress> =
            tracker.iter().map(|(id, progress)| (*id, progress)).collect();
        notes.count("progress", progress.len());
        for (id, progress) in progress {
            notes.number("progress", id);
            notes.number("matched", progress.matched);
            notes.number("next", progress.next_idx);
            notes.number("progress state", progress.state as u64);
            notes.flag("paused", progress.paused);
            notes.number("pending snapshot", progress.pending_snapshot);
            notes.number("pending snapshot", progress.pending_request_snapshot);
            notes.flag("recent active", progress.recent_active);
            notes.flag("window full", progress.ins.full());
        }
    }

    fn canonical_reads(&self, notes: &mut Notes<'_>) {
        let raft = &self.node.raft;
        notes.count("read states", raft.read_states.len());
        for state in &raft.read_states {
            notes.bytes("read states", &state.request_ctx);
            notes.number("read states", state.index);
        }
        notes.count("read queue", raft.read_only.read_index_queue.len());
        for context in &raft.read_only.read_index_queue {
            notes.bytes("read queue", context);
            if let Some(status) = raft.read_only.pending_read_index.get(context) {
                notes.number("read index", status.index);
                let acks: BTreeSet<u64> = status.acks.iter().copied().collect();
                notes.count("read acks", acks.len());
                acks.iter().for_each(|id| notes.number("read acks", *id));
            }
        }
    }

    fn canonical_storage(&self, notes: &mut Notes<'_>) {
        let storage = self.node.store();
        let (waiters, pinned) = (storage.waiters.borrow(), storage.pinned_snapshots.borrow());
        notes.count("waiters", waiters.len());
        for (low, contexts) in waiters.iter() {
            notes.number("waiters", low.0);
            notes.count("waiters", contexts.len());
            // Their fields are private; their text is all of them.
            contexts.iter().for_each(|c| notes.bytes("waiters", format!("{c:?}").as_bytes()));
        }
        notes.count("pinned", pinned.len());
        for (to, meta) in pinned.iter() {
            notes.number("pinned", to.get());
            notes.snapshot("pinned", Some(meta));
        }
    }
}

fn peer_view(id: u64, progress: &raft::Progress) -> Option<PeerView> {
    let snapshot = progress.pending_snapshot;
    Some(PeerView {
        id: NodeId::new(id)?,
        match_index: Index(progress.matched),
        next_index: Index(progress.next_idx),
        state: match progress.state {
            raft::ProgressState::Probe => PeerState::Probe,
            raft::ProgressState::Replicate => PeerState::Replicate,
            raft::ProgressState::Snapshot => PeerState::Snapshot,
        },
        active: progress.recent_active,
        pending_snapshot: (snapshot != 0).then_some(Index(snapshot)),
    })
}

// Conversions, inwards and outwards.

fn entry_kind_out(kind: EntryKind) -> eraftpb::EntryType {
    match kind {
        EntryKind::Normal => eraftpb::EntryType::EntryNormal,
        EntryKind::ConfChange => eraftpb::EntryType::EntryConfChangeV2,
    }
}

fn entry_out(entry: Entry) -> eraftpb::Entry {
    let mut out = eraftpb::Entry::default();
    out.set_entry_type(entry_kind_out(entry.kind));
    out.index = entry.index.0;
    out.term = entry.term.0;
    out.data = entry.data;
    out
}

fn entry_in(entry: eraftpb::Entry) -> Entry {
    let kind = match entry.get_entry_type() {
        eraftpb::EntryType::EntryNormal => EntryKind::Normal,
        eraftpb::EntryType::EntryConfChange => unreachable!("only V2 changes are ever proposed"),
        eraftpb::EntryType::EntryConfChangeV2 => EntryKind::ConfChange,
    };
    Entry { index: Index(entry.index), term: Term(entry.term), kind, data: entry.data }
}

fn hard_state_out(state: HardState) -> eraftpb::HardState {
    eraftpb::HardState {
        term: state.term.0,
        vote: state.vote.map_or(raft::INVALID_ID, NodeId::get),
        commit: state.commit.0,
        ..eraftpb::HardState::default()
    }
}

fn hard_state_in(state: &eraftpb::HardState) -> HardState {
    HardState { term: Term(state.term), vote: NodeId::new(state.vote), commit: Index(state.commit) }
}

fn ids_out(ids: &BTreeSet<NodeId>) -> Vec<u64> {
    ids.iter().map(|id| id.get()).collect()
}

fn ids_in(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().filter_map(|id| NodeId::new(*id)).collect()
}

fn conf_state_out(conf: &ConfState) -> eraftpb::ConfState {
    let mut out = eraftpb::ConfState::default();
    out.set_voters(ids_out(&conf.voters));
    out.set_voters_outgoing(ids_out(&conf.voters_outgoing));
    out.set_learners(ids_out(&conf.learners));
    out.set_learners_next(ids_out(&conf.learners_next));
    out
}

fn conf_state_in(conf: &eraftpb::ConfState) -> ConfState {
    ConfState {
        voters: ids_in(conf.get_voters()),
        voters_outgoing: ids_in(conf.get_voters_outgoing()),
        learners: ids_in(conf.get_learners()),
        learners_next: ids_in(conf.get_learners_next()),
    }
}

fn conf_change_out(change: &ConfChange) -> eraftpb::ConfChangeV2 {
    let mut out = eraftpb::ConfChangeV2::default();
    let changes = change.changes.iter().map(|(kind, id)| {
        let node_id = id.get();
        let mut single = eraftpb::ConfChangeSingle { node_id, ..Default::default() };
        single.set_change_type(match kind {
            crate::ConfChangeKind::AddVoter => eraftpb::ConfChangeType::AddNode,
            crate::ConfChangeKind::AddLearner => eraftpb::ConfChangeType::AddLearnerNode,
            crate::ConfChangeKind::Remove => eraftpb::ConfChangeType::RemoveNode,
        });
        single
    });
    out.set_changes(changes.collect());
    if change.changes.len() > 1 {
        out.set_transition(eraftpb::ConfChangeTransition::Explicit);
    }
    out.set_context(change.context.clone());
    out
}

fn snapshot_out(meta: &SnapshotMeta) -> eraftpb::Snapshot {
    let mut out = eraftpb::Snapshot::default();
    let metadata = out.mut_metadata();
    metadata.index = meta.index.0;
    metadata.term = meta.term.0;
    metadata.set_conf_state(conf_state_out(&meta.conf));
    out
}

fn snapshot_in(snapshot: &eraftpb::Snapshot) -> Option<SnapshotMeta> {
    let metadata = snapshot.get_metadata();
    (metadata.index != 0).then(|| SnapshotMeta {
        index: Index(metadata.index),
        term: Term(metadata.term),
        conf: conf_state_in(metadata.get_conf_state()),
    })
}

const KINDS: [(MessageKind, eraftpb::MessageType); 10] = [
    (MessageKind::Append, eraftpb::MessageType::MsgAppend),
    (MessageKind::AppendResponse, eraftpb::MessageType::MsgAppendResponse),
    (MessageKind::Vote, eraftpb::MessageType::MsgRequestVote),
    (MessageKind::VoteResponse, eraftpb::MessageType::MsgRequestVoteResponse),
    (MessageKind::PreVote, eraftpb::MessageType::MsgRequestPreVote),
    (MessageKind::PreVoteResponse, eraftpb::MessageType::MsgRequestPreVoteResponse),
    (MessageKind::Snapshot, eraftpb::MessageType::MsgSnapshot),
    (MessageKind::Heartbeat, eraftpb::MessageType::MsgHeartbeat),
    (MessageKind::HeartbeatResponse, eraftpb::MessageType::MsgHeartbeatResponse),
    (MessageKind::TimeoutNow, eraftpb::MessageType::MsgTimeoutNow),
];

fn message_out(message: Message) -> eraftpb::Message {
    let mut out = eraftpb::Message::default();
    let kind = KINDS.iter().find(|(kind, _)| *kind == message.kind);
    out.set_msg_type(kind.expect("the table lists every kind").1);
    out.from = message.from.get();
    out.to = message.to.get();
    out.term = message.term.0;
    out.log_term = message.log_term.0;
    out.index = message.index.0;
    out.commit = message.commit.0;
    out.commit_term = message.commit_term.0;
    out.set_entries(message.entries.into_iter().map(entry_out).collect());
    if let Some(meta) = &message.snapshot {
        out.set_snapshot(snapshot_out(meta));
    }
    out.request_snapshot = message.request_snapshot.0;
    out.reject = message.reject;
    out.reject_hint = message.reject_hint.0;
    out.context = message.context;
    out.priority = message.priority;
    out
}

fn messages_in(messages: Vec<eraftpb::Message>) -> Vec<Message> {
    messages.into_iter().filter_map(message_in).collect()
}

/// `None` for the kinds that never cross the wire: raft-rs would forward proposals and reads, and
/// we never give it any to forward.
fn message_in(mut message: eraftpb::Message) -> Option<Message> {
    let kind = KINDS.iter().find(|(_, kind)| *kind == message.get_msg_type())?.0;
    let snapshot = message.has_snapshot().then(|| snapshot_in(message.get_snapshot()));
    Some(Message {
        kind,
        from: NodeId::new(message.from)?,
        to: NodeId::new(message.to)?,
        term: Term(message.term),
        log_term: Term(message.log_term),
        index: Index(message.index),
        commit: Index(message.commit),
        commit_term: Term(message.commit_term),
        entries: message.take_entries().into_iter().map(entry_in).collect(),
        snapshot: snapshot.flatten(),
        request_snapshot: Index(message.request_snapshot),
        reject: message.reject,
        reject_hint: Index(message.reject_hint),
        context: message.take_context(),
        priority: message.priority,
    })
}

#[cfg(test)]
mod tests;
