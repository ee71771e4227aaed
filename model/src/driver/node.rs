//! One modelled node: a real `Replica`, its disk, and what is in flight between the two.
//!
//! What a driver does with effects is here, in its shortest form; what may happen when is decided
//! by the model (`cluster.rs`), what must hold by `history.rs`.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use pgraft_replica::invariants::{self, LogShape};
use pgraft_replica::{
    Committed, ConfChange, Config, Effects, Entry, Fetch, Index, Message, MessageKind, NodeId,
    Persist, Proposal, Refusal, Replica, Role, Term, Ticket, View,
};

use super::disk::{self, Disk, Machine};
use super::marks::Marks;
use super::mutant::{self, Mutant};
use super::network::Item;
use super::panics::quietly;
use super::rules::{Rule, Violation};
use super::scope::Scope;
use super::words::{Key, Words};

/// The shortest timeouts that a replica accepts. An election needs `ELECTION_TICKS` without a
/// leader for every node, a follower is loyal for half of that, a leader looks for its quorum in
/// every second tick, and every tick is a heartbeat: no counter of ticks is left in between.
const ELECTION_TICKS: u32 = 4;
const HEARTBEAT_TICKS: u32 = 1;
const LOYAL_TICKS: u32 = ELECTION_TICKS / 2;
/// Constant: what depends on the clock of the wall is not the business of this model.
const WALL_MS: u64 = 1_000;

pub(super) fn id(number: u8) -> NodeId {
    NodeId::new(u64::from(number)).expect("nodes are counted from 1")
}

/// What may happen to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// It starts from its disk.
    Start,
    /// It loses power. The first `writes` of those not confirmed are durable, the others never
    /// were; state.db falls back to its checkpoint unless `state` survives.
    Crash { writes: u8, state: bool },
    /// No leader is heard of until it begins an election.
    Timeout,
    /// No leader is heard of for long enough to vote for another.
    Doubt,
    /// A leader's tick: a heartbeat, and every second time a look for the quorum.
    Beat,
    /// It did not run for a long time.
    Sleep,
    /// A client proposes a command.
    Propose { ticket: u8, command: u8 },
    /// A client reads.
    Read { ticket: u8 },
    /// The configuration change with this number is proposed.
    Change { ticket: u8, change: u8 },
    /// Leadership is to go elsewhere.
    Transfer { ticket: u8, to: u8 },
    /// The oldest write is durable.
    Write,
    /// The oldest committed entry is applied.
    Apply,
    /// state.db is durable.
    Checkpoint,
    /// The connection to a peer broke.
    Unreachable { peer: u8 },
    /// Sending a snapshot failed.
    SnapshotFailed { to: u8 },
}

/// A node, without the replica: it can be told from it what happened, not what will.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) number: u8,
    pub(super) starts: u8,
    pub(super) disk: Disk,
    pub(super) writes: VecDeque<Persist>,
    pub(super) applies: VecDeque<Committed>,
    fetches: VecDeque<Fetch>,
    pins: VecDeque<NodeId>,
    /// Snapshots on their way to others.
    pub(super) sending: BTreeMap<NodeId, Machine>,
    /// Data of snapshots that came, by index.
    received: BTreeMap<u64, Machine>,
    /// The replica said that it must stop, and does nothing any more.
    pub(super) stopped: bool,
    /// A rule was violated here; nothing happens any more.
    pub(super) broken: bool,
}

impl Node {
    pub(super) fn new(number: u8, disk: Disk) -> Node {
        Node {
            number,
            starts: 0,
            disk,
            writes: VecDeque::new(),
            applies: VecDeque::new(),
            fetches: VecDeque::new(),
            pins: VecDeque::new(),
            sending: BTreeMap::new(),
            received: BTreeMap::new(),
            stopped: false,
            broken: false,
        }
    }

    /// The log as the replica knows it: what is on disk and what is on its way there.
    pub(super) fn log(&self) -> (Index, Term, BTreeMap<u64, Entry>) {
        let mut truncated = self.disk.truncated;
        let mut log = self.disk.log.clone();
        for write in &self.writes {
            if let Some(meta) = &write.snapshot {
                truncated = (meta.index, meta.term);
                log.clear();
            }
            if let Some(first) = write.entries.first() {
                log.split_off(&first.index.0);
                log.extend(write.entries.iter().map(|entry| (entry.index.0, entry.clone())));
            }
        }
        (truncated.0, truncated.1, log)
    }

