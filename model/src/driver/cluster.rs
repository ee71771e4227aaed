//! The model of a cluster: nodes, the letters between them, and everything that may happen next.
//!
//! A state is a handful of numbered states of nodes; what an input makes of a node is looked up in
//! the table (`table.rs`).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};

use pgraft_replica::{Index, PeerState, View};
use stateright::{Model, Property};

use super::history::History;
use super::marks::Marks;
use super::node::Input;
use super::rules::{Rule, Violation};
use super::scope::Scope;
use super::table::{Cause, Letter, Local, Past, Table, Transition};

/// How much likelier a walk takes an action that drives the cluster forward.
const LIKELIER: usize = 6;

/// How often each thing that is counted happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Used {
    proposals: u8,
    repeats: u8,
    reads: u8,
    changes: u8,
    transfers: u8,
    crashes: u8,
    duplicates: u8,
    beats: u8,
    sleeps: u8,
    breaks: u8,
}

impl Used {
    /// The ticket of the next request.
    fn ticket(&self) -> u8 {
        1 + self.proposals + self.repeats + self.reads + self.changes + self.transfers
    }
}

/// What does not happen while a cluster comes to rest.
#[derive(Clone, Copy, Default)]
struct Quiet {
    /// This node applies nothing.
    lazy: Option<usize>,
    /// Nothing reaches this node.
    away: Option<usize>,
}

/// A state of the cluster.
#[derive(Clone)]
pub(super) struct State {
    pub(super) nodes: Vec<Arc<Local>>,
    /// Ascending by number. The same letter twice on the way is one.
    pub(super) letters: Vec<Arc<Letter>>,
    past: Arc<Past>,
    used: Used,
    marks: Marks,
    violation: Option<Arc<Violation>>,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.nodes.iter().for_each(|local| hasher.write_u32(local.id));
        hasher.write_u32(self.past.id);
        self.letters.iter().for_each(|letter| hasher.write_u32(letter.id));
        self.used.hash(hasher);
        self.violation.is_some().hash(hasher);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &State) -> bool {
        let nodes = self.nodes.iter().map(|local| local.id);
        let letters = self.letters.iter().map(|letter| letter.id);
        nodes.eq(other.nodes.iter().map(|local| local.id))
            && letters.eq(other.letters.iter().map(|letter| letter.id))
            && self.past.id == other.past.id
            && self.used == other.used
            && self.violation == other.violation
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for local in &self.nodes {
            write!(f, "n{}: ", local.number)?;
            match &local.view {
                None if local.stopped => writeln!(f, "broken")?,
                None => writeln!(f, "down, log {:?}", local.shape.terms)?,
                Some(view) => {
                    let View { role, term, committed, applied, last_index, .. } = view;
                    let terms = &local.shape.terms;
                    let voters: Vec<u64> = view.voters.iter().map(|id| id.get()).collect();
                    writeln!(
                        f,
                        "{role:?} term {term}, committed {committed}, applied {applied}, last \
                         {last_index}, writes {}, log {terms:?}, voters {voters:?}",
                        local.writes
                    )?;
                }
            }
        }
        write!(f, "on the way:")?;
        self.letters.iter().try_for_each(|letter| write!(f, " [{}]", letter.item))?;
        match &self.violation {
            Some(violation) => write!(f, "\nVIOLATED {:?}: {}", violation.rule, violation.what),
            None => Ok(()),
        }
    }
}

/// Something that may happen next.
#[derive(Clone, PartialEq)]
pub(super) struct Action {
    pub(super) node: usize,
    pub(super) cause: Cause,
    /// What arrives stays on the way.
    stays: bool,
}

impl Action {
    /// It brings the cluster forward and uses up no bound.
    fn drives(&self) -> bool {
        match self.cause {
            Cause::Arrival(_) => !self.stays,
            Cause::Input(input) => matches!(input, Input::Write | Input::Apply | Input::Start),
        }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let again = if self.stays { ", which stays on the way" } else { "" };
        write!(f, "n{} {:?}{again}", self.node + 1, self.cause)
    }
}

/// The model.
pub(super) struct Cluster {
    pub(super) scope: Scope,
    table: Mutex<Table>,
}

impl Cluster {
    pub(super) fn new(scope: Scope) -> Cluster {
        let table = Mutex::new(Table::new(scope.clone()));
        Cluster { scope, table }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("panics of replicas are caught")
    }

