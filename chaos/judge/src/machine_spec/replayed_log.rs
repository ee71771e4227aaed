//! A whole committed log, run again by the machines' own modules from genesis on: what each command
//! must have come to, and each machine's state after each entry.
//!
//! How an entry is taken apart (sessions, repetitions, wake-ups, effects) is written down a second
//! time here, after docs/ARCHITECTURE.md and not with the host's code. One thing a history does not
//! say: which effect a configuration change carries out. The machine that asked for it is carried
//! on in every way that is possible, until what it says shows which it was. What changes the
//! machines themselves is in `changes`, commands between machines are in `performed`.

mod changes;
mod performed;
mod plan;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use pgraft_host::{
    Fault, HostCode, Machines, Outcome, Rejection, Request, Specification, State, Transition, Turn,
};
use pgraft_replica::Index;
use pgraft_replica::body::Body;

use super::difference::Difference;
use super::reply;
use super::sessions::{Known, Sessions};
use crate::history::{Committed, Digest, Emitted, Reply};
use changes::Runs;

/// The kind of effect that a configuration change carries out.
const CONF_CHANGE: &str = "conf-change";
/// So many ways in which a machine may have come along are carried on.
const WAYS_MAX: usize = 64;

/// What a machine begins with.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The machine, under its number in the cluster.
    pub module: Specification,
    /// The number.
    pub number: u32,
    /// Its first configuration, as genesis has it.
    pub config: Vec<u8>,
    /// What identifies the module.
    pub sha256: [u8; 32],
}

/// What a replay came across; a run that never met what it is about shows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Entries.
    pub entries: u64,
    /// Commands for machines.
    pub commands: u64,
    /// Commands that a session answered: repeated, or refused.
    pub answered: u64,
    /// Sessions opened.
    pub sessions: u64,
    /// Wake-ups, too early ones included.
    pub wakes: u64,
    /// Outcomes that were compared.
    pub outcomes: u64,
    /// Digests of machines that were compared.
    pub digests: u64,
    /// Configuration changes.
    pub changes: u64,
    /// Machines that came to run another module.
    pub switches: u64,
    /// Steps of migrations that were to be followed by others.
    pub steps: u64,
    /// Migrations that failed after their first step, or were called off.
    pub given_up: u64,
    /// Commands that were refused because their machine was between two schemas.
    pub kept_out: u64,
    /// States of which a machine said that its invariant holds, or not.
    pub invariants: u64,
}

/// A machine's invariant did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Whose.
    pub machine: String,
    /// After which entry; 0: from the beginning.
    pub index: u64,
    /// What is wrong, by the machine.
    pub says: String,
}

/// One way in which a machine may have come along.
#[derive(Clone)]
struct Way {
    state: State,
    /// What it published in the present entry.
    events: Vec<Emitted>,
}

pub(super) struct Machine {
    /// What runs.
    module: Specification,
    runs: Runs,
    /// What ran after the entries that changed it.
    shapes: Vec<(u64, Shape)>,
    ways: Vec<Way>,
    /// There were too many ways: nothing is known of it any more.
    lost: bool,
    /// The state after the entries that may have changed it; none where several are possible.
    pub(super) states: Vec<(u64, Option<State>)>,
    /// What a machine that calls itself keyed was given, to be given again key by key.
    pub(super) inputs: Vec<Input>,
}

/// What a machine was after an entry, besides its state.
#[derive(Clone)]
struct Shape {
    module: Specification,
    migrating: bool,
    /// A digest of its tables is one of its rows alone.
    is_bare: bool,
}

/// What a machine was given by one entry.
pub(super) struct Input {
    pub(super) turn: Turn,
    pub(super) what: What,
}

/// See [`Input`].
pub(super) enum What {
    /// Commands, and what they came to.
    Commands(Vec<(Given, Reply)>),
    Wake,
    /// The outcome of an effect.
    Done,
}

