//! Replicas in one process. Nothing moves by itself: messages, writes and applies wait until a
//! test lets them happen, loses them, or crashes a node. Invariants are checked after each step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use bytes::Bytes;
use pgraft_replay::Recorder;
use pgraft_replica::invariants::{self, Leaders, Ledger, LogShape};
use pgraft_replica::{
    Committed, ConfChange, ConfChangeKind, ConfState, Config, Effects, Fetch, Index, Input, Keep,
    Message, MessageKind, NodeId, Persist, Proposal, Refusal, Replica, Role, SnapshotMeta, Stop,
    Term, Ticket, View,
};

use crate::disk::{Disk, State};

pub(crate) const ELECTION_TICKS: u32 = 40;
pub(crate) const HEARTBEAT_TICKS: u32 = 4;

pub(crate) fn id(number: u64) -> NodeId {
    NodeId::new(number).expect("ids in tests are not 0")
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Applied(Index),
    Read(Index),
    Refused(Refusal),
}

/// A node: its replica if it runs, its disk, and what is in flight between the two.
pub(crate) struct Node {
    pub(crate) replica: Option<Replica>,
    pub(crate) disk: Disk,
    pub(crate) writes: VecDeque<Persist>,
    pub(crate) applies: VecDeque<Committed>,
    pub(crate) fetches: VecDeque<Fetch>,
    pub(crate) pins: VecDeque<NodeId>,
    pub(crate) stop: Option<Stop>,
    pub(crate) wall_ms: u64,
    boots: u64,
    checked_term: Term,
}

impl Node {
    pub(crate) fn view(&self) -> View {
        self.replica.as_ref().expect("the node runs").view()
    }
}

/// Some replicas and a network.
pub(crate) struct Cluster {
    pub(crate) seed: u64,
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) net: Vec<Message>,
    pub(crate) answers: BTreeMap<Ticket, Answer>,
    /// Reads, and what was committed when they began.
    reads: BTreeMap<Ticket, Index>,
    /// Snapshot data by index; what peers stream beside the messages.
    pub(crate) snapshots: BTreeMap<u64, State>,
    pub(crate) leaders: Leaders,
    pub(crate) ledger: Ledger,
    /// State of the machine by index: equal on all replicas.
    chains: BTreeMap<Index, u64>,
    pub(crate) trace: String,
    /// What every node takes and gives, for the replay oracle; when wanted.
    pub(crate) recorders: Option<BTreeMap<u64, Recorder>>,
    next_ticket: u64,
    /// Entries below the applied index that a restart loads.
    pub(crate) tail_older: u64,
    /// When members never change: how many voters there are, to check durability.
    pub(crate) fixed_voters: Option<u64>,
    genesis: ConfState,
}

impl Cluster {
    /// `voters` nodes with ids from 1, not started an election yet.
    pub(crate) fn new(seed: u64, voters: u64) -> Cluster {
        Cluster::assemble(seed, voters, None)
    }

    /// The same, with all that the replicas take and give recorded.
    pub(crate) fn recorded(seed: u64, voters: u64) -> Cluster {
        Cluster::assemble(seed, voters, Some(BTreeMap::new()))
    }

    fn assemble(seed: u64, voters: u64, recorders: Option<BTreeMap<u64, Recorder>>) -> Cluster {
        let conf = ConfState { voters: (1..=voters).map(id).collect(), ..ConfState::default() };
        let mut cluster = Cluster {
            seed,
            nodes: BTreeMap::new(),
            net: Vec::new(),
            answers: BTreeMap::new(),
            reads: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            leaders: Leaders::default(),
            ledger: Ledger::default(),
            chains: BTreeMap::new(),
            trace: String::new(),
            recorders,
            next_ticket: 0,
            tail_older: 0,
            fixed_voters: None,
            genesis: conf.clone(),
        };
        for number in 1..=voters {
            cluster.add(number, conf.clone());
        }
        cluster
    }

    /// A cluster with node 1 leading and everything quiet.
    pub(crate) fn led(seed: u64, voters: u64) -> Cluster {
        let mut cluster = Cluster::new(seed, voters);
        cluster.elect(1);
        cluster
    }