    fn beginning(&self) -> State {
        let mut table = self.table();
        let past = table.past(History::new(self.scope.machine()));
        let nodes = (1..=self.scope.servers).map(|number| table.beginning(number)).collect();
        drop(table);
        let (letters, used, marks) = (Vec::new(), Used::default(), Marks::default());
        let mut state = State { nodes, letters, past, used, marks, violation: None };
        for node in 0..state.nodes.len() {
            state = self.after(&state, node, Cause::Input(Input::Start));
        }
        if self.scope.led {
            state = self.lead(state);
            state.used = Used::default();
        }
        if self.scope.behind {
            state = self.leave_behind(state);
        }
        state.marks = Marks::default();
        state
    }

    fn after(&self, state: &State, node: usize, cause: Cause) -> State {
        let action = Action { node, cause, stays: false };
        let unbounded = usize::MAX;
        self.next(state, &action, unbounded).expect("it can happen in the beginning")
    }

    /// Node 1 campaigns and wins, and everybody learns what is committed.
    fn lead(&self, state: State) -> State {
        let mut state = self.after(&state, 0, Cause::Input(Input::Timeout));
        for round in 0..100 {
            state = self.quiet(state, &Quiet::default());
            let last = state.nodes[0].shape.last;
            let knows = |local: &Arc<Local>| {
                let voter = local.number <= self.scope.voters;
                local.view.as_ref().is_some_and(|view| view.applied == last) || !voter
            };
            if round > 0 && state.nodes.iter().all(knows) {
                break;
            }
            state = self.after(&state, 0, Cause::Input(Input::Beat));
        }
        state
    }

    /// Node 3 gets a change and does not apply it; then it is away while another change and all
    /// commands are committed.
    fn leave_behind(&self, mut state: State) -> State {
        let (mut used, lazy) = (Used::default(), Quiet { lazy: Some(2), away: None });
        for quiet in [lazy, Quiet { away: Some(2), ..lazy }] {
            let (ticket, change) = (used.ticket(), used.changes);
            let change = Input::Change { ticket, change };
            state = self.after(&state, 0, Cause::Input(change));
            state = self.quiet(state, &quiet);
            used.changes += 1;
        }
        while used.proposals < self.scope.proposals {
            let (ticket, command) = (used.ticket(), used.proposals);
            state = self.after(&state, 0, Cause::Input(Input::Propose { ticket, command }));
            state = self.quiet(state, &Quiet { lazy: None, away: Some(2) });
            used.proposals += 1;
        }
        state.used = used;
        state
    }

    /// Everything that is under way happens, except what `but` says.
    fn quiet(&self, mut state: State, but: &Quiet) -> State {
        loop {
            let nodes = &state.nodes;
            let unwritten = nodes.iter().position(|local| local.writes > 0);
            let waits = |(node, local): (usize, &Arc<Local>)| {
                local.applies > 0 && but.lazy != Some(node) && but.away != Some(node)
            };
            let unapplied = nodes.iter().enumerate().position(waits);
            state = if let Some(node) = unwritten {
                self.after(&state, node, Cause::Input(Input::Write))
            } else if let Some(node) = unapplied {
                self.after(&state, node, Cause::Input(Input::Apply))
            } else if let Some(letter) = state.letters.first().cloned() {
                let node = node_of(&letter);
                let action = Action { node, cause: Cause::Arrival(letter), stays: false };
                let arrived = match but.away == Some(node) {
                    true => None,
                    false => self.next(&state, &action, usize::MAX),
                };
                arrived.unwrap_or_else(|| {
                    state.letters.remove(0);
                    state
                })
            } else {
                return state;
            };
        }
    }

    fn next(&self, state: &State, action: &Action, room: usize) -> Option<State> {
        let Action { node, cause, stays } = action;
        let mut table = self.table();
        let transition = table.transition(&state.nodes[*node], cause);
        let mut next = state.clone();
        if transition.out.impossible || transition.idle {
            let Cause::Arrival(letter) = cause else { return None };
            next.letters.retain(|other| other.id != letter.id);
            return self.scope.walks.then_some(next);
        }
        next.nodes[*node] = transition.to.clone();
        if let (Cause::Arrival(letter), false) = (cause, stays) {
            next.letters.retain(|other| other.id != letter.id);
        }
        count(&mut next.used, cause, *stays);
        let out = &transition.out;
        next.marks.set(out.marks);
        let has = next.marks.has(Marks::HANDED_OVER);
        next.marks.set_if(out.elected && has, Marks::TRANSFERRED);
        next.violation = self.check(&mut table, &mut next, *node, &transition).err();
        let term = transition.to.durable_term;
        if term != state.nodes[*node].durable_term {
            next.letters.retain(|letter| node_of(letter) != *node || !letter.item.is_over(term));
        }
        for letter in &transition.letters {
            post(&mut table, &mut next, letter, room);
        }
        Some(next)
    }

