//! The replica: takes an input, hands it to the part that decides about it, and gathers what the
//! driver must do.
//!
//! The main loop of RAFT.md 1.2 is here ([`Replica::pursue`], [`Replica::carry_out`]); the
//! decisions are in the files named after them. Not here: raft-rs itself (raft_adapter).

use std::collections::VecDeque;

use crate::canonical::Notes;
use crate::disk::Disk;
use crate::election_timer::{self, ElectionTimer};
use crate::heard::Heard;
use crate::limits::{OVERLOAD_BYTES_MAX, UNAPPLIED_BYTES_MAX, UNPERSISTED_BYTES_MAX};
use crate::log_view::LogView;
use crate::proposals::Proposals;
use crate::raft_adapter::{Raft, Ready, Settings};
use crate::reads::Reads;
use crate::sanitise::{self, Dropped, Verdict};
use crate::snapshots::Snapshots;
use crate::writes::{Write, Writes};
use crate::{
    Committed, ConfChange, ConfState, Config, Effects, Entry, EntryKind, HardState, Index, Input,
    Message, MessageKind, NodeId, Persist, Proposal, Refusal, RestoreError, Restored, Role,
    RoleChange, Stop, Term, Ticket, View, conf_codec, invariants, restore,
};

/// A node's part in consensus: state in, effects out.
pub struct Replica {
    pub(crate) config: Config,
    pub(crate) raft: Raft,
    /// Ticks since the start.
    pub(crate) now: u64,
    /// The applied configuration.
    pub(crate) conf: ConfState,
    pub(crate) applied: Index,
    /// The last entry handed out to be applied.
    dispatched: Index,
    /// Handed out and not applied: index and bytes.
    unapplied: VecDeque<(Index, usize)>,
    unapplied_bytes: usize,
    /// Configuration changes among them.
    pub(crate) unapplied_confs: VecDeque<(Index, ConfChange)>,
    /// What state.db has durably applied.
    pub(crate) durable: Index,
    pub(crate) writes: Writes,
    /// The newest hard state, and the one that was last handed to the writer.
    hard_state: HardState,
    written: HardState,
    pub(crate) proposals: Proposals,
    pub(crate) reads: Reads,
    pub(crate) timer: ElectionTimer,
    pub(crate) snapshots: Snapshots,
    pub(crate) heard: Heard,
    pub(crate) disk: Disk,
    /// Who asked for the transfer that is going on.
    pub(crate) transfer: Option<Ticket>,
    /// The last role change told to the driver.
    role: RoleChange,
    pub(crate) stopped: Option<Stop>,
    pub(crate) elections_started: u64,
    messages_sent: u64,
    heartbeats_sent: u64,
    messages_dropped: u64,
    last_dropped: Option<(NodeId, Dropped)>,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("view", &self.view()).finish_non_exhaustive()
    }
}

impl Replica {
    /// A replica that goes on from what is on disk.
    ///
    /// # Errors
    /// When what was found contradicts itself or the configuration is unusable: going on could
    /// break promises made before the restart.
    pub fn new(config: Config, restored: Restored) -> Result<Replica, RestoreError> {
        restore::validate(&config, &restored)?;
        let Restored { hard_state, truncated, terms, tail, applied, conf } = restored;
        // state.db may be ahead of the commit index, which is only written along (RAFT.md 1.3).
        let hard_state = HardState { commit: hard_state.commit.max(applied), ..hard_state };
        let mut proposals = Proposals::new(config.seed);
        tail.iter().for_each(|entry| proposals.observe(entry));
        let last = tail.last().map_or(truncated.0, |entry| entry.index);
        let timer = ElectionTimer::new(config.seed, config.election_ticks);
        let settings = Settings {
            id: config.id,
            election_ticks_min: timer.base(),
            election_ticks_max: config.election_ticks,
            heartbeat_ticks: config.heartbeat_ticks,
            applied,
        };
        let log = LogView::new(truncated, terms, tail, last);
        let raft = Raft::new(&settings, hard_state, conf.clone(), log)
            .map_err(RestoreError::Configuration)?;
        let role = RoleChange { role: Role::Follower, term: hard_state.term, leader: None };
        let reads = Reads::new(config.seed, config.heartbeat_ticks, config.election_ticks);
        Ok(Replica {
            raft,
            now: 0,
            conf,
            applied,
            dispatched: applied,
            unapplied: VecDeque::new(),
            unapplied_bytes: 0,
            unapplied_confs: VecDeque::new(),
            durable: Index::ZERO,
            writes: Writes::default(),
            hard_state,
            written: hard_state,
            proposals,
            reads,
            timer,
            snapshots: Snapshots::default(),
            heard: Heard::default(),
            disk: Disk::new(config.election_ticks),
            transfer: None,
            role,
            stopped: None,
            elections_started: 0,
            messages_sent: 0,
            heartbeats_sent: 0,
            messages_dropped: 0,
            last_dropped: None,
            config,
        })
    }

