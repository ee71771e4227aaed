//! The driver: the one loop of a node that carries the replica's effects out.
//!
//! Dull by design. Everything that happens becomes an input of the replica; every effect goes to
//! the thread, connection or waiter that it concerns. No decision is taken here that another
//! replica would have to know about.

mod members;
mod standing;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use pgraft_host::{Applied, Command, Outcome};
use pgraft_membership::Member;
use pgraft_replica::{
    Committed, Effects, Index, Input, Message, MessageKind, NodeId, Persist, Proposal, Refusal,
    Replica, Role, RoleChange, Stop, Ticket,
};
use pgraft_transport::{AnyNet, Event as NetEvent, Refusal as NetRefusal, Transport};
use pgraft_watch as watch;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant, MissedTickBehavior};

use crate::applier::{ApplyJob, ApplyWorker};
use crate::checkpointer::CheckpointWorker;
use crate::duties::{self, Duties, Duty, MEMBERSHIP};
use crate::event::{ApplierReport, Ask, Event};
use crate::gateway::{Gateway, Leadership};
use crate::log_writer::{LogJob, LogWriter};
use crate::readers::Readers;
use crate::report;
use crate::snapshots::{Audience, Snapshots};
use crate::status::{Status, StatusBoard};
use crate::world::{Observer, World};

/// Events handled in one turn: one turn's commands become one entry.
const TURN_EVENTS_MAX: usize = 1024;
/// Ticks handed over at one waking: what an idle node costs is how often it wakes.
const TICKS_PER_WAKE: u32 = 2;
/// Ticks between two publications of the status, besides changes of role; an idle node's main
/// expense.
const PUBLISH_TICKS: u64 = 4;
/// Ticks between two looks at the leader's duties.
const DUTY_TICKS: u64 = 10;
/// Nanoseconds of a millisecond.
const MS: u64 = 1_000_000;

/// Why the driver ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Asked to.
    Stopped,
    /// This node is not a member any more; starting again would not change that.
    Removed,
    /// A fault: the process or worker ends and is started again.
    Failed(String),
}

/// Who waits for what the replica answers.
enum Waiter {
    Command(oneshot::Sender<Result<(Index, Outcome), Refusal>>),
    Read(oneshot::Sender<Result<Index, Refusal>>),
    Transfer(oneshot::Sender<Result<(), Refusal>>),
    /// A duty of the leader.
    Duty,
}

/// What a driver is made of.
pub(crate) struct Parts {
    pub(crate) world: Arc<dyn World>,
    pub(crate) replica: Replica,
    pub(crate) transport: Transport<AnyNet>,
    pub(crate) net: mpsc::Receiver<NetEvent>,
    pub(crate) inbox: mpsc::UnboundedReceiver<Event>,
    pub(crate) own: mpsc::UnboundedSender<Event>,
    pub(crate) log: LogWriter,
    pub(crate) applier: ApplyWorker,
    pub(crate) checkpointer: CheckpointWorker,
    pub(crate) readers: Readers,
    pub(crate) snapshots: Snapshots,
    pub(crate) gateway: Gateway,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) applied: watch::Sender<Index>,
    pub(crate) board: Arc<dyn StatusBoard>,
    pub(crate) members: Vec<Member>,
    /// Addresses at which to ask who the members are now.
    pub(crate) wanted: watch::Sender<Vec<String>>,
    pub(crate) report: ApplierReport,
    pub(crate) genesis: Bytes,
    pub(crate) incarnation: u128,
    pub(crate) election_timeout: Duration,
}