    fn words(&self, words: &mut Words) {
        words.field("node");
        words.add(u64::from(self.number) << 8 | u64::from(self.starts));
        words.field("node ends");
        words.add(u64::from(self.broken) << 1 | u64::from(self.stopped));
        self.disk.words(words);
        words.field("queued writes");
        words.add(self.writes.len() as u64);
        for Persist { number: _, hard_state, entries, snapshot } in &self.writes {
            words.field("queued hard states");
            let state = hard_state.unwrap_or_default();
            words.add(u64::from(hard_state.is_some()));
            words.add(state.term.0);
            words.add(state.vote.map_or(0, NodeId::get));
            words.add(state.commit.0);
            words.field("queued entries");
            words.add(entries.len() as u64);
            entries.iter().for_each(|entry| entry.canonical(&mut |_, number| words.add(number)));
            words.field("queued snapshots");
            words.add(snapshot.as_ref().map_or(0, |meta| meta.index.0 + 1));
        }
        words.field("queued applies");
        words.add(self.applies.len() as u64);
        for committed in &self.applies {
            words.add(committed.entry.index.0);
            words.field("queued tickets");
            words.add(committed.tickets.len() as u64);
            committed.tickets.iter().for_each(|ticket| words.add(ticket.0));
            words.field("queued applies");
        }
        words.field("sending");
        words.add(self.sending.len() as u64);
        for (to, machine) in &self.sending {
            words.add(to.get());
            machine.words(words);
        }
        words.field("received");
        words.add(self.received.len() as u64);
        self.received.values().for_each(|machine| machine.words(words));
    }
}

/// What one input came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) items: Vec<Item>,
    /// Handed to the machine.
    pub(super) committed: Vec<Committed>,
    pub(super) reads_begun: Vec<u8>,
    pub(super) reads: Vec<(u8, Index)>,
    /// Told that their command or change is applied.
    pub(super) answered: Vec<u8>,
    /// Told that it never will be.
    pub(super) refused: Vec<u8>,
    /// States that the machine went through.
    pub(super) machine: Vec<(Index, Key)>,
    pub(super) elected: bool,
    pub(super) violation: Option<Violation>,
    pub(super) marks: Marks,
    /// The input cannot happen now; the node is to be thrown away.
    pub(super) impossible: bool,
}

/// A node that runs, or could.
pub(super) struct Live {
    pub(super) node: Node,
    pub(super) replica: Option<Replica>,
}

/// One step of a node, while it is carried out.
struct Step<'a> {
    live: &'a mut Live,
    scope: &'a Scope,
    out: Outcome,
}

impl Live {
    pub(super) fn new(node: Node) -> Live {
        Live { node, replica: None }
    }

    /// The canonical value; `forget` leaves a field out, which is a planted bug.
    pub(super) fn key(&self, forget: Option<&'static str>) -> Key {
        let mut words = Words::new(u64::from(self.replica.is_some())).forgetting(forget);
        self.node.words(&mut words);
        if let Some(replica) = &self.replica {
            replica.canonical(&mut |name, number| {
                words.field(name);
                words.add(number);
            });
        }
        words.key()
    }

    pub(super) fn view(&self) -> Option<View> {
        self.replica.as_ref().map(Replica::view)
    }

    /// One input, with everything that follows from it at once.
    pub(super) fn step(&mut self, input: Input, scope: &Scope) -> Outcome {
        self.carry_out(scope, |step| step.input(input))
    }

    /// Something arrives from the network.
    pub(super) fn arrive(&mut self, item: &Item, scope: &Scope) -> Outcome {
        self.carry_out(scope, |step| step.arrive(item))
    }