    /// Takes one input and returns what must now be done.
    ///
    /// # Panics
    /// When the driver breaks its contract (applies what it was never given), or when raft-rs
    /// finds its own invariants broken: going on could lose acknowledged writes.
    pub fn step(&mut self, input: Input) -> Effects {
        let mut effects = Effects::default();
        if self.stopped.is_some() {
            refuse_input(input, &mut effects);
            effects.stop = self.stopped.clone();
            return effects;
        }
        let before = cfg!(debug_assertions).then(|| self.view());
        self.take(input, &mut effects);
        if self.stopped.is_none() {
            self.pursue(&mut effects);
        }
        if let Some(stop) = &self.stopped {
            self.reads.refuse_all(&Refusal::NotLeader(None), &mut effects.refused);
            effects.stop = Some(stop.clone());
        }
        self.count(&effects.send);
        if let Some(before) = before {
            let after = self.view();
            invariants::monotonic(&before, &after).expect("a step moves forward");
            invariants::local(&after).expect("a replica is consistent");
        }
        effects
    }

    fn take(&mut self, input: Input, effects: &mut Effects) {
        match input {
            Input::Tick { wall_ms } => self.tick(wall_ms, effects),
            Input::TimeJumped => self.step_down(),
            Input::Received(message) => self.receive(message),
            Input::Propose(proposals) => self.propose(proposals, effects),
            Input::Read(tickets) => self.read(tickets, effects),
            Input::ProposeConf { ticket, change } => self.propose_conf(ticket, change, effects),
            Input::Transfer { ticket, to } => self.transfer(ticket, to, effects),
            Input::Persisted { number } => self.persisted(number, effects),
            Input::Applied { index } => self.applied(index),
            Input::StateDurable { index } => {
                self.durable = self.durable.max(index.min(self.applied));
                self.truncate(effects);
            }
            Input::Fetched { low, entries } => self.raft.fetched(low, entries),
            Input::SnapshotPinned { to, meta } => self.snapshot_pinned(to, meta),
            Input::SnapshotSent { to, delivered } => {
                self.snapshots.ended(to);
                self.raft.report_snapshot(to, delivered);
            }
            Input::Unreachable(peer) => self.raft.report_unreachable(peer),
            Input::DiskStalled { for_ms } => self.disk_stalled(for_ms),
            Input::RemovedByPeers => self.stopped = Some(Stop::Removed),
        }
    }

    fn tick(&mut self, wall_ms: u64, effects: &mut Effects) {
        self.now += 1;
        self.proposals.set_wall_ms(wall_ms);
        self.reads.tick(self.now, &mut effects.refused);
        let timeout = self.timer.timeout(
            self.config.id,
            self.raft.term(),
            self.raft.leader(),
            election_timer::voters(&self.conf).iter(),
        );
        if self.may_campaign() || self.raft.is_leader() {
            if self.raft.is_about_to_campaign(timeout) {
                self.elections_started += 1;
                self.timer.started();
            }
            self.raft.tick(timeout);
        }
        if self.raft.is_leader() {
            self.leave_joint();
            self.watch_snapshots();
            self.watch_transfer(effects);
            if self.now.is_multiple_of(u64::from(self.config.election_ticks)) {
                self.truncate(effects);
            }
        }
    }

    /// Whether an election may start now.
    fn may_campaign(&self) -> bool {
        // A sole voter wins at once, and raft-rs panics if its log is not durable by then
        // (RAFT.md 1.3, R-K).
        let wins_at_once = self.conf.is_sole_voter(self.config.id);
        let is_busy = self.disk.is_slow() || self.is_installing();
        !is_busy && (!wins_at_once || self.writes.is_empty())
    }

    /// Whether a snapshot was received and does not yet hold on this disk. raft-rs already counts
    /// by its configuration then, and looks for the entries before it, which are gone: whoever
    /// campaigns now panics there.
    fn is_installing(&self) -> bool {
        self.writes.has_snapshot() || self.raft.has_pending_snapshot()
    }