/// The driver of one node.
pub(crate) struct Driver {
    parts: Parts,
    observer: Option<Arc<dyn Observer>>,
    waiters: HashMap<Ticket, Waiter>,
    next_ticket: u64,
    /// Tickets of entries that the applier works on, in order.
    applying: VecDeque<(Index, Vec<Ticket>)>,
    proposals: Vec<Proposal>,
    reads: Vec<Ticket>,
    duties: Duties,
    duty_in_flight: Option<Ticket>,
    received_generation: Option<u64>,
    /// The index at which `parts.members` was read.
    members_at: Index,
    /// Members that the cluster named and the log has not told of yet.
    told: Vec<Member>,
    /// When each peer last answered in this term, CLOCK_BOOTTIME nanoseconds.
    heard: BTreeMap<NodeId, u64>,
    ticks: u64,
    last_tick_ms: u64,
    stalled: bool,
    transferring: Vec<Ticket>,
    draining: Option<Instant>,
    /// Leadership is being handed over: nobody else may believe in it from here on.
    stepping_aside: bool,
    end: Option<End>,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Driver {
        let members_at = parts.replica.view().applied;
        let (observer, last_tick_ms) = (parts.world.observer(), parts.world.boottime_ns() / MS);
        Driver {
            parts,
            observer,
            waiters: HashMap::new(),
            next_ticket: 0,
            applying: VecDeque::new(),
            proposals: Vec::new(),
            reads: Vec::new(),
            duties: Duties::default(),
            duty_in_flight: None,
            received_generation: None,
            members_at,
            told: Vec::new(),
            heard: BTreeMap::new(),
            ticks: 0,
            last_tick_ms,
            stalled: false,
            transferring: Vec::new(),
            draining: None,
            stepping_aside: false,
            end: None,
        }
    }

    /// Runs until the node stops, fails or is removed.
    pub(crate) async fn run(mut self) -> End {
        let mut ticker = tokio::time::interval(self.parts.world.tick() * TICKS_PER_WAKE);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.meet_members();
        self.publish();
        while self.end.is_none() {
            tokio::select! {
                biased;
                _ = ticker.tick() => self.tick(),
                Some(event) = self.parts.net.recv() => self.heard(event),
                Some(event) = self.parts.inbox.recv() => self.happened(event),
            }
            self.drain();
            self.flush();
        }
        self.close().await;
        self.end.expect("the loop ended because there is an end")
    }

    /// Takes what else is waiting: natural batching.
    fn drain(&mut self) {
        for _ in 0..TURN_EVENTS_MAX {
            let Ok(event) = self.parts.net.try_recv() else { break };
            self.heard(event);
        }
        for _ in 0..TURN_EVENTS_MAX {
            let Ok(event) = self.parts.inbox.try_recv() else { break };
            self.happened(event);
        }
    }

    /// Hands the turn's commands and reads to the replica, in one input each.
    fn flush(&mut self) {
        if !self.proposals.is_empty() {
            tracing::trace!(commands = self.proposals.len(), "way of a write: ② replica");
            let proposals = std::mem::take(&mut self.proposals);
            self.step(Input::Propose(proposals));
        }
        if !self.reads.is_empty() {
            let reads = std::mem::take(&mut self.reads);
            self.step(Input::Read(reads));
        }
    }

    fn tick(&mut self) {
        self.ticks += u64::from(TICKS_PER_WAKE);
        let now_ms = self.parts.world.boottime_ns() / MS;
        let gap_ms = now_ms.saturating_sub(self.last_tick_ms);
        self.last_tick_ms = now_ms;
        if u128::from(gap_ms) > self.parts.election_timeout.as_millis() / 2 {
            tracing::warn!(gap_ms, "this process did not run for a while");
            self.step(Input::TimeJumped);
        }
        self.watch_disk();
        for _ in 0..TICKS_PER_WAKE {
            self.step(Input::Tick { wall_ms: self.parts.world.wall_ms() });
        }
        if self.ticks.is_multiple_of(DUTY_TICKS) {
            self.do_duties();
        }
        self.drain_out();
        if self.ticks.is_multiple_of(PUBLISH_TICKS) {
            self.publish();
        }
    }

    /// While stopping: hands over again when that was refused, and ends when nobody waits.
    fn drain_out(&mut self) {
        let Some(until) = self.draining else { return };
        let answered = !self.waiters.values().any(|one| matches!(one, Waiter::Command(_)));
        if Instant::now() >= until || (!self.leads() && answered) {
            self.end.get_or_insert(End::Stopped);
        } else if self.leads() && self.transferring.is_empty() {
            self.hand_over();
        }
    }