/// A log that was run again.
pub struct ReplayedLog {
    machines: BTreeMap<String, Machine>,
    names: BTreeMap<u32, String>,
    /// Modules that machines may come to run.
    library: Option<Arc<Machines>>,
    sessions: Sessions,
    turns: Vec<Turn>,
    outcomes: Vec<Vec<Reply>>,
    /// What was met.
    pub seen: Seen,
    /// The first place at which an invariant did not hold.
    pub broken: Option<Broken>,
}

/// Commands of one machine that are run together, or something told to it.
enum Step {
    Apply {
        machine: String,
        given: Vec<Given>,
    },
    Wake {
        machine: String,
        position: usize,
    },
    Done {
        machine: String,
        id: u64,
        outcome: Outcome,
        position: usize,
    },
    Perform {
        machine: String,
        id: u64,
        position: usize,
    },
    /// Nothing that comes after is planned before this is done.
    Change(Given),
}

#[derive(Clone)]
pub(super) struct Given {
    position: usize,
    principal: String,
    session: u64,
    seq: u64,
    pub(super) payload: Bytes,
}

/// An entry on its way.
struct Entry<'a> {
    committed: &'a Committed,
    turn: Turn,
    steps: Vec<Step>,
    outcomes: Vec<Option<Outcome>>,
    repeats: Vec<(usize, usize)>,
    /// First position of each command of a session since the last change of the machines.
    first: BTreeMap<(u64, u64), usize>,
    /// The step that takes further commands of a machine.
    taking: BTreeMap<String, usize>,
}

impl ReplayedLog {
    /// Machines as genesis makes them. `time_ms` is the time before the first entry.
    ///
    /// # Errors
    /// When a machine refuses its configuration.
    pub fn new(origins: &[Origin], time_ms: u64) -> Result<ReplayedLog, Difference> {
        let (mut machines, mut names) = (BTreeMap::new(), BTreeMap::new());
        for Origin { module, number, config, sha256 } in origins {
            let module = module.clone().numbered(*number);
            let state = module.initial(config, time_ms)?;
            let name = module.name().to_owned();
            names.insert(*number, name.clone());
            let runs = Runs::of_genesis(*sha256, &module);
            let way = Way { state, events: Vec::new() };
            machines.insert(name, Machine::new(module, runs, way, 0));
        }
        let turns = vec![Turn { index: Index::ZERO, term: 0, time_ms, entropy: 0 }];
        let (sessions, outcomes, seen) = (Sessions::default(), vec![Vec::new()], Seen::default());
        let (library, broken) = (None, None);
        let mut log =
            ReplayedLog { machines, names, library, sessions, turns, outcomes, seen, broken };
        log.hold()?;
        Ok(log)
    }

    /// With the modules that machines may come to run later.
    #[must_use]
    pub fn with_library(self, library: Arc<Machines>) -> ReplayedLog {
        ReplayedLog { library: Some(library), ..self }
    }

    /// Whether a machine ever ran another module than at its beginning, or was on the way to one.
    pub fn has_changed(&self, machine: &str) -> bool {
        self.machines.get(machine).is_none_or(|machine| machine.shapes.len() > 1)
    }