    /// Gives up leadership, unless nobody else could take it.
    pub(crate) fn step_down(&mut self) {
        if self.raft.is_leader() && !self.conf.is_sole_voter(self.config.id) {
            self.raft.step_down();
        }
    }

    fn receive(&mut self, message: Message) {
        let from = message.from;
        match sanitise::judge(&message, &self.local()) {
            Verdict::Pass => {
                self.heard.note(from, self.now);
                let was_candidate = self.raft.role() == Role::Candidate;
                let is_handover = message.kind == MessageKind::TimeoutNow;
                self.raft.step(message);
                if is_handover && !was_candidate && self.raft.role() == Role::Candidate {
                    self.elections_started += 1;
                }
            }
            Verdict::Drop(dropped) => {
                self.messages_dropped += 1;
                self.last_dropped = Some((from, dropped));
            }
            Verdict::LogLost { commit } => {
                self.stopped = Some(Stop::LogLost { commit, last: self.raft.last() });
            }
        }
    }

    fn local(&self) -> sanitise::Local {
        sanitise::Local {
            id: self.config.id,
            term: self.raft.term(),
            role: self.raft.role(),
            leader: self.raft.leader(),
            last: self.raft.last(),
            is_writing: !self.writes.is_empty(),
            is_installing: self.is_installing(),
            is_overloaded: self.unapplied_bytes > OVERLOAD_BYTES_MAX,
        }
    }

    fn propose(&mut self, proposals: Vec<Proposal>, effects: &mut Effects) {
        if let Some(refusal) = self.refusal_of_proposals() {
            let refusals = proposals.into_iter().map(|p| (p.ticket, refusal.clone()));
            effects.refused.extend(refusals);
            return;
        }
        let mut room = self.room();
        let mut bodies = Vec::new();
        let mut waiting = Vec::new();
        for pack in self.proposals.pack(proposals, &mut effects.refused) {
            match room.checked_sub(pack.body.len() as u64) {
                Some(left) => {
                    room = left;
                    bodies.push((EntryKind::Normal, pack.body));
                    waiting.push(pack.tickets);
                }
                None => {
                    // Later packs are refused too, or commands of one turn would change order.
                    room = 0;
                    let busy = pack.tickets.into_iter().map(|ticket| (ticket, Refusal::Busy));
                    effects.refused.extend(busy);
                }
            }
        }
        if bodies.is_empty() {
            return;
        }
        let first = self.raft.propose(bodies).expect("leads, transfers nothing and has room");
        let term = self.raft.term();
        for (index, tickets) in (first.0..).zip(waiting) {
            self.proposals.track(Index(index), term, EntryKind::Normal, tickets);
        }
    }

    /// Why nothing can be proposed now.
    pub(crate) fn refusal_of_proposals(&self) -> Option<Refusal> {
        if !self.raft.is_leader() {
            return Some(Refusal::NotLeader(self.raft.leader()));
        }
        let is_full = self.unapplied_bytes > UNAPPLIED_BYTES_MAX
            || self.writes.bytes() > UNPERSISTED_BYTES_MAX;
        let is_busy = is_full || self.disk.is_slow() || self.raft.transfer_target().is_some();
        is_busy.then_some(Refusal::Busy)
    }

    /// Bytes that may still be proposed.
    fn room(&self) -> u64 {
        crate::limits::UNCOMMITTED_BYTES_MAX.saturating_sub(self.raft.uncommitted_bytes())
    }

    fn read(&mut self, tickets: Vec<Ticket>, effects: &mut Effects) {
        if self.raft.is_leader() {
            self.reads.add(tickets, self.now, &mut effects.refused);
        } else {
            let refusal = Refusal::NotLeader(self.raft.leader());
            effects.refused.extend(tickets.into_iter().map(|ticket| (ticket, refusal.clone())));
        }
    }

    fn persisted(&mut self, number: u64, effects: &mut Effects) {
        while let Some(write) = self.writes.pop_up_to(number) {
            effects.send.extend(write.messages);
            self.raft.wrote(write.last_ready);
            if let Some(index) = write.snapshot {
                self.raft.applied(index);
                self.applied = index;
                self.durable = index;
            }
        }
        self.evict();
    }