    fn watch_disk(&mut self) {
        let for_ms = self.parts.log.busy_ms();
        let stalled = u128::from(for_ms) > self.parts.election_timeout.as_millis() / 4;
        if stalled || self.stalled {
            let for_ms = if stalled { for_ms } else { 0 };
            self.stalled = stalled;
            self.step(Input::DiskStalled { for_ms });
        }
    }

    /// Something came from the network.
    fn heard(&mut self, event: NetEvent) {
        match event {
            NetEvent::Received(message) => {
                self.note_answer(&message);
                self.step(Input::Received(message));
            }
            NetEvent::Unreachable(peer) => self.step(Input::Unreachable(peer)),
            NetEvent::Rpc { from, body, reply } => {
                let gateway = self.parts.gateway.clone();
                tokio::spawn(async move {
                    if let Some(answer) = gateway.serve_peer(from, body).await {
                        let _gone = reply.send(answer);
                    }
                });
            }
            NetEvent::SnapshotBegin { from, message, sink } => {
                tracing::info!(%from, "receiving snapshot");
                let _gone = sink.send(self.parts.snapshots.receive(message));
            }
            NetEvent::RefusedBy { peer, why } => self.refused_by(peer, &why),
            NetEvent::Stranger(_) => self.ask_who_is_there(),
            NetEvent::Join { request, reply } => {
                let _gone = reply.send(self.admit(&request));
            }
        }
    }

    fn refused_by(&mut self, peer: NodeId, why: &NetRefusal) {
        match why {
            NetRefusal::Removed => self.step(Input::RemovedByPeers),
            NetRefusal::Incarnation => {
                let why = "another data directory with this node's id has been in the cluster; \
                           remove the member and add it again";
                self.end.get_or_insert(End::Failed(format!("node {peer} refuses us: {why}")));
            }
            other => tracing::warn!(%peer, why = ?other, "peer refuses us"),
        }
    }

    /// Something came from inside.
    fn happened(&mut self, event: Event) {
        match event {
            Event::Ask(ask) => self.asked(ask),
            Event::Persisted(number) => self.step(Input::Persisted { number }),
            Event::Fetched { low, entries } => self.step(Input::Fetched { low, entries }),
            Event::Applied { applied, report } => self.applied(applied, report),
            Event::Durable(index) => self.step(Input::StateDurable { index }),
            Event::Members { index, members } if index >= self.members_at => {
                self.members_at = index;
                self.parts.members = members;
                self.meet_members();
            }
            Event::Members { .. } => {}
            Event::Welcomed(members) => self.welcomed(members),
            Event::SnapshotReceived { message, generation } => {
                self.received_generation = Some(generation);
                self.step(Input::Received(message));
                // The replica may put the installation off until its writes are done; what it
                // does not want it has forgotten by now.
                if self.received_generation.is_some() && !self.parts.replica.view().installing {
                    self.received_generation = None;
                    self.parts.snapshots.received(None);
                }
            }
            Event::SnapshotLost => self.parts.snapshots.lost(),
            Event::SnapshotProgress { to, meta } => {
                self.step(Input::SnapshotPinned { to, meta });
            }
            Event::SnapshotSent { to, delivered } => {
                self.step(Input::SnapshotSent { to, delivered });
            }
            Event::Installed { task, generation } => {
                self.parts.applier.give(ApplyJob::Switch { task, generation });
            }
            Event::Switched { task, generation, report } => {
                self.switched(&task, generation, report)
            }
            Event::Failed(why) => {
                self.end.get_or_insert(End::Failed(why));
            }
            Event::DiskFull => self.hand_over(),
            Event::Stop => self.stop(),
        }
    }