    /// Runs a whole log; the first difference ends it.
    ///
    /// # Errors
    /// When what the cluster said is not what the modules say.
    pub fn run<'a>(
        origins: &[Origin],
        time_ms: u64,
        log: impl IntoIterator<Item = &'a Committed>,
    ) -> Result<ReplayedLog, Difference> {
        let mut replayed = ReplayedLog::new(origins, time_ms)?;
        log.into_iter().try_for_each(|committed| replayed.add(committed))?;
        Ok(replayed)
    }

    /// Runs the next entry.
    ///
    /// # Errors
    /// As [`ReplayedLog::run`]; nothing can be added then.
    pub fn add(&mut self, committed: &Committed) -> Result<(), Difference> {
        let before = *self.turns.last().expect("genesis at least");
        let (index, after) = (committed.index, before.index.0);
        if index != after + 1 {
            return Err(Difference::Gap { after, found: index });
        }
        let turn = Turn { index: Index(index), term: committed.term, entropy: 0, ..before };
        self.seen.entries += 1;
        let outcomes = if committed.body.is_empty() {
            self.turns.push(turn);
            self.change(committed, &turn)?
        } else {
            let body = Body::decode(Bytes::copy_from_slice(&committed.body))
                .map_err(|error| Difference::Body { index, why: error.to_string() })?;
            let time_ms = before.time_ms.max(body.time_ms);
            let turn = Turn { time_ms, entropy: body.entropy, ..turn };
            self.turns.push(turn);
            self.apply(committed, &turn, &body)?
        };
        let expected = self.turns.last().expect("pushed a moment ago").time_ms;
        if committed.time_ms != expected {
            return Err(Difference::Time { index, expected, found: committed.time_ms });
        }
        self.outcomes.push(outcomes);
        self.end(committed)
    }

    /// The outcome of a command, recorded or not; `None` when there is no such command.
    pub fn outcome(&self, index: u64, position: usize) -> Option<&Reply> {
        self.outcomes.get(usize::try_from(index).ok()?)?.get(position)
    }

    /// What the log fixes about an entry; index 0 is genesis.
    pub fn turn(&self, index: u64) -> Option<&Turn> {
        self.turns.get(usize::try_from(index).ok()?)
    }

    /// The last entry.
    pub fn last(&self) -> u64 {
        self.turns.last().map_or(0, |turn| turn.index.0)
    }

    /// A machine's state after an entry; `None` when there is no such machine or entry, or several
    /// states are possible.
    pub fn state(&self, machine: &str, index: u64) -> Option<&State> {
        if index > self.last() {
            return None;
        }
        let states = &self.machines.get(machine)?.states;
        let place = states.partition_point(|(at, _)| *at <= index);
        states[place.checked_sub(1)?].1.as_ref()
    }

    /// What a machine answers to a query after an entry; `None` as [`ReplayedLog::state`].
    ///
    /// # Errors
    /// [`Difference::Engine`].
    pub fn query(
        &self,
        machine: &str,
        index: u64,
        request: &[u8],
    ) -> Result<Option<Reply>, Difference> {
        let (Some(state), Some(turn)) = (self.state(machine, index), self.turn(index)) else {
            return Ok(None);
        };
        let shape = self.machines[machine].shape(index);
        if shape.migrating {
            return Ok(Some(reply(&Err(Rejection::host(HostCode::Migrating)))));
        }
        let outcome = shape.module.query(state, turn, request)?;
        Ok(Some(reply(&outcome)))
    }

    /// An entry without a body: a new leader's, or a configuration change with one outcome.
    fn change(&mut self, committed: &Committed, turn: &Turn) -> Result<Vec<Reply>, Difference> {
        let Some(told) = committed.outcomes.first() else { return Ok(Vec::new()) };
        self.seen.changes += 1;
        let outcome = outcome(told);
        for machine in self.machines.values_mut() {
            machine.fork(turn, &outcome)?;
        }
        Ok(committed.outcomes.clone())
    }

    fn apply(
        &mut self,
        committed: &Committed,
        turn: &Turn,
        body: &Body,
    ) -> Result<Vec<Reply>, Difference> {
        let count = body.commands.len();
        let recorded = committed.outcomes.len();
        // An entry whose outcomes died with all who knew them is told without.
        if recorded != 0 && recorded != count {
            let index = committed.index;
            return Err(Difference::Count { index, expected: count, found: recorded });
        }
        self.sessions.pass(turn.time_ms);
        let mut entry = Entry::new(committed, *turn, count);
        let mut next = 0;
        while next < count {
            next = self.plan(&mut entry, body, next)?;
            for step in std::mem::take(&mut entry.steps) {
                self.step(&mut entry, step)?;
            }
            entry.end_segment();
        }
        let mut replies = Vec::with_capacity(count);
        for (position, outcome) in entry.outcomes.iter().enumerate() {
            let outcome = outcome.as_ref().expect("each command has a step or an outcome");
            replies.push(reply(outcome));
            if recorded != 0 {
                self.seen.outcomes += 1;
                entry.agrees(position, outcome)?;
            }
        }
        Ok(replies)
    }

    fn step(&mut self, entry: &mut Entry<'_>, step: Step) -> Result<(), Difference> {
        let turn = entry.turn;
        match step {
            Step::Apply { machine, given } => {
                let requests: Vec<Request<'_>> = given.iter().map(request).collect();
                let positions: Vec<usize> = given.iter().map(|given| given.position).collect();
                if self.is_throttled(entry, &machine, &positions) {
                    let outcome: Outcome = Err(Rejection::host(HostCode::Throttled));
                    for given in given {
                        entry.outcomes[given.position] = Some(outcome.clone());
                        if given.session != 0 {
                            self.sessions.note(given.session, given.seq, &outcome);
                        }
                    }
                    return Ok(());
                }
                self.advance(entry, &machine, &positions, |module, state| {
                    module.apply_all(state, &turn, &requests)
                })?;
                let mut told = Vec::with_capacity(given.len());
                for given in given {
                    let outcome = entry.outcomes[given.position].as_ref().expect("applied");
                    if given.session != 0 {
                        self.sessions.note(given.session, given.seq, outcome);
                    }
                    told.push((given, reply(outcome)));
                }
                self.note(&machine, turn, || What::Commands(told));
                Ok(())
            }
            Step::Wake { machine, position } if self.machines[&machine].runs.is_migrating() => {
                entry.outcomes[position] = Some(Ok(Vec::new()));
                Ok(())
            }
            Step::Wake { machine, position } => {
                let wake = |module: &Specification, state: &State| module.wake(state, &turn);
                self.note(&machine, turn, || What::Wake);
                // Whether a machine has used up its share is not counted here: it sleeps on then.
                let asleep = match &self.machines[&machine] {
                    one if one.runs.has_share() => one.ways.clone(),
                    _ => Vec::new(),
                };
                self.advance(entry, &machine, &[position], wake)?;
                self.machines.get_mut(&machine).expect("looked up before").ways.extend(asleep);
                Ok(())
            }
            Step::Done { machine, id, outcome, position } => {
                self.note(&machine, turn, || What::Done);
                self.advance(entry, &machine, &[position], |module, state| {
                    module.effect_done(state, &turn, id, outcome.clone())
                })
            }
            Step::Perform { machine, id, position } => self.perform(entry, &machine, id, position),
            Step::Change(given) => {
                let outcome = self.change_machines(entry, &given)?;
                if given.session != 0 {
                    self.sessions.note(given.session, given.seq, &outcome);
                }
                entry.outcomes[given.position] = Some(outcome);
                Ok(())
            }
        }
    }

    /// Whether a machine had used up its share: the replay does not count fuel, and takes it as it
    /// is told where it can be.
    fn is_throttled(&self, entry: &Entry<'_>, machine: &str, positions: &[usize]) -> bool {
        let throttled = |position: &usize| {
            let told = entry.told(*position);
            told.is_some_and(|told| is_rejection(&told, HostCode::Throttled))
        };
        self.machines[machine].runs.has_share() && positions.iter().all(throttled)
    }

    /// Remembers what a keyed machine is given.
    fn note(&mut self, name: &str, turn: Turn, what: impl FnOnce() -> What) {
        let machine = self.machines.get_mut(name).expect("it was looked up before");
        if machine.module.manifest().keyed {
            machine.inputs.push(Input { turn, what: what() });
        }
    }

    /// Asks every machine for its invariant, until one does not hold.
    fn hold(&mut self) -> Result<(), Difference> {
        let turn = *self.turns.last().expect("genesis at least");
        for (name, machine) in &self.machines {
            let certain = machine.states.last().and_then(|(_, state)| state.as_ref());
            let asks = machine.module.verifies() && !machine.runs.is_migrating();
            let Some(state) = certain.filter(|_| asks) else { continue };
            if self.broken.is_some() {
                return Ok(());
            }
            self.seen.invariants += 1;
            if let Err(says) = machine.module.invariant(state, &turn)? {
                let (machine, index) = (name.clone(), turn.index.0);
                self.broken = Some(Broken { machine, index, says });
            }
        }
        Ok(())
    }

    pub(super) fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines.get(name)
    }

    /// Carries a machine on in all ways that the recorded outcomes leave open.
    fn advance(
        &mut self,
        entry: &mut Entry<'_>,
        name: &str,
        positions: &[usize],
        make: impl Fn(&Specification, &State) -> Result<Transition, Fault>,
    ) -> Result<(), Difference> {
        let machine = self.machines.get_mut(name).expect("it was looked up before");
        let recorded = &entry.committed.outcomes;
        if machine.lost {
            for position in positions {
                let found = recorded.get(*position).map(outcome);
                entry.outcomes[*position] = Some(found.unwrap_or_else(|| Ok(Vec::new())));
            }
            return Ok(());
        }
        let (mut ways, mut difference) = (Vec::new(), None);
        for way in &machine.ways {
            let Transition { state, outcomes, events } = make(&machine.module, &way.state)?;
            let mut agreed = Ok(());
            if !recorded.is_empty() {
                let mut pairs = positions.iter().zip(&outcomes);
                agreed = pairs.try_for_each(|(position, outcome)| entry.agrees(*position, outcome));
            }
            if let Err(other) = agreed {
                difference.get_or_insert(other);
                continue;
            }
            if ways.is_empty() {
                for (position, outcome) in positions.iter().zip(outcomes) {
                    entry.outcomes[*position] = Some(outcome);
                }
            }
            let mut published = way.events.clone();
            published.extend(events.into_iter().map(emitted));
            ways.push(Way { state, events: published });
        }
        match difference {
            Some(difference) if ways.is_empty() => Err(difference),
            _ => {
                machine.ways = ways;
                Ok(())
            }
        }
    }

    /// Compares what a replica's tables came to with the rows. The rows of the host are its own.
    ///
    /// # Errors
    /// [`Difference::Digest`].
    pub fn compare_replica(&mut self, told: &Digest) -> Result<(), Difference> {
        let (Ok(number), Ok(found)) =
            (told.machine.parse::<u32>(), u128::from_str_radix(&told.digest, 16))
        else {
            return Ok(());
        };
        if told.index > self.last() {
            return Ok(());
        }
        self.compare(told.index, told.index, &[(number, found)])
    }

    /// Compares a leader's digests with the rows.
    fn compare(&mut self, index: u64, of: u64, digests: &[(u32, u128)]) -> Result<(), Difference> {
        for (number, found) in digests {
            let Some(machine) = self.names.get(number) else { continue };
            let Some(state) = self.state(machine, of) else { continue };
            if !self.machines[machine].shape(of).is_bare {
                continue;
            }
            let expected = state.rows_digest();
            if expected != *found {
                let (machine, found) = (machine.clone(), *found);
                return Err(Difference::Digest { index, of, machine, expected, found });
            }
            self.seen.digests += 1;
        }
        Ok(())
    }

    /// The entry ends: what was published decides between the ways that are left.
    fn end(&mut self, committed: &Committed) -> Result<(), Difference> {
        // An entry whose outcomes nobody knows is told without its events, too.
        let told = !committed.outcomes.is_empty();
        for (name, machine) in &mut self.machines {
            let found: Vec<&Emitted> =
                committed.events.iter().filter(|event| event.machine == *name).collect();
            let silent = machine.ways.iter().all(|way| way.events.is_empty());
            if told && !machine.lost && !(silent && found.is_empty()) {
                let first = machine.ways.first().map(|way| shown(way.events.iter()));
                machine.ways.retain(|way| way.events.iter().eq(found.iter().copied()));
                if machine.ways.is_empty() {
                    return Err(Difference::Events {
                        index: committed.index,
                        machine: name.clone(),
                        expected: first.unwrap_or_default(),
                        found: shown(found.into_iter()),
                    });
                }
            }
            machine.settle(committed.index);
        }
        self.hold()
    }
}

