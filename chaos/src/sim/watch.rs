//! Looks at every step of every replica: Raft's five properties (Raft paper, figure 3), what is
//! committed, what machines answered, and what else a run wants to have seen.
//!
//! One for a cluster; each node has an [`Eye`] of it. Not here: histories of clients.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pgraft_host::{Applied, Command, Outcome};
use pgraft_judge::history::{
    Committed as CommittedEvent, Emitted, Reply, Role as RoleEvent, Watch as WatchEvent, Watched,
    What,
};
use pgraft_node::world::Observer;
use pgraft_replica::body::Body;
use pgraft_replica::invariants::{Check, Leaders, Ledger, LogShape, local, monotonic};
use pgraft_replica::{
    Config, Effects, Entry, Index, Input, MessageKind, Replica, Restored, Role, Term, View,
};

use crate::plan::Point;
use crate::sim::journal::Journal;
use crate::sim::process::Process;

/// Watchers of machines' events are numbered from here, one per node.
pub(super) const WATCHERS: u64 = 1_000_000;

/// Digests of tables by number of the machine.
type Digests = Vec<(u32, u128)>;

/// What is known about all nodes.
pub(super) struct Watch {
    inner: Mutex<Inner>,
    journal: Journal,
    /// Names of the machines.
    machines: Vec<String>,
}

#[derive(Default)]
struct Inner {
    leaders: Leaders,
    ledger: Ledger,
    /// By place, not by id: whoever lost its disk comes back to its place under another id.
    views: BTreeMap<u64, View>,
    /// Snapshots that a place is taking over: up to which index.
    installing: BTreeMap<u64, Index>,
    /// The predecessor's term and the content of every entry that any log ever held. By induction
    /// this is Log Matching: who shares an entry shares all before it.
    ancestry: BTreeMap<(Index, Term), (Option<Term>, Bytes)>,
    /// Entries that some replica handed out to be applied, until they are in the history.
    bodies: BTreeMap<Index, Entry>,
    /// The last index in the history, and the log's time there.
    told: Index,
    time_ms: u64,
    /// Outcomes by index, from whoever applied it first.
    outcomes: BTreeMap<Index, Vec<Outcome>>,
    digests: BTreeMap<Index, Digests>,
    last_digests: BTreeMap<u64, (Index, Digests)>,
    /// Requests seen in the log, and where first.
    requests: BTreeMap<(u64, u64), Index>,
    leader_seen: Option<(Term, u64)>,
}

/// One node's part of the watch.
pub(super) struct Eye {
    watch: Arc<Watch>,
    process: Arc<Process>,
}

impl Watch {
    /// A watch of these machines that writes what it sees to `journal`.
    pub(super) fn new(journal: Journal, machines: Vec<String>) -> Arc<Watch> {
        Arc::new(Watch { inner: Mutex::new(Inner::default()), journal, machines })
    }