    /// Starts a node that waits to be added: an empty log, and the genesis configuration.
    pub(crate) fn join(&mut self, number: u64) {
        let genesis = self.genesis.clone();
        self.add(number, genesis);
    }

    /// Starts a node with an empty log.
    fn add(&mut self, number: u64, conf: ConfState) {
        let state = State { conf, ..State::default() };
        let disk = Disk { state: state.clone(), durable: state, ..Disk::default() };
        let node = Node {
            replica: None,
            disk,
            writes: VecDeque::new(),
            applies: VecDeque::new(),
            fetches: VecDeque::new(),
            pins: VecDeque::new(),
            stop: None,
            wall_ms: 1_000_000,
            boots: 0,
            checked_term: Term(0),
        };
        self.nodes.insert(number, node);
        self.start(number);
    }

    pub(crate) fn node(&mut self, number: u64) -> &mut Node {
        self.nodes.get_mut(&number).expect("the node exists")
    }

    pub(crate) fn view(&self, number: u64) -> View {
        self.nodes[&number].view()
    }

    pub(crate) fn is_up(&self, number: u64) -> bool {
        self.nodes.get(&number).is_some_and(|node| node.replica.is_some())
    }

    pub(crate) fn up(&self) -> Vec<u64> {
        self.nodes.keys().copied().filter(|number| self.is_up(*number)).collect()
    }

    /// The leader of the highest term, if its own disk and peers still agree that it leads.
    pub(crate) fn leader(&self) -> Option<u64> {
        let leads = |number: &u64| self.view(*number).role == Role::Leader;
        let leaders = self.up().into_iter().filter(leads);
        leaders.max_by_key(|number| self.view(*number).term)
    }

    // Life and death.

    pub(crate) fn start(&mut self, number: u64) {
        let (seed, older) = (self.seed, self.tail_older);
        let node = self.node(number);
        node.boots += 1;
        let config = Config {
            id: id(number),
            seed: seed ^ (number << 32) ^ (node.boots << 48),
            election_ticks: ELECTION_TICKS,
            heartbeat_ticks: HEARTBEAT_TICKS,
            keep: Keep::default(),
        };
        let restored = node.disk.restored(older);
        let replica = Replica::new(config.clone(), restored.clone());
        node.replica = Some(replica.expect("a correct disk is accepted"));
        node.stop = None;
        self.recorder(number, |recorder| recorder.started(&config, &restored));
    }

    /// Power loss: the first `writes` of the queued ones are durable, the others never were;
    /// state.db falls back to its checkpoint unless `state` survives.
    pub(crate) fn crash(&mut self, number: u64, writes: usize, state: bool) {
        let snapshots = std::mem::take(&mut self.snapshots);
        let node = self.node(number);
        node.replica = None;
        for persist in node.writes.drain(..).take(writes) {
            node.disk.write(&persist, &snapshots);
        }
        if !state {
            node.disk.state = node.disk.durable.clone();
        }
        node.writes.clear();
        node.applies.clear();
        node.fetches.clear();
        node.pins.clear();
        self.snapshots = snapshots;
    }

    // Steps.

    /// One step of one replica, its effects queued and all invariants checked.
    pub(crate) fn step(&mut self, number: u64, input: Input) {
        if !self.is_up(number) {
            return;
        }
        self.recorder(number, |recorder| recorder.stepping(&input));
        let replica = self.node(number).replica.as_mut().expect("it is up");
        let effects = replica.step(input);
        if self.recorders.is_some() {
            let view = self.view(number);
            self.recorder(number, |recorder| recorder.stepped(&effects, &view));
        }
        self.take(number, effects);
        self.check(number);
    }

    fn recorder(&mut self, number: u64, record: impl FnOnce(&mut Recorder)) {
        if let Some(recorders) = &mut self.recorders {
            record(recorders.entry(number).or_insert_with(Recorder::new));
        }
    }