    fn asked(&mut self, ask: Ask) {
        match ask {
            Ask::Propose { command, reply } => {
                let ticket = self.wait(Waiter::Command(reply));
                self.proposals.push(Proposal { ticket, command });
            }
            Ask::ReadIndex { reply } => {
                let ticket = self.wait(Waiter::Read(reply));
                self.reads.push(ticket);
            }
            Ask::Transfer { to, reply } => {
                let ticket = self.wait(Waiter::Transfer(reply));
                self.transferring.push(ticket);
                self.step_aside();
                self.step(Input::Transfer { ticket, to });
            }
            Ask::State { to, reply } => {
                let _gone = reply.send(self.rescue(to));
            }
            Ask::Voters { reply } => {
                let view = self.parts.replica.view();
                let _gone = reply.send((view.id, view.voters));
            }
            Ask::Status { reply } => {
                let view = self.parts.replica.view();
                let peers = self.parts.transport.status();
                let text = report::json(&self.status(), &view, &self.parts.members, &peers);
                let _gone = reply.send(text);
            }
        }
    }

    /// Sends this node's state to a member that has lost its own. The replica need not know: for
    /// Raft that member is merely slow.
    fn rescue(&mut self, to: NodeId) -> Result<(), Refusal> {
        let Some(meta) = self.parts.snapshots.pin(to) else { return Err(Refusal::Busy) };
        let view = self.parts.replica.view();
        let mut message = Message::new(MessageKind::Snapshot, view.id, to, view.term);
        message.snapshot = Some(meta);
        self.parts.snapshots.send(&self.parts.transport, message, Audience::Nobody);
        Ok(())
    }