impl Machine {
    fn new(module: Specification, runs: Runs, way: Way, index: u64) -> Machine {
        let states = vec![(index, Some(way.state.clone()))];
        let shape = runs.shape(&module);
        Machine {
            module,
            runs,
            shapes: vec![(index, shape)],
            ways: vec![way],
            lost: false,
            states,
            inputs: Vec::new(),
        }
    }

    /// What it was after an entry that it has a state of.
    fn shape(&self, index: u64) -> &Shape {
        let place = self.shapes.partition_point(|(at, _)| *at <= index);
        &self.shapes[place.saturating_sub(1)].1
    }

    /// The only state that it can have.
    fn certain(&self) -> Option<&State> {
        match &self.ways[..] {
            [only] if !self.lost => Some(&only.state),
            _ => None,
        }
    }

    /// A configuration change may carry out any effect that waits, or none.
    fn fork(&mut self, turn: &Turn, outcome: &Outcome) -> Result<(), Difference> {
        let mut more = Vec::new();
        for way in &self.ways {
            let waiting = self.module.effects(&way.state);
            for effect in waiting.iter().filter(|effect| effect.kind == CONF_CHANGE) {
                let done = self.module.effect_done(&way.state, turn, effect.id, outcome.clone())?;
                let mut events = way.events.clone();
                events.extend(done.events.into_iter().map(emitted));
                more.push(Way { state: done.state, events });
            }
        }
        self.ways.extend(more);
        Ok(())
    }