    fn take(&mut self, number: u64, effects: Effects) {
        self.describe(number, &effects);
        let Effects {
            send,
            persist,
            fetch,
            pin_snapshot,
            apply,
            reads,
            refused,
            role: _,
            truncate,
            stop,
        } = effects;
        self.net.extend(send);
        for committed in &apply {
            self.ledger.record(id(number), committed).expect("state machine safety");
            self.check_durable(committed);
        }
        for (ticket, index) in reads {
            let committed = self.reads[&ticket];
            assert!(index >= committed, "stale read: {index}, but {committed} was committed");
            self.answer(ticket, Answer::Read(index));
        }
        for (ticket, refusal) in refused {
            self.answer(ticket, Answer::Refused(refusal));
        }
        let node = self.node(number);
        node.writes.extend(persist);
        node.fetches.extend(fetch);
        node.pins.extend(pin_snapshot);
        node.applies.extend(apply);
        if let Some(index) = truncate {
            node.disk.truncate(index);
        }
        if stop.is_some() {
            node.stop = stop;
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        let before = self.answers.insert(ticket, answer);
        assert_eq!(before, None, "request {} is answered twice", ticket.0);
    }

    /// What is committed is on the disks of a majority, whatever crashes next.
    fn check_durable(&self, committed: &Committed) {
        let Some(voters) = self.fixed_voters else { return };
        let entry = &committed.entry;
        let has = |number: &u64| {
            let disk = &self.nodes[number].disk;
            disk.log
                .get(&entry.index.0)
                .map_or(disk.truncated.0 >= entry.index, |found| found.term == entry.term)
        };
        let count = (1..=voters).filter(has).count() as u64;
        assert!(2 * count > voters, "{} is committed but only on {count} disks", entry.index);
    }

    fn check(&mut self, number: u64) {
        let view = self.view(number);
        self.leaders.observe(&view).expect("election safety");
        // A leader's log only grows: once per leadership is enough.
        let is_new = self.node(number).checked_term != view.term;
        if view.role == Role::Leader && is_new {
            self.node(number).checked_term = view.term;
            self.ledger.leader_completeness(&view, &self.shape(number)).expect("completeness");
        }
    }

    pub(crate) fn shape(&self, number: u64) -> LogShape {
        let replica = self.nodes[&number].replica.as_ref().expect("the node runs");
        let view = replica.view();
        LogShape {
            truncated: Index(view.first_index.0 - 1),
            terms: replica.terms(),
            last: view.last_index,
        }
    }

    /// Log matching of all pairs that run; costs too much for every step.
    pub(crate) fn check_logs(&self) {
        let up = self.up().into_iter();
        let shapes: Vec<LogShape> = up.map(|number| self.shape(number)).collect();
        for (at, one) in shapes.iter().enumerate() {
            for other in &shapes[at + 1..] {
                invariants::log_matching(one, other).expect("log matching");
            }
        }
    }

    // Requests.

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    pub(crate) fn propose(&mut self, number: u64, command: &[u8]) -> Ticket {
        let ticket = self.ticket();
        let command = Bytes::copy_from_slice(command);
        self.step(number, Input::Propose(vec![Proposal { ticket, command }]));
        ticket
    }

    /// Several commands in one turn.
    pub(crate) fn propose_together(&mut self, number: u64, commands: &[&[u8]]) {
        let mut proposals = Vec::new();
        for command in commands {
            let command = Bytes::copy_from_slice(command);
            proposals.push(Proposal { ticket: self.ticket(), command });
        }
        self.step(number, Input::Propose(proposals));
    }

    pub(crate) fn read(&mut self, number: u64) -> Ticket {
        let ticket = self.ticket();
        self.reads.insert(ticket, self.ledger.last());
        self.step(number, Input::Read(vec![ticket]));
        ticket
    }

    pub(crate) fn change(&mut self, number: u64, changes: &[(ConfChangeKind, u64)]) -> Ticket {
        let ticket = self.ticket();
        let changes = changes.iter().map(|(kind, node)| (*kind, id(*node))).collect();
        let change = ConfChange { changes, context: Bytes::from_static(b"effect") };
        self.step(number, Input::ProposeConf { ticket, change });
        ticket
    }

    pub(crate) fn transfer(&mut self, number: u64, to: Option<u64>) -> Ticket {
        let ticket = self.ticket();
        self.step(number, Input::Transfer { ticket, to: to.map(id) });
        ticket
    }

    pub(crate) fn answer_of(&self, ticket: Ticket) -> Option<&Answer> {
        self.answers.get(&ticket)
    }

    #[track_caller]
    pub(crate) fn assert_applied(&self, ticket: Ticket) -> Index {
        match self.answer_of(ticket) {
            Some(Answer::Applied(index)) => *index,
            other => panic!("request {} was not applied: {other:?}", ticket.0),
        }
    }

    #[track_caller]
    pub(crate) fn assert_refused(&self, ticket: Ticket) -> Refusal {
        match self.answer_of(ticket) {
            Some(Answer::Refused(refusal)) => refusal.clone(),
            other => panic!("request {} was not refused: {other:?}", ticket.0),
        }
    }

    // What nodes do.

    pub(crate) fn tick(&mut self, number: u64) {
        let node = self.node(number);
        node.wall_ms += 10;
        let wall_ms = node.wall_ms;
        self.step(number, Input::Tick { wall_ms });
    }

    /// The oldest `count` queued writes become durable, as one group.
    pub(crate) fn persist(&mut self, number: u64, count: usize) {
        let snapshots = std::mem::take(&mut self.snapshots);
        let node = self.node(number);
        let count = count.min(node.writes.len());
        let mut last = None;
        for persist in node.writes.drain(..count) {
            node.disk.write(&persist, &snapshots);
            last = Some(persist.number);
        }
        self.snapshots = snapshots;
        if let Some(last) = last {
            self.step(number, Input::Persisted { number: last });
        }
    }

    /// The oldest `count` committed entries are applied, in one transaction.
    pub(crate) fn apply(&mut self, number: u64, count: usize) {
        let node = self.node(number);
        let count = count.min(node.applies.len());
        let batch: Vec<Committed> = node.applies.drain(..count).collect();
        let Some(last) = batch.last().map(|committed| committed.entry.index) else { return };
        for committed in &batch {
            let state = &mut self.nodes.get_mut(&number).expect("it exists").disk.state;
            state.apply(committed);
            let (applied, chain) = (state.applied, state.chain);
            let first = *self.chains.entry(applied).or_insert(chain);
            assert_eq!(first, chain, "{number} differs from its peers at {applied}");
            for ticket in &committed.tickets {
                self.answer(*ticket, Answer::Applied(applied));
            }
        }
        self.step(number, Input::Applied { index: last });
    }

    pub(crate) fn fetch(&mut self, number: u64) {
        while let Some(fetch) = self.node(number).fetches.pop_front() {
            let entries = self.node(number).disk.fetch(fetch);
            self.step(number, Input::Fetched { low: fetch.low, entries });
        }
    }

    pub(crate) fn pin(&mut self, number: u64) {
        while let Some(to) = self.node(number).pins.pop_front() {
            let state = self.node(number).disk.state.clone();
            let meta: SnapshotMeta = state.meta();
            self.snapshots.insert(meta.index.0, state);
            self.step(number, Input::SnapshotPinned { to, meta });
        }
    }

    /// state.db reaches the disk.
    pub(crate) fn checkpoint(&mut self, number: u64) {
        let node = self.node(number);
        node.disk.durable = node.disk.state.clone();
        let index = node.disk.durable.applied;
        self.step(number, Input::StateDurable { index });
    }

    /// All that waits on one node happens.
    pub(crate) fn work(&mut self, number: u64) {
        self.persist(number, usize::MAX);
        self.apply(number, usize::MAX);
        self.fetch(number);
        self.pin(number);
    }

    // The network.

    /// Delivers the messages that `passes` lets through, loses the others. What is sent
    /// meanwhile waits.
    pub(crate) fn deliver(&mut self, passes: impl Fn(&Message) -> bool) {
        for message in std::mem::take(&mut self.net) {
            if passes(&message) {
                self.arrive(message);
            }
        }
    }

    pub(crate) fn arrive(&mut self, message: Message) {
        let (from, to) = (message.from, message.to);
        let is_snapshot = message.kind == MessageKind::Snapshot;
        if !self.is_up(to.get()) {
            return;
        }
        self.step(to.get(), Input::Received(message));
        if is_snapshot && self.is_up(from.get()) {
            self.step(from.get(), Input::SnapshotSent { to, delivered: true });
        }
    }

    /// Everything happens until nothing is left to happen.
    pub(crate) fn settle_where(&mut self, passes: impl Fn(&Message) -> bool) {
        for _ in 0..10_000 {
            let before: usize = self.up().into_iter().map(|number| self.queued(number)).sum();
            if before == 0 && self.net.is_empty() {
                return;
            }
            for number in self.up() {
                self.work(number);
            }
            self.deliver(&passes);
        }
        panic!("the cluster does not come to rest");
    }

    pub(crate) fn settle(&mut self) {
        self.settle_where(|_| true);
    }

    fn queued(&self, number: u64) -> usize {
        let node = &self.nodes[&number];
        node.writes.len() + node.applies.len() + node.fetches.len() + node.pins.len()
    }

    /// Time passes for `numbers`, messages flow where `passes` lets them.
    pub(crate) fn run_where(
        &mut self,
        ticks: u32,
        numbers: &[u64],
        passes: impl Fn(&Message) -> bool,
    ) {
        for _ in 0..ticks {
            for number in numbers {
                self.tick(*number);
            }
            self.settle_where(&passes);
        }
    }

    /// Time passes for one node, to which nothing comes, and nothing gets away.
    pub(crate) fn run_silently(&mut self, number: u64, ticks: u32) {
        for _ in 0..ticks {
            self.tick(number);
        }
        self.net.clear();
    }

    /// The configuration by which raft-rs counts votes, as numbers.
    pub(crate) fn counted(&self, number: u64) -> Vec<u64> {
        let replica = self.nodes[&number].replica.as_ref().expect("the node runs");
        let mut numbers = Vec::new();
        replica.canonical(&mut |name, number| {
            if name == "raft conf" {
                numbers.push(number);
            }
        });
        numbers
    }

    /// Time passes for all.
    pub(crate) fn run(&mut self, ticks: u32) {
        let up = self.up();
        self.run_where(ticks, &up, |_| true);
    }

    /// Node `number` wins an election because nobody hears the other candidates.
    pub(crate) fn elect(&mut self, number: u64) {
        for _ in 0..4 * ELECTION_TICKS {
            if self.view(number).role == Role::Leader {
                self.settle();
                return;
            }
            let up = self.up();
            self.run_where(1, &up, |message| !is_candidacy(message) || is_from(message, number));
        }
        panic!("node {number} does not win");
    }

    /// Ticks until somebody leads.
    pub(crate) fn await_leader(&mut self, among: &[u64], cut: &BTreeSet<u64>) -> u64 {
        for _ in 0..20 * ELECTION_TICKS {
            let leads = |number: &&u64| self.view(**number).role == Role::Leader;
            if let Some(leader) = among.iter().find(leads) {
                return *leader;
            }
            self.run_where(1, among, |message| {
                !cut.contains(&message.from.get()) && !cut.contains(&message.to.get())
            });
        }
        panic!("nobody of {among:?} wins");
    }

    // Rendering.

    fn describe(&mut self, number: u64, effects: &Effects) {
        let mut out = std::mem::take(&mut self.trace);
        write_effects(&mut out, number, effects).expect("writing to a string works");
        self.trace = out;
    }
}

fn write_effects(out: &mut String, number: u64, effects: &Effects) -> std::fmt::Result {
    for message in &effects.send {
        writeln!(out, "n{number} sends {}", render_message(message))?;
    }
    for persist in &effects.persist {
        writeln!(out, "n{number} persists {}", render_persist(persist))?;
    }
    for fetch in &effects.fetch {
        writeln!(out, "n{number} fetches from {} below {}", fetch.low, fetch.high)?;
    }
    for to in &effects.pin_snapshot {
        writeln!(out, "n{number} pins a snapshot for n{to}")?;
    }
    for committed in &effects.apply {
        let entry = &committed.entry;
        let kind = match (&committed.conf_change, entry.data.is_empty()) {
            (Some(change), _) => render_change(change),
            (None, true) => "nothing".to_owned(),
            (None, false) => "commands".to_owned(),
        };
        let tickets: Vec<u64> = committed.tickets.iter().map(|ticket| ticket.0).collect();
        writeln!(out, "n{number} applies {}@{} {kind} {tickets:?}", entry.index, entry.term)?;
    }
    for (ticket, index) in &effects.reads {
        writeln!(out, "n{number} answers read {} at {index}", ticket.0)?;
    }
    for (ticket, refusal) in &effects.refused {
        let refusal = match refusal {
            Refusal::NotLeader(Some(leader)) => format!("NotLeader, n{leader} is"),
            Refusal::NotLeader(None) => "NotLeader, nobody is".to_owned(),
            other => format!("{other:?}"),
        };
        writeln!(out, "n{number} refuses {}: {refusal}", ticket.0)?;
    }
    if let Some(role) = &effects.role {
        let leader = role.leader.map_or("nobody".to_owned(), |leader| format!("n{leader}"));
        writeln!(out, "n{number} is {:?} in term {}, led by {leader}", role.role, role.term)?;
    }
    if let Some(index) = effects.truncate {
        writeln!(out, "n{number} truncates up to {index}")?;
    }
    if let Some(stop) = &effects.stop {
        writeln!(out, "n{number} stops {stop:?}")?;
    }
    Ok(())
}

pub(crate) fn render_change(change: &ConfChange) -> String {
    if change.changes.is_empty() {
        return "leave joint".to_owned();
    }
    let changes = change.changes.iter().map(|(kind, id)| format!("{kind:?} n{id}"));
    changes.collect::<Vec<String>>().join(", ")
}

fn render_persist(persist: &Persist) -> String {
    let mut parts = vec![format!("#{}", persist.number)];
    if let Some(state) = persist.hard_state {
        let vote = state.vote.map_or("nobody".to_owned(), |vote| format!("n{vote}"));
        parts.push(format!("term {} vote {vote} commit {}", state.term, state.commit));
    }
    if let (Some(first), Some(last)) = (persist.entries.first(), persist.entries.last()) {
        parts.push(format!("entries {}..{}@{}", first.index, last.index, last.term));
    }
    if let Some(meta) = &persist.snapshot {
        parts.push(format!("snapshot {}@{}", meta.index, meta.term));
    }
    parts.join(", ")
}

pub(crate) fn render_message(message: &Message) -> String {
    let mut out = format!("{:?} to n{} term {}", message.kind, message.to, message.term);
    let no = if message.reject { " no" } else { "" };
    let detail = match message.kind {
        MessageKind::Append => {
            let until = message.entries.last().map_or(message.index, |entry| entry.index);
            let (index, commit) = (message.index, message.commit);
            format!(" after {index}@{} until {until} commit {commit}", message.log_term)
        }
        MessageKind::AppendResponse if message.reject => {
            format!(" no, {} is {}@{}", message.index, message.reject_hint, message.log_term)
        }
        MessageKind::AppendResponse => format!(" has {}", message.index),
        MessageKind::Vote | MessageKind::PreVote => {
            format!(" log {}@{}", message.index, message.log_term)
        }
        MessageKind::VoteResponse | MessageKind::PreVoteResponse => no.to_owned(),
        MessageKind::Snapshot => {
            let meta = message.snapshot.as_ref().expect("it carries one");
            format!(" {}@{}", meta.index, meta.term)
        }
        MessageKind::Heartbeat | MessageKind::HeartbeatResponse => {
            let read = if message.context.is_empty() { "" } else { " with a read" };
            format!(" commit {}{read}", message.commit)
        }
        MessageKind::TimeoutNow => String::new(),
    };
    out.push_str(&detail);
    out
}

/// Whether a message asks for a vote.
pub(crate) fn is_candidacy(message: &Message) -> bool {
    matches!(message.kind, MessageKind::Vote | MessageKind::PreVote)
}

pub(crate) fn is_from(message: &Message, number: u64) -> bool {
    message.from.get() == number
}