    fn applied(&mut self, index: Index) {
        assert!(index <= self.dispatched, "applied {index}, given out is {}", self.dispatched);
        if index <= self.applied {
            return;
        }
        while self.unapplied.front().is_some_and(|(at, _)| *at <= index) {
            let (_, bytes) = self.unapplied.pop_front().expect("just seen");
            self.unapplied_bytes -= bytes;
        }
        // Before raft-rs hears of the new applied index, or it never leaves a joint
        // configuration (RAFT.md 1.3, R-M).
        self.apply_conf_changes(index);
        self.applied = index;
        self.raft.applied(index);
        self.evict();
        self.leave_joint();
    }

    fn evict(&mut self) {
        let done = self.applied.min(self.raft.persisted());
        self.raft.log_mut().evict(done);
    }

    /// Follows what the input set in motion until nothing is left to do.
    fn pursue(&mut self, effects: &mut Effects) {
        loop {
            self.watch_role(effects);
            if self.raft.is_leader() && self.raft.committed_in_term() {
                while let Some(context) = self.reads.begin(self.now) {
                    self.raft.read_index(&context);
                }
            }
            if !self.may_take_ready() || !self.raft.has_ready() {
                break;
            }
            let ready = self.raft.ready();
            self.carry_out(ready, effects);
        }
        effects.fetch.extend(self.raft.take_fetches());
        for to in self.raft.take_wanted_snapshots() {
            if self.snapshots.want(to, self.now) {
                effects.pin_snapshot.push(to);
            }
        }
    }

    /// A received snapshot replaces log and state: nothing else may be in flight then, neither
    /// before nor after it (the rule of TiKV, RAFT.md 1.2).
    fn may_take_ready(&self) -> bool {
        let is_idle = self.writes.is_empty() && self.dispatched == self.applied;
        !self.writes.has_snapshot() && (is_idle || !self.raft.has_pending_snapshot())
    }

    /// Steps 1 to 7 of the main loop (RAFT.md 1.2).
    fn carry_out(&mut self, ready: Ready, effects: &mut Effects) {
        let Ready {
            number,
            messages,
            after_write,
            reads,
            committed,
            entries,
            hard_state,
            snapshot,
            must_write,
        } = ready;
        if let Some(hard_state) = hard_state {
            self.hard_state = hard_state;
        }
        if must_write {
            self.write(number, entries, snapshot, effects);
        }
        for (context, index) in reads {
            self.reads.confirmed(&context, index, &mut effects.reads);
        }
        for entry in committed {
            self.commit(entry, effects);
        }
        // In a term that is not durable nothing is said: a sole voter with learners leads it at
        // once, and could lead it again with other entries after a crash.
        let is_free = !self.writes.has_vote();
        for message in messages {
            self.send_or_hold(message, is_free, effects);
        }
        for message in after_write {
            let is_harmless = message.kind == MessageKind::HeartbeatResponse;
            self.send_or_hold(message, is_free && is_harmless, effects);
        }
        match self.writes.last_mut() {
            Some(write) => write.last_ready = number,
            None => self.raft.wrote(number),
        }
    }

    fn write(
        &mut self,
        number: u64,
        entries: Vec<Entry>,
        snapshot: Option<crate::SnapshotMeta>,
        effects: &mut Effects,
    ) {
        let (new, old) = (self.hard_state, self.written);
        self.written = new;
        if let Some(meta) = &snapshot {
            self.dispatched = meta.index;
            self.conf = meta.conf.clone();
            self.proposals.forget_up_to(meta.index);
        }
        if !self.raft.is_leader() {
            entries.iter().for_each(|entry| self.proposals.observe(entry));
        }
        self.writes.push(Write {
            number,
            last_ready: number,
            bytes: entries.iter().map(|entry| entry.data.len()).sum(),
            has_vote: (new.term, new.vote) != (old.term, old.vote),
            snapshot: snapshot.as_ref().map(|meta| meta.index),
            messages: Vec::new(),
        });
        let hard_state = (new != old).then_some(new);
        effects.persist.push(Persist { number, hard_state, entries, snapshot });
    }

    /// Sends a message at once, or with the last write if it speaks for something that is not
    /// durable. Held messages keep their order.
    fn send_or_hold(&mut self, message: Message, may_leave: bool, effects: &mut Effects) {
        match self.writes.last_mut() {
            Some(write) if !may_leave => write.messages.push(message),
            _ => effects.send.push(message),
        }
    }