    /// Forgets ways that lead to the same state, and remembers the state if it is certain.
    fn settle(&mut self, index: u64) {
        let mut ways: Vec<Way> = Vec::new();
        for way in self.ways.drain(..) {
            if ways.iter().all(|other| other.state != way.state) {
                ways.push(Way { state: way.state, events: Vec::new() });
            }
        }
        self.lost |= ways.len() > WAYS_MAX;
        if self.lost {
            ways.truncate(1);
        }
        self.ways = ways;
        let certain = self.certain().cloned();
        if self.states.last().is_none_or(|(_, last)| *last != certain) {
            self.states.push((index, certain));
        }
    }
}

impl<'a> Entry<'a> {
    fn new(committed: &'a Committed, turn: Turn, commands: usize) -> Entry<'a> {
        Entry {
            committed,
            turn,
            steps: Vec::new(),
            outcomes: vec![None; commands],
            repeats: Vec::new(),
            first: BTreeMap::new(),
            taking: BTreeMap::new(),
        }
    }

    /// All that was planned is done.
    fn end_segment(&mut self) {
        for (repeat, first) in std::mem::take(&mut self.repeats) {
            self.outcomes[repeat] = self.outcomes[first].clone();
        }
        self.first.clear();
        self.taking.clear();
    }

    /// What the cluster said, if anybody knows.
    fn told(&self, position: usize) -> Option<Outcome> {
        self.committed.outcomes.get(position).map(outcome)
    }

    fn agrees(&self, position: usize, outcome: &Outcome) -> Result<(), Difference> {
        let (expected, found) = (reply(outcome), &self.committed.outcomes[position]);
        if expected == *found {
            return Ok(());
        }
        Err(Difference::Outcome {
            index: self.committed.index,
            position,
            expected: format!("{expected:?}"),
            found: format!("{found:?}"),
        })
    }
}

impl fmt::Debug for ReplayedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplayedLog({:?})", self.seen)
    }
}

pub(super) fn request(given: &Given) -> Request<'_> {
    let Given { principal, session, seq, payload, .. } = given;
    Request { principal, session: *session, seq: *seq, payload }
}

fn is_rejection(outcome: &Outcome, code: HostCode) -> bool {
    outcome.as_ref().is_err_and(|rejection| rejection.host_code() == Some(code))
}

fn outcome(reply: &Reply) -> Outcome {
    match reply {
        Reply::Accepted(bytes) => Ok(bytes.clone()),
        Reply::Rejected { code, message } => {
            Err(Rejection { code: *code, message: message.clone() })
        }
    }
}

fn emitted(event: pgraft_host::Event) -> Emitted {
    let pgraft_host::Event { machine, topic, payload, .. } = event;
    Emitted { machine, key: topic, payload }
}

fn shown<'a>(events: impl Iterator<Item = &'a Emitted>) -> String {
    let shown: Vec<String> = events.map(|event| format!("{:?}", event.key)).collect();
    format!("events of {} keys: {}", shown.len(), shown.join(" "))
}