    /// The observer of a node.
    pub(super) fn eye(self: &Arc<Watch>, process: &Arc<Process>) -> Arc<dyn Observer> {
        Arc::new(Eye { watch: Arc::clone(self), process: Arc::clone(process) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node's process is gone.
    pub(super) fn gone(&self, node: u64) {
        let view = self.inner().forget(node);
        if view.as_ref().is_some_and(|view| view.joint) {
            self.journal.mark("joint_crashed_through");
        }
        let term = view.map_or(0, |view| view.term.0);
        self.journal.note(What::Role(RoleEvent { node, term, role: "down".to_owned() }));
    }

    /// Who leads the highest term now.
    pub(super) fn leader(&self) -> Option<u64> {
        let inner = self.inner();
        let leading = inner.views.iter().filter(|(_, view)| view.role == Role::Leader);
        leading.max_by_key(|(_, view)| view.term).map(|(place, _)| *place)
    }

    /// The views of all running nodes, by place.
    pub(super) fn views(&self) -> BTreeMap<u64, View> {
        self.inner().views.clone()
    }

    /// The digests of the machines' tables that each node computed last, and at which index.
    pub(super) fn last_digests(&self) -> Vec<(u64, u64, Digests)> {
        let inner = self.inner();
        let last = inner.last_digests.iter();
        last.map(|(node, (index, digests))| (*node, index.0, digests.clone())).collect()
    }

    /// The highest index that was committed.
    pub(super) fn last_committed(&self) -> Index {
        self.inner().ledger.last()
    }

    fn require(&self, of: &str, check: Check) {
        if let Err(violation) = check {
            self.journal.violation(of, violation.to_string());
        }
    }
}

impl Inner {
    /// One life of a node is over: what it showed says nothing about the next.
    fn forget(&mut self, place: u64) -> Option<View> {
        self.installing.remove(&place);
        self.views.remove(&place)
    }

    /// Log Matching, one entry at a time.
    fn ancestor(&mut self, entries: &[Entry], before: Option<Term>) -> Result<(), String> {
        let mut before = before;
        for entry in entries {
            let known = self
                .ancestry
                .entry((entry.index, entry.term))
                .or_insert_with(|| (before, entry.data.clone()));
            if known.1 != entry.data {
                return Err(format!("two entries {} of term {}", entry.index, entry.term));
            }
            match (known.0, before) {
                (None, Some(_)) => known.0 = before,
                (Some(one), Some(other)) if one != other => {
                    return Err(format!(
                        "entry {} of term {} follows an entry of term {one} in one log and of \
                         term {other} in another",
                        entry.index, entry.term
                    ));
                }
                _ => {}
            }
            before = Some(entry.term);
        }
        Ok(())
    }
}

fn shape(replica: &Replica, view: &View) -> LogShape {
    let truncated = Index(view.first_index.0.saturating_sub(1));
    LogShape { truncated, terms: replica.terms(), last: view.last_index }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::PreCandidate | Role::Candidate => "candidate",
        Role::Leader => "leader",
    }
}

impl Eye {
    /// Term of the entry before `index` in this replica's log, when it is known.
    fn term_before(log: &LogShape, index: Index) -> Option<Term> {
        if index == Index(1) {
            return Some(Term(0));
        }
        log.term(Index(index.0.saturating_sub(1)))
    }

    fn judge(&self, view: &View, effects: &Effects, replica: &Replica) {
        let (watch, mut inner) = (&self.watch, self.watch.inner());
        let before = inner.views.insert(self.process.node, view.clone());
        watch.require("local consistency", local(view));
        if let Some(before) = &before {
            watch.require("a step moves forward", monotonic(before, view));
        }
        watch.require("Election Safety", inner.leaders.observe(view));
        let log = shape(replica, view);
        for persist in effects.persist.iter().filter(|persist| !persist.entries.is_empty()) {
            let before = Eye::term_before(&log, persist.entries[0].index);
            if let Err(why) = inner.ancestor(&persist.entries, before) {
                watch.journal.violation("Log Matching", format!("{}: {why}", view.id));
            }
        }
        for committed in &effects.apply {
            let check = inner.ledger.record(view.id, committed);
            watch.require("State Machine Safety", check);
            if committed.entry.index > inner.told {
                inner.bodies.insert(committed.entry.index, committed.entry.clone());
            }
        }
        let led = before.as_ref().is_some_and(|before| before.role == Role::Leader);
        if view.role == Role::Leader && !led {
            watch.require("Leader Completeness", inner.ledger.leader_completeness(view, &log));
        }
        drop(inner);
        self.mark(before.as_ref(), view, effects);
    }

    fn mark(&self, before: Option<&View>, view: &View, effects: &Effects) {
        let journal = &self.watch.journal;
        let changed = before.is_none_or(|before| {
            (before.role, before.term, before.leader) != (view.role, view.term, view.leader)
        });
        if changed {
            let role = role_name(view.role).to_owned();
            let (node, term) = (self.process.node, view.term.0);
            journal.note(What::Role(RoleEvent { node, term, role }));
        }
        if view.role == Role::Leader && changed {
            let mut inner = self.watch.inner();
            let (seen, now) = (inner.leader_seen, (view.term, self.process.node));
            if seen.is_none_or(|(term, _)| term < view.term) {
                inner.leader_seen = Some(now);
                journal.mark("leader_elected");
                let other = seen.is_some_and(|(_, leader)| leader != now.1);
                if other && journal.is_writing() {
                    journal.mark("leader_changed_with_write_in_flight");
                }
            }
        }
        if view.joint && before.is_none_or(|before| !before.joint) {
            journal.mark("joint_entered");
        }
        if effects.send.iter().any(|message| message.kind == MessageKind::Snapshot) {
            journal.mark("snapshot_sent");
        }
    }

    /// A snapshot takes the place of entries: whoever watches this node's events begins anew.
    fn follow_snapshot(&self, input: &Input, effects: &Effects) {
        let node = self.process.node;
        let mut inner = self.watch.inner();
        let taken = effects.persist.iter().find_map(|persist| persist.snapshot.as_ref());
        if let Some(meta) = taken {
            inner.installing.insert(node, meta.index);
        }
        let installed = match input {
            Input::Applied { index } if inner.installing.get(&node) == Some(index) => *index,
            _ => return,
        };
        inner.installing.remove(&node);
        drop(inner);
        self.watch.journal.mark("snapshot_installed");
        self.watch_from(installed);
    }

    fn watch_from(&self, after: Index) {
        let node = self.process.node;
        for machine in &self.watch.machines {
            let watch = WatchEvent {
                client: WATCHERS + node,
                node,
                machine: machine.clone(),
                prefix: Vec::new(),
                after: Some(after.0),
            };
            self.watch.journal.note(What::Watch(watch));
        }
    }

    fn compare(&self, applied: &Applied) {
        let node = self.process.node;
        let mut inner = self.watch.inner();
        let first = inner.outcomes.entry(applied.index).or_insert_with(|| applied.outcomes.clone());
        if *first != applied.outcomes {
            let says = format!(
                "n{node} answers {:?} at {}, another answered {first:?}",
                applied.outcomes, applied.index
            );
            drop(inner);
            self.watch.journal.violation("replicas answer alike", says);
        }
    }

    fn tell(&self, applied: &Applied) {
        let mut inner = self.watch.inner();
        if applied.index <= inner.told {
            return;
        }
        // Entries whose outcomes died with all who knew them are told without.
        let missing: Vec<Entry> = inner
            .bodies
            .range(inner.told.next()..applied.index)
            .map(|(_, entry)| entry.clone())
            .collect();
        for entry in missing {
            self.commit(&mut inner, &entry, None);
        }
        if let Some(entry) = inner.bodies.get(&applied.index).cloned() {
            self.commit(&mut inner, &entry, Some(applied));
        }
        inner.told = applied.index;
        inner.bodies = inner.bodies.split_off(&applied.index.next());
    }

    fn commit(&self, inner: &mut Inner, entry: &Entry, applied: Option<&Applied>) {
        let body = Body::decode(entry.data.clone()).ok();
        if let Some(body) = &body {
            inner.time_ms = inner.time_ms.max(body.time_ms);
            for command in &body.commands {
                self.mark_command(inner, entry.index, command);
            }
        }
        let committed = CommittedEvent {
            index: entry.index.0,
            term: entry.term.0,
            time_ms: inner.time_ms,
            body: body.map_or(Vec::new(), |_| entry.data.to_vec()),
            outcomes: applied.map_or(Vec::new(), |one| one.outcomes.iter().map(reply).collect()),
            events: applied.map_or(Vec::new(), |one| one.events.iter().map(emitted).collect()),
        };
        self.watch.journal.note(What::Committed(committed));
    }

    fn mark_command(&self, inner: &mut Inner, index: Index, command: &Bytes) {
        match Command::decode(command) {
            Ok(Command::Machine { session, seq, .. }) => {
                let first = *inner.requests.entry((session, seq)).or_insert(index);
                if first != index {
                    self.watch.journal.mark("session_reply_replayed");
                }
            }
            Ok(Command::Wake { machine, .. }) if machine == "kv" => {
                self.watch.journal.mark("lease_expired");
            }
            _ => {}
        }
    }

    fn watched(&self, applied: &Applied) {
        let node = self.process.node;
        for event in &applied.events {
            let watched = Watched {
                client: WATCHERS + node,
                node,
                index: applied.index.0,
                event: emitted(event),
            };
            self.watch.journal.note(What::Watched(watched));
        }
    }
}

/// What a machine said, as histories have it.
pub(super) fn reply(outcome: &Outcome) -> Reply {
    match outcome {
        Ok(bytes) => Reply::Accepted(bytes.clone()),
        Err(rejection) => {
            Reply::Rejected { code: rejection.code, message: rejection.message.clone() }
        }
    }
}

fn emitted(event: &pgraft_host::Event) -> Emitted {
    let pgraft_host::Event { machine, topic, payload, .. } = event;
    Emitted { machine: machine.clone(), key: topic.clone(), payload: payload.clone() }
}

impl Observer for Eye {
    fn started(&self, _config: &Config, restored: &Restored) {
        let node = self.process.node;
        let mut inner = self.watch.inner();
        inner.forget(node);
        let shape = LogShape {
            truncated: restored.truncated.0,
            terms: restored.terms.clone(),
            last: restored.tail.last().map_or(restored.truncated.0, |entry| entry.index),
        };
        let matching = restored.tail.first().map_or(Ok(()), |first| {
            inner.ancestor(&restored.tail, Eye::term_before(&shape, first.index))
        });
        drop(inner);
        if let Err(why) = matching {
            let says = format!("n{node} came back with {why}");
            self.watch.journal.violation("Log Matching", says);
        }
        self.watch_from(restored.applied);
    }

    fn stepped(&self, input: &Input, effects: &Effects, replica: &Replica) {
        if self.process.is_dead() {
            return;
        }
        let view = replica.view();
        self.judge(&view, effects, replica);
        self.follow_snapshot(input, effects);
        if matches!(input, Input::Tick { .. }) && effects.persist.is_empty() {
            return;
        }
        self.process.passes(Point::Step);
    }

    fn applied(&self, applied: &[Applied], digests: &(Index, Vec<(u32, u128)>)) {
        if self.process.is_dead() {
            return;
        }
        for one in applied {
            self.compare(one);
            self.tell(one);
            self.watched(one);
        }
        let node = self.process.node;
        let mut inner = self.watch.inner();
        inner.last_digests.insert(node, digests.clone());
        let first = inner.digests.entry(digests.0).or_insert_with(|| digests.1.clone());
        if *first != digests.1 {
            let says = format!("n{node} has another state at {} than another node", digests.0);
            drop(inner);
            self.watch.journal.violation("replicas have one state", says);
        }
    }
}