    /// What must hold after a step of `node`; leads `next` to its past.
    fn check(
        &self,
        table: &mut Table,
        next: &mut State,
        node: usize,
        transition: &Transition,
    ) -> Result<(), Arc<Violation>> {
        let out = &transition.out;
        if let Some(violation) = &out.violation {
            return Err(Arc::new(violation.clone()));
        }
        let before = next.past.history.last();
        next.past = table.past_after(&next.past, transition)?;
        let grown = next.past.history.last() > before;
        if grown || out.elected {
            for local in &next.nodes {
                if let Some(view) = local.view.as_ref().filter(|view| view.is_leader()) {
                    let checked = next.past.history.is_complete(view, &local.shape);
                    checked.map_err(Arc::new)?;
                }
            }
        }
        let own = &next.nodes[node];
        for other in next.nodes.iter().filter(|other| other.number != own.number) {
            table.logs_match(own, other)?;
        }
        if self.scope.changes.is_empty() {
            return Ok(());
        }
        table.elections_meet(&next.nodes)
    }

    // What may happen.

    fn of_leader(&self, state: &State, node: usize, view: &View, out: &mut Vec<Action>) {
        let (scope, used) = (&self.scope, &state.used);
        let ticket = used.ticket();
        let mut may = |input| out.push(Action { node, cause: Cause::Input(input), stays: false });
        if used.proposals < scope.proposals {
            may(Input::Propose { ticket, command: used.proposals });
        }
        if used.repeats < scope.repeats {
            (0..used.proposals).for_each(|command| may(Input::Propose { ticket, command }));
        }
        if used.reads < scope.reads {
            may(Input::Read { ticket });
        }
        if usize::from(used.changes) < scope.changes.len() {
            may(Input::Change { ticket, change: used.changes });
        }
        if used.transfers < scope.transfers {
            let others = view.voters.iter().filter(|other| **other != view.id);
            others.for_each(|to| may(Input::Transfer { ticket, to: byte(to.get()) }));
        }
        if used.beats < scope.beats {
            may(Input::Beat);
        }
        if used.breaks < scope.breaks {
            let streams = view.peers.iter().filter(|peer| peer.state == PeerState::Replicate);
            streams.for_each(|peer| may(Input::Unreachable { peer: byte(peer.id.get()) }));
        }
        let local = &state.nodes[node];
        local.sending.iter().for_each(|to| may(Input::SnapshotFailed { to: *to }));
    }

    fn of_any(&self, state: &State, node: usize, view: &View, out: &mut Vec<Action>) {
        let (scope, used, local) = (&self.scope, &state.used, &state.nodes[node]);
        let mut may = |input| out.push(Action { node, cause: Cause::Input(input), stays: false });
        if !view.is_leader() {
            if view.term.0 < scope.term_max {
                may(Input::Timeout);
            }
            if scope.doubts && view.leader.is_some() && local.elapsed == 0 {
                may(Input::Doubt);
            }
        }
        if used.sleeps < scope.sleeps && view.is_leader() {
            may(Input::Sleep);
        }
        if local.writes > 0 {
            may(Input::Write);
        }
        if local.applies > 0 {
            may(Input::Apply);
        }
        if scope.checkpoints && local.unsafe_state && view.applied > Index::ZERO {
            may(Input::Checkpoint);
        }
        if used.crashes < scope.crashes {
            for writes in 0..=local.writes {
                may(Input::Crash { writes, state: true });
                if scope.checkpoints && local.unsafe_state {
                    may(Input::Crash { writes, state: false });
                }
            }
        }
    }
}

fn byte(number: u64) -> u8 {
    u8::try_from(number).expect("nodes of a model are few")
}

fn node_of(letter: &Letter) -> usize {
    usize::from(byte(letter.item.to().get())) - 1
}

fn count(used: &mut Used, cause: &Cause, stays: bool) {
    used.duplicates += u8::from(stays);
    let Cause::Input(input) = cause else { return };
    match input {
        Input::Propose { command, .. } if *command == used.proposals => used.proposals += 1,
        Input::Propose { .. } => used.repeats += 1,
        Input::Read { .. } => used.reads += 1,
        Input::Change { .. } => used.changes += 1,
        Input::Transfer { .. } => used.transfers += 1,
        Input::Crash { .. } => used.crashes += 1,
        Input::Beat => used.beats += 1,
        Input::Sleep => used.sleeps += 1,
        Input::Unreachable { .. } => used.breaks += 1,
        _ => {}
    }
}