    fn commit(&mut self, entry: Entry, effects: &mut Effects) {
        assert_eq!(entry.index, self.dispatched.next(), "committed entries come in order");
        let resolved = self.proposals.resolve(&entry);
        effects.refused.extend(resolved.refused);
        self.dispatched = entry.index;
        self.unapplied.push_back((entry.index, entry.data.len()));
        self.unapplied_bytes += entry.data.len();
        let conf_change = (entry.kind == EntryKind::ConfChange)
            .then(|| conf_codec::decode(&entry.data).expect("checked before it entered the log"));
        if let Some(change) = &conf_change {
            self.unapplied_confs.push_back((entry.index, change.clone()));
        }
        effects.apply.push(Committed { entry, conf_change, tickets: resolved.tickets });
    }

    /// Notices that role, term or leader changed, and what that ends.
    fn watch_role(&mut self, effects: &mut Effects) {
        let (role, term) = (self.raft.role(), self.raft.term());
        let now = RoleChange { role, term, leader: self.raft.leader() };
        if now == self.role {
            return;
        }
        let (was_leader, is_leader) = (self.role.role == Role::Leader, role == Role::Leader);
        let is_new_term = self.role.term != term;
        if was_leader && (!is_leader || is_new_term) {
            self.reads.refuse_all(&Refusal::NotLeader(now.leader), &mut effects.refused);
            self.snapshots.clear();
            self.raft.forget_pinned_snapshots();
            self.transfer = None;
        }
        if is_leader && (!was_leader || is_new_term) {
            let members = election_timer::voters(&self.conf);
            self.heard.restart(members.union(&self.conf.learners).copied(), self.now);
        }
        if now.leader.is_some() {
            self.timer.settled();
        }
        self.role = now;
        effects.role = Some(now);
    }

    fn count(&mut self, sent: &[Message]) {
        self.messages_sent += sent.len() as u64;
        let heartbeats = sent.iter().filter(|message| message.kind == MessageKind::Heartbeat);
        self.heartbeats_sent += heartbeats.count() as u64;
    }

    /// What it shows of itself.
    pub fn view(&self) -> View {
        View {
            id: self.config.id,
            role: self.raft.role(),
            term: self.raft.term(),
            leader: self.raft.leader(),
            committed: self.raft.committed(),
            applied: self.applied,
            last_index: self.raft.last(),
            first_index: self.raft.log().first(),
            voters: self.conf.voters.clone(),
            learners: self.conf.learners.clone(),
            peers: self.peers(),
            joint: self.conf.is_joint(),
            installing: self.is_installing(),
            transferring: self.raft.transfer_target().is_some(),
            elections_started: self.elections_started,
            messages_sent: self.messages_sent,
            heartbeats_sent: self.heartbeats_sent,
            messages_dropped: self.messages_dropped,
            last_dropped: self.last_dropped,
        }
    }

    /// The peers, with our own idea of who is alive.
    pub(crate) fn peers(&self) -> Vec<crate::PeerView> {
        let patience = u64::from(self.config.election_ticks);
        let mut peers = self.raft.peers();
        for peer in &mut peers {
            peer.active = self.heard.within(peer.id, self.now, patience);
        }
        peers
    }

    /// What is being applied, and the hard states, for [`crate::canonical`]. What is not applied
    /// yet are the entries of the log up to `dispatched`.
    pub(crate) fn canonical_work(&self, notes: &mut Notes<'_>) {
        notes.number("dispatched", self.dispatched.0);
        notes.hard_state("hard state", &self.hard_state);
        notes.hard_state("written", &self.written);
    }

    /// First index of each term in the log, ascending; for the invariants.
    pub fn terms(&self) -> Vec<(Index, Term)> {
        self.raft.log().terms().collect()
    }
}

/// A stopped replica carries out nothing, and says so.
fn refuse_input(input: Input, effects: &mut Effects) {
    let refusal = Refusal::NotLeader(None);
    match input {
        Input::Propose(proposals) => {
            let tickets = proposals.into_iter().map(|proposal| proposal.ticket);
            effects.refused.extend(tickets.map(|ticket| (ticket, refusal.clone())));
        }
        Input::Read(tickets) => {
            effects.refused.extend(tickets.into_iter().map(|ticket| (ticket, refusal.clone())));
        }
        Input::ProposeConf { ticket, .. } | Input::Transfer { ticket, .. } => {
            effects.refused.push((ticket, refusal));
        }
        _ => {}
    }
}