    fn wait(&mut self, waiter: Waiter) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.waiters.insert(ticket, waiter);
        ticket
    }

    fn step(&mut self, input: Input) {
        let watched = self.observer.as_ref().map(|observer| (Arc::clone(observer), input.clone()));
        if let Some((observer, input)) = &watched {
            observer.stepping(input);
        }
        let effects = self.parts.replica.step(input);
        if let Some((observer, input)) = watched {
            observer.stepped(&input, &effects, &self.parts.replica);
        }
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Effects) {
        // No `..` here: a new kind of effect must fail to compile until it is carried out.
        let Effects {
            send,
            persist,
            fetch,
            pin_snapshot,
            apply,
            reads,
            refused,
            role,
            truncate,
            stop,
        } = effects;
        send.into_iter().for_each(|message| self.send(message));
        persist.into_iter().for_each(|task| self.persist(task));
        fetch.into_iter().for_each(|fetch| self.parts.log.give(LogJob::Fetch(fetch)));
        self.apply(apply);
        for (ticket, index) in reads {
            self.answer_read(ticket, Ok(index));
        }
        refused.into_iter().for_each(|(ticket, why)| self.refuse(ticket, why));
        if let Some(change) = role {
            self.role_changed(&change);
        }
        if let Some(index) = truncate {
            self.parts.log.give(LogJob::Truncate(index));
        }
        if let Some(why) = stop {
            self.stop_because(&why);
        }
        // Last: the answer is another step.
        pin_snapshot.into_iter().for_each(|to| self.pin(to));
    }

    fn send(&mut self, message: Message) {
        if message.kind == MessageKind::Snapshot {
            self.parts.snapshots.send(&self.parts.transport, message, Audience::Replica);
        } else {
            if message.kind == MessageKind::Append && !message.entries.is_empty() {
                tracing::trace!(to = %message.to, "way of a write: ④ transport");
            }
            self.parts.transport.send(message);
        }
    }

    fn persist(&mut self, task: Persist) {
        if task.snapshot.is_none() {
            return self.parts.log.give(LogJob::Write(task));
        }
        let generation = self.received_generation.take();
        let generation = generation.expect("the replica persists only a snapshot that came");
        self.parts.log.give(LogJob::Install { task, generation });
    }

    fn pin(&mut self, to: NodeId) {
        // Leadership may have been lost in the very step that asked.
        if self.parts.replica.view().role != Role::Leader {
            return;
        }
        if let Some(meta) = self.parts.snapshots.pin(to) {
            self.step(Input::SnapshotPinned { to, meta });
        }
    }

    fn apply(&mut self, mut entries: Vec<Committed>) {
        if entries.is_empty() {
            return;
        }
        for committed in &mut entries {
            let tickets = std::mem::take(&mut committed.tickets);
            self.applying.push_back((committed.entry.index, tickets));
        }
        tracing::trace!(entries = entries.len(), "way of a write: ⑤ committed");
        self.parts.applier.give(ApplyJob::Apply(entries));
    }

    fn applied(&mut self, applied: Vec<Applied>, report: ApplierReport) {
        if let Some(observer) = &self.observer {
            observer.applied(&applied, &report.digests);
        }
        self.parts.report = report;
        let mut members_changed = false;
        let mut last = None;
        for one in applied {
            last = Some(one.index);
            members_changed |=
                one.conf.is_some() || one.events.iter().any(|event| event.machine == MEMBERSHIP);
            let (index, tickets) = self.applying.pop_front().expect("applied what was given");
            assert_eq!(index, one.index, "the applier answers in order");
            for (ticket, outcome) in tickets.into_iter().zip(one.outcomes) {
                self.answer_command(ticket, index, outcome);
            }
        }
        let Some(index) = last else { return };
        self.step(Input::Applied { index });
        self.parts.applied.send_replace(index);
        if members_changed {
            self.ask_members();
        }
    }

    fn switched(&mut self, task: &Persist, generation: u64, report: ApplierReport) {
        let meta = task.snapshot.as_ref().expect("a switch follows a snapshot");
        tracing::info!(index = %meta.index, generation, "snapshot installed");
        self.parts.report = report;
        self.parts.readers.switch(generation);
        self.parts.checkpointer.switch(generation);
        self.parts.snapshots.received(Some(generation));
        self.step(Input::Persisted { number: task.number });
        self.step(Input::Applied { index: meta.index });
        self.parts.applied.send_replace(meta.index);
        // Commands whose entries the snapshot covers are never answered: in doubt, ask again.
        self.waiters.retain(|_, waiter| !matches!(waiter, Waiter::Command(_) | Waiter::Duty));
        self.duty_in_flight = None;
        self.ask_members();
        self.publish();
    }

    fn answer_command(&mut self, ticket: Ticket, index: Index, outcome: Outcome) {
        match self.waiters.remove(&ticket) {
            Some(Waiter::Command(reply)) => {
                let _gone = reply.send(Ok((index, outcome)));
            }
            Some(Waiter::Duty) => {
                self.duty_done(ticket);
                if let Err(rejection) = outcome {
                    tracing::info!(rejection = rejection.message, "a duty was rejected");
                }
            }
            // Given up when a snapshot took the place of entries.
            None => {}
            Some(_) => unreachable!("only commands and duties are applied"),
        }
    }

    fn answer_read(&mut self, ticket: Ticket, answer: Result<Index, Refusal>) {
        match self.waiters.remove(&ticket) {
            Some(Waiter::Read(reply)) => {
                let _gone = reply.send(answer);
            }
            None => {}
            Some(_) => unreachable!("only reads are answered with an index"),
        }
    }

    fn refuse(&mut self, ticket: Ticket, why: Refusal) {
        match self.waiters.remove(&ticket) {
            Some(Waiter::Command(reply)) => {
                let _gone = reply.send(Err(why));
            }
            Some(Waiter::Read(reply)) => {
                let _gone = reply.send(Err(why));
            }
            Some(Waiter::Transfer(reply)) => {
                self.transferring.retain(|waiting| *waiting != ticket);
                self.stepping_aside = !self.transferring.is_empty();
                let _gone = reply.send(Err(why));
            }
            Some(Waiter::Duty) => {
                tracing::debug!(?why, "a duty was refused");
                self.duty_done(ticket);
                if let Refusal::ConfChange(error) = why {
                    self.give_up_change(&error.to_string());
                }
            }
            None => {}
        }
    }

    fn duty_done(&mut self, ticket: Ticket) {
        if self.duty_in_flight == Some(ticket) {
            self.duty_in_flight = None;
        }
    }

    /// A change that can never be carried out: its machine is told, and may be asked for another.
    fn give_up_change(&mut self, why: &str) {
        if let Some(command) = duties::impossible(&self.parts.report, why) {
            let ticket = self.wait(Waiter::Duty);
            self.duty_in_flight = Some(ticket);
            self.propose_duty(ticket, &command);
        }
    }

    fn role_changed(&mut self, change: &RoleChange) {
        let RoleChange { role, term, leader } = *change;
        tracing::info!(?role, term = %term, leader = leader.map(NodeId::get), "role");
        self.parts.leadership.send_replace(Leadership::of(role, term.0, leader));
        self.heard.clear();
        self.stepping_aside = false;
        if role != Role::Leader {
            // Another leader may carry a duty out, or a snapshot cover it without a word.
            self.duty_in_flight = None;
            self.parts.snapshots.unpin();
            for ticket in std::mem::take(&mut self.transferring) {
                if let Some(Waiter::Transfer(reply)) = self.waiters.remove(&ticket) {
                    let _gone = reply.send(Ok(()));
                }
            }
        }
        self.publish();
    }

    fn do_duties(&mut self) {
        if !self.leads() || self.duty_in_flight.is_some() || self.draining.is_some() {
            return;
        }
        let view = self.parts.replica.view();
        let now_ms = self.parts.world.wall_ms();
        let duty = self.duties.next(&view, &self.parts.members, &self.parts.report, now_ms);
        let Some(duty) = duty else { return };
        match duty {
            Duty::Propose(commands) => {
                // The next duty comes when the last of them is done.
                for command in commands {
                    let ticket = self.wait(Waiter::Duty);
                    self.duty_in_flight = Some(ticket);
                    self.propose_duty(ticket, &command);
                }
            }
            Duty::Reconfigure(change) => {
                let ticket = self.wait(Waiter::Duty);
                self.duty_in_flight = Some(ticket);
                self.step(Input::ProposeConf { ticket, change });
            }
        }
    }

    fn propose_duty(&mut self, ticket: Ticket, command: &Command) {
        self.proposals.push(Proposal { ticket, command: command.encode() });
    }

    fn leads(&self) -> bool {
        self.parts.leadership.borrow().own
    }

    /// A graceful stop hands leadership over first, so that nobody waits for an election.
    fn stop(&mut self) {
        if !self.leads() || self.parts.members.len() < 2 {
            self.end.get_or_insert(End::Stopped);
            return;
        }
        self.draining = Some(Instant::now() + self.parts.election_timeout);
        self.hand_over();
    }

    /// Leadership goes to the best follower, when there is one.
    fn hand_over(&mut self) {
        if !self.leads() {
            return;
        }
        let (reply, _nobody) = oneshot::channel();
        let ticket = self.wait(Waiter::Transfer(reply));
        self.transferring.push(ticket);
        self.step_aside();
        self.step(Input::Transfer { ticket, to: None });
    }

    fn stop_because(&mut self, why: &Stop) {
        let end = match why {
            Stop::Removed => End::Removed,
            Stop::LogLost { commit, last } => End::Failed(format!(
                "the cluster has committed index {commit}, but this log ends at {last}: \
                 acknowledged entries were lost here (another disk, or an old copy). Move the \
                 data directory away, remove the member and add it again"
            )),
            Stop::DiskStalled { for_ms } => {
                End::Failed(format!("the disk has not answered for {for_ms} ms"))
            }
        };
        self.end.get_or_insert(end);
    }

    async fn close(&mut self) {
        let closed = Leadership { closed: true, ..Leadership::default() };
        self.parts.leadership.send_replace(closed);
        self.parts
            .board
            .publish(&Status { pid: u64::from(std::process::id()), ..Status::default() });
        self.parts.readers.close();
        self.parts.transport.shutdown().await;
    }
}