/// Puts a letter on its way, if there is room or something that would change nothing.
fn post(table: &mut Table, next: &mut State, letter: &Arc<Letter>, room: usize) {
    let to = node_of(letter);
    let Some(local) = next.nodes.get(to) else { return };
    if local.stopped || letter.item.is_over(local.durable_term) {
        return;
    }
    let Err(place) = next.letters.binary_search_by_key(&letter.id, |other| other.id) else {
        return;
    };
    next.letters.insert(place, letter.clone());
    if next.letters.len() <= room {
        return;
    }
    let useless = next.letters.iter().position(|other| {
        let local = next.nodes[node_of(other)].clone();
        other.id != letter.id
            && local.view.is_some()
            && table.transition(&local, &Cause::Arrival(other.clone())).idle
    });
    next.letters.remove(useless.unwrap_or(place));
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.beginning()]
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        if state.violation.is_some() {
            return;
        }
        for (node, local) in state.nodes.iter().enumerate() {
            match &local.view {
                _ if local.stopped => {}
                None => {
                    let cause = Cause::Input(Input::Start);
                    out.push(Action { node, cause, stays: false });
                }
                Some(view) => {
                    if view.is_leader() {
                        self.of_leader(state, node, view, out);
                    }
                    self.of_any(state, node, view, out);
                }
            }
        }
        for letter in &state.letters {
            let node = node_of(letter);
            let local = &state.nodes[node];
            if local.view.is_some() && !local.stopped {
                let cause = Cause::Arrival(letter.clone());
                out.push(Action { node, cause: cause.clone(), stays: false });
                if state.used.duplicates < self.scope.duplicates {
                    out.push(Action { node, cause, stays: true });
                }
            }
        }
        if self.scope.walks {
            let forward = |action: &&Action| action.drives();
            let again: Vec<Action> = out.iter().filter(forward).cloned().collect();
            (1..LIKELIER).for_each(|_| out.extend(again.iter().cloned()));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        self.next(last, &action, self.scope.letters)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = always();
        properties.push(Property::sometimes("a leader is elected", |_, state: &State| {
            state.past.history.has_leader()
        }));
        for must in self.scope.must {
            properties.push(sometimes(*must));
        }
        properties
    }
}

fn holds(state: &State, rule: Rule) -> bool {
    state.violation.as_ref().is_none_or(|violation| violation.rule != rule)
}

fn always() -> Vec<Property<Cluster>> {
    macro_rules! rules {
        ($($rule:ident)*) => {
            vec![$(Property::always(Rule::$rule.name(), |_, state: &State| {
                holds(state, Rule::$rule)
            })),*]
        };
    }
    rules!(ElectionSafety LeaderAppendOnly LogMatching LeaderCompleteness StateMachineSafety
        LinearizableReads ExactlyOnce MembershipSafety StartsAgain Consistent)
}

fn sometimes(mark: Marks) -> Property<Cluster> {
    macro_rules! marks {
        ($($mark:ident $name:literal)*) => {
            $(if mark == Marks::$mark {
                return Property::sometimes($name, |_, state: &State| {
                    state.marks.has(Marks::$mark)
                });
            })*
        };
    }
    marks!(
        ENTRY_COMMITTED "an entry of a client is committed"
        RESTARTED "a node starts again"
        LEADER_CRASHED "a leader crashes with an entry in flight"
        JOINT_ENTERED "a joint configuration is entered"
        JOINT_CRASHED "a node crashes in a joint configuration"
        JOINT_LEFT "a joint configuration is left"
        WRITE_KEPT "a crash keeps a write that was not confirmed"
        WRITE_LOST "a crash takes a write that was not confirmed"
        STATE_LOST "a crash takes state.db back to its checkpoint"
        SNAPSHOT_INSTALLED "a snapshot is installed"
        READ_SERVED "a read is served"
        READ_REFUSED "a read finds no quorum in time"
        HANDED_OVER "a follower campaigns because its leader asks for it"
        TRANSFERRED "leadership is transferred"
        REPEAT_IGNORED "a repeated command has no second effect"
        CONF_CHANGED "a configuration change is applied"
        OVERWRITTEN "an entry takes the place of another that waits"
        FETCHED "old entries are read back from disk"
        TRUNCATED "a log is truncated"
        REJECTED "a request is rejected"
        STOPPED "a removed node stops"
    );
    unreachable!("every mark has a name")
}