    fn carry_out(&mut self, scope: &Scope, what: impl FnOnce(&mut Step<'_>)) -> Outcome {
        let before = self.view();
        let was = self.node.disk.machine.applied;
        let mut step = Step { live: self, scope, out: Outcome::default() };
        let ended = quietly(|| {
            what(&mut step);
            step.settle();
        });
        let mut out = std::mem::take(&mut step.out);
        match ended {
            Ok(()) if out.impossible || out.violation.is_some() => {}
            Ok(()) => {
                out.violation = self.inspect(before.as_ref(), scope, &out).err();
                if self.node.disk.machine.applied != was {
                    self.note_machine(&mut out);
                }
            }
            Err(panic) => out.violation = Some(Violation::new(Rule::Consistent, panic)),
        }
        if out.violation.is_some() {
            self.replica = None;
            self.node.broken = true;
        }
        out
    }

    fn note_machine(&self, out: &mut Outcome) {
        let machine = &self.node.disk.machine;
        out.machine.push((machine.applied, machine.visible()));
    }

    /// What must hold within a node after each step.
    fn inspect(
        &self,
        before: Option<&View>,
        scope: &Scope,
        out: &Outcome,
    ) -> Result<(), Violation> {
        if let Some(command) = self.node.disk.machine.repeated() {
            let what = format!("command {command} had an effect twice on {}", self.node.number);
            return Err(Violation::new(Rule::ExactlyOnce, what));
        }
        let Some(mut after) = self.view() else { return Ok(()) };
        let took_back = scope.mutant == Some(Mutant::LeaderTakesBack);
        if took_back
            && before.is_some_and(|view| view.is_leader())
            && out.marks.has(Marks::REJECTED)
        {
            after.last_index = Index(after.last_index.0 - 1);
        }
        if let Some(before) = before {
            let kept = before.last_index <= after.last_index || !before.is_leader();
            let rule = if kept { Rule::Consistent } else { Rule::LeaderAppendOnly };
            let checked = invariants::monotonic(before, &after);
            checked.map_err(|violation| Violation::new(rule, violation.0))?;
        }
        let checked = invariants::local(&after);
        checked.map_err(|violation| Violation::new(Rule::Consistent, violation.0))?;
        self.inspect_conf(&after)?;
        self.inspect_log(&after)
    }

    /// Votes are counted by the configuration of what is applied, nothing else.
    fn inspect_conf(&self, view: &View) -> Result<(), Violation> {
        let machine = &self.node.disk.machine;
        let counts = (&view.voters, &view.learners, view.joint);
        let conf = &machine.conf;
        if view.installing {
            return Ok(());
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let replica = self.replica.as_ref().expect("it has a view");
        replica.canonical(&mut |name, number| match name {
            "conf" => ours.push(number),
            "raft conf" => theirs.push(number),
            _ => {}
        });
        if ours != theirs && !self.node.stopped {
            let number = self.node.number;
            let what = format!("the replica of {number} believes {ours:?}, raft-rs {theirs:?}");
            return Err(Violation::new(Rule::MembershipSafety, what));
        }
        if counts == (&conf.voters, &conf.learners, conf.is_joint()) {
            return Ok(());
        }
        let what = format!("{} counts votes by {counts:?}, applied is {conf:?}", self.node.number);
        Err(Violation::new(Rule::MembershipSafety, what))
    }

    /// What was handed to the disk is what the replica believes to be there.
    fn inspect_log(&self, view: &View) -> Result<(), Violation> {
        let shape = self.shape();
        let (first, last) = (shape.truncated.next(), shape.last);
        if view.installing || (first, last) == (view.first_index, view.last_index) {
            return Ok(());
        }
        let number = self.node.number;
        let what = format!(
            "{number} believes in {}..{}, the disk has {first}..{last}",
            view.first_index, view.last_index
        );
        Err(Violation::new(Rule::Consistent, what))
    }

    /// The terms of its log.
    pub(super) fn shape(&self) -> LogShape {
        let (truncated, _, log) = self.node.log();
        let mut terms: Vec<(Index, Term)> = Vec::new();
        for entry in log.values() {
            if terms.last().is_none_or(|(_, term)| *term != entry.term) {
                terms.push((entry.index, entry.term));
            }
        }
        let last = log.last_key_value().map_or(truncated, |(index, _)| Index(*index));
        LogShape { truncated, terms, last }
    }
}

impl Step<'_> {
    fn replica(&mut self) -> &mut Replica {
        self.live.replica.as_mut().expect("only what runs is given inputs")
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.scope.mutant == Some(mutant)
    }

    fn input(&mut self, input: Input) {
        use pgraft_replica::Input as Given;
        let ticket_of = |ticket: u8| Ticket(u64::from(ticket));
        match input {
            Input::Start => self.start(),
            Input::Crash { writes, state } => self.crash(writes, state),
            Input::Timeout => self.timeout(),
            Input::Doubt => (0..LOYAL_TICKS).for_each(|_| self.tick()),
            Input::Beat => self.tick(),
            Input::Sleep => self.feed(Given::TimeJumped),
            Input::Propose { ticket, command } => {
                let command = self.scope.command(command, ticket);
                self.feed(Given::Propose(vec![Proposal { ticket: ticket_of(ticket), command }]));
            }
            Input::Read { ticket } => self.read(ticket),
            Input::Change { ticket, change } => {
                let context = Bytes::copy_from_slice(&[change]);
                let change = ConfChange {
                    changes: self.scope.changes[usize::from(change)].clone(),
                    context,
                };
                self.feed(Given::ProposeConf { ticket: ticket_of(ticket), change });
            }
            Input::Transfer { ticket, to } => {
                self.feed(Given::Transfer { ticket: ticket_of(ticket), to: Some(id(to)) });
            }
            Input::Write => self.write(),
            Input::Apply => self.apply(),
            Input::Checkpoint => self.checkpoint(),
            Input::Unreachable { peer } => self.feed(Given::Unreachable(id(peer))),
            Input::SnapshotFailed { to } => {
                self.live.node.sending.remove(&id(to));
                self.feed(Given::SnapshotSent { to: id(to), delivered: false });
            }
        }
    }

    // Life and death.

    fn start(&mut self) {
        let node = &mut self.live.node;
        node.starts += 1;
        let config = Config {
            id: id(node.number),
            seed: u64::from(node.number) << 32 ^ u64::from(node.starts) << 48,
            election_ticks: ELECTION_TICKS,
            heartbeat_ticks: HEARTBEAT_TICKS,
            keep: self.scope.keep(),
        };
        let mut restored = node.disk.restored();
        if self.scope.mutant == Some(Mutant::ConfBeforeCommit) {
            restored.conf = mutant::conf_of_log(&node.disk, self.scope);
        }
        match Replica::new(config, restored) {
            Ok(replica) => self.live.replica = Some(replica),
            Err(error) => {
                let what = format!("{} does not start: {error}", node.number);
                self.out.violation = Some(Violation::new(Rule::StartsAgain, what));
            }
        }
        if node.starts > 1 {
            self.out.marks.set(Marks::RESTARTED);
        }
    }

    fn crash(&mut self, writes: u8, state: bool) {
        let view = self.replica().view();
        let in_flight = view.is_leader() && view.last_index > view.committed;
        self.out.marks.set_if(in_flight, Marks::LEADER_CRASHED);
        self.out.marks.set_if(view.joint, Marks::JOINT_CRASHED);
        self.live.replica = None;
        let node = &mut self.live.node;
        self.out.marks.set_if(writes > 0, Marks::WRITE_KEPT);
        self.out.marks.set_if(usize::from(writes) < node.writes.len(), Marks::WRITE_LOST);
        let (received, mutant) = (std::mem::take(&mut node.received), self.scope.mutant);
        for persist in node.writes.drain(..).take(usize::from(writes)) {
            node.disk.write(&persist, &received, mutant);
        }
        let before = node.disk.machine.clone();
        if !state {
            self.out.marks.set(Marks::STATE_LOST);
            node.disk.machine = node.disk.durable.clone();
        }
        *node = Node { starts: node.starts, ..Node::new(node.number, node.disk.clone()) };
        mutant::damage(&mut node.disk, &before, mutant);
    }

    // Time.

    fn tick(&mut self) {
        self.feed(pgraft_replica::Input::Tick { wall_ms: WALL_MS });
    }

    /// Until an election begins; impossible when none does.
    fn timeout(&mut self) {
        let before = self.replica().view().elections_started;
        for _ in 0..ELECTION_TICKS {
            self.tick();
            if self.replica().view().elections_started != before {
                return;
            }
        }
        self.out.impossible = true;
    }

    // What the driver and its threads do.

    fn write(&mut self) {
        let mutant = self.scope.mutant;
        let node = &mut self.live.node;
        let Some(persist) = node.writes.pop_front() else { return };
        node.disk.write(&persist, &node.received, mutant);
        if persist.snapshot.is_some() {
            self.out.marks.set(Marks::SNAPSHOT_INSTALLED);
        }
        if mutant != Some(Mutant::ConfirmedBeforeDurable) {
            self.feed(pgraft_replica::Input::Persisted { number: persist.number });
        }
    }

    fn apply(&mut self) {
        let (mutant, node) = (self.scope.mutant, &mut self.live.node);
        let Some(committed) = node.applies.pop_front() else { return };
        let was_joint = node.disk.machine.conf.is_joint();
        let before = node.disk.machine.effects.len();
        node.disk.machine.apply(&committed, mutant);
        let machine = &node.disk.machine;
        let repeated = disk::commands(&committed.entry).len() > machine.effects.len() - before;
        self.out.marks.set_if(repeated, Marks::REPEAT_IGNORED);
        self.out.marks.set_if(machine.effects.len() > before, Marks::ENTRY_COMMITTED);
        self.out.marks.set_if(!was_joint && machine.conf.is_joint(), Marks::JOINT_ENTERED);
        self.out.marks.set_if(was_joint && !machine.conf.is_joint(), Marks::JOINT_LEFT);
        self.out.marks.set_if(committed.conf_change.is_some(), Marks::CONF_CHANGED);
        let told = committed.tickets.iter().map(|ticket| small(ticket.0));
        self.out.answered.extend(told);
        if mutant == Some(Mutant::AnsweredTwice) {
            self.out.answered.extend(committed.tickets.iter().map(|ticket| small(ticket.0)));
        }
        self.out.machine.push((machine.applied, machine.visible()));
        let mut index = committed.entry.index;
        if mutant == Some(Mutant::AppliedAhead) {
            index = index.next();
        }
        self.feed(pgraft_replica::Input::Applied { index });
    }

    fn checkpoint(&mut self) {
        let disk = &mut self.live.node.disk;
        let index = disk.machine.applied;
        disk.durable = disk.machine.clone();
        self.feed(pgraft_replica::Input::StateDurable { index });
    }

    fn read(&mut self, ticket: u8) {
        self.out.reads_begun.push(ticket);
        let view = self.replica().view();
        if self.is(Mutant::ReadWithoutQuorum) && view.is_leader() {
            self.out.reads.push((ticket, view.committed));
        } else {
            self.feed(pgraft_replica::Input::Read(vec![Ticket(u64::from(ticket))]));
        }
    }

    // The network.

    fn arrive(&mut self, item: &Item) {
        match item {
            Item::Message { message, machine } => {
                let mut message = Message::clone(message);
                if let Some(machine) = machine {
                    self.live.node.received.insert(machine.applied.0, machine.clone());
                    let Message { from, to, .. } = message;
                    self.out.items.push(Item::Delivered { leader: from, to });
                }
                self.out.marks.set_if(message.reject, Marks::REJECTED);
                if self.is(Mutant::EntryDamaged) {
                    mutant::damage_entries(&mut message);
                }
                self.receive(message);
            }
            Item::Delivered { to, .. } => {
                self.live.node.sending.remove(to);
                let to = *to;
                self.feed(pgraft_replica::Input::SnapshotSent { to, delivered: true });
            }
        }
    }

    fn receive(&mut self, message: Message) {
        let (kind, from, to, term) = (message.kind, message.from, message.to, message.term);
        let before = self.replica().view().role;
        self.feed(pgraft_replica::Input::Received(message));
        if kind == MessageKind::Vote && self.is(Mutant::VotesForAll) {
            let yes = Message::new(MessageKind::VoteResponse, to, from, term);
            self.out.items.push(Item::plain(yes));
        }
        let Some(replica) = &self.live.replica else { return };
        let campaigns = before == Role::Follower && replica.view().role == Role::Candidate;
        let handed = kind == MessageKind::TimeoutNow && campaigns;
        self.out.marks.set_if(handed, Marks::HANDED_OVER);
    }

    // Effects.

    /// What is not left to chance happens at once: reading from the own disk always, writing and
    /// applying where the scope says so.
    fn settle(&mut self) {
        while self.out.violation.is_none() && !self.out.impossible && self.live.replica.is_some() {
            let node = &mut self.live.node;
            if let Some(fetch) = node.fetches.pop_front() {
                let entries = node.disk.fetch(fetch);
                self.out.marks.set(Marks::FETCHED);
                self.feed(pgraft_replica::Input::Fetched { low: fetch.low, entries });
            } else if let Some(to) = node.pins.pop_front() {
                let meta = node.disk.machine.meta();
                node.sending.insert(to, node.disk.machine.clone());
                self.feed(pgraft_replica::Input::SnapshotPinned { to, meta });
            } else if self.scope.writes_at_once
                && node.writes.front().is_some_and(|write| write.snapshot.is_none())
            {
                self.write();
            } else if self.scope.applies_at_once
                && node.applies.front().is_some_and(|next| next.conf_change.is_none())
            {
                self.apply();
            } else {
                break;
            }
        }
        if self.live.view().is_none_or(|view| !view.installing) {
            self.live.node.received.clear();
        }
    }

    fn feed(&mut self, input: pgraft_replica::Input) {
        let was_leader = self.replica().view().is_leader();
        let effects = self.replica().step(input);
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
        let node = &mut self.live.node;
        node.fetches.extend(fetch);
        node.pins.extend(pin_snapshot);
        node.applies.extend(apply.iter().cloned());
        if let Some(index) = truncate {
            node.disk.truncate(index);
            self.out.marks.set(Marks::TRUNCATED);
        }
        self.out.committed.extend(apply);
        self.out.reads.extend(reads.iter().map(|(ticket, index)| (small(ticket.0), *index)));
        self.out.marks.set_if(!reads.is_empty(), Marks::READ_SERVED);
        for (ticket, refusal) in refused {
            self.out.refused.push(small(ticket.0));
            self.out.marks.set_if(refusal == Refusal::Overwritten, Marks::OVERWRITTEN);
            self.out.marks.set_if(refusal == Refusal::NoQuorum, Marks::READ_REFUSED);
        }
        self.out.elected |= !was_leader && role.is_some_and(|role| role.role == Role::Leader);
        self.live.node.stopped |= stop.is_some();
        self.out.marks.set_if(stop.is_some(), Marks::STOPPED);
        if was_leader && !self.replica().view().is_leader() && self.is(Mutant::RefusedInFlight) {
            self.refuse_in_flight();
        }
        persist.into_iter().for_each(|persist| self.persist(persist));
    }

    fn send(&mut self, message: Message) {
        let machine = message.snapshot.as_ref().map(|meta| {
            let sending = self.live.node.sending.get(&message.to);
            let machine = sending.expect("a snapshot is pinned before it is sent");
            assert_eq!(machine.meta(), *meta, "another snapshot was pinned");
            machine.clone()
        });
        self.out.items.push(Item::Message { message: Box::new(message), machine });
    }

    fn persist(&mut self, persist: Persist) {
        let number = persist.number;
        self.mutate(&persist);
        self.live.node.writes.push_back(persist);
        if self.is(Mutant::ConfirmedBeforeDurable) {
            self.feed(pgraft_replica::Input::Persisted { number });
        }
    }

    /// Speaks for a write before it is durable, where that is the planted bug.
    fn mutate(&mut self, persist: &Persist) {
        let view = self.replica().view();
        let Some(leader) = view.leader.filter(|_| !view.is_leader()) else {
            let vote = persist.hard_state.and_then(|state| state.vote);
            if let Some(to) = vote.filter(|to| *to != view.id && self.is(Mutant::VotedEarly)) {
                let yes = Message::new(MessageKind::VoteResponse, view.id, to, view.term);
                self.out.items.push(Item::plain(yes));
            }
            return;
        };
        if let Some(last) = persist.entries.last()
            && self.is(Mutant::AcknowledgedEarly)
        {
            let mut yes = Message::new(MessageKind::AppendResponse, view.id, leader, view.term);
            yes.index = last.index;
            self.out.items.push(Item::plain(yes));
        }
    }

    fn refuse_in_flight(&mut self) {
        let committed = self.replica().view().committed;
        let (.., log) = self.live.node.log();
        for (_, entry) in log.range(committed.0 + 1..) {
            self.out.refused.extend(disk::commands(entry).into_iter().map(|(_, ticket)| ticket));
        }
    }
}

fn small(number: u64) -> u8 {
    u8::try_from(number).expect("tickets of a model are few")
}
