//! The model: every order of entries that the clients' commands can make.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use pgraft_host::{Command, Fault, Outcome, Transition, Turn};
use pgraft_replica::Index;
use stateright::{Model, Property};

use crate::machine::hosts::Told;
use crate::machine::subject::{Mutant, Subject, request};
use crate::machine::{AGREE, BATCHES, INVARIANT};

/// Between two entries, milliseconds of the log.
const STEP_MS: u64 = 10;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A client's next command.
    Next(usize),
    /// The next commands of two clients, in one entry.
    Both(usize, usize),
    /// A client's last command again: its first reply was lost on the way.
    Again(usize),
    /// The machine is woken at the time it wanted.
    Wake,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Wrong {
    Hosts(String),
    Invariant(String),
    Batch(String),
}

/// The machine after a log.
#[derive(Clone)]
pub struct State {
    machine: pgraft_host::State,
    /// Commands that each client has had applied.
    done: Vec<usize>,
    /// What came of each client's last one.
    last: Vec<Option<Outcome>>,
    turn: Turn,
    repeats: u8,
    woken: bool,
    wrong: Option<Wrong>,
    /// The first log that led here; no part of the state's identity, like what follows.
    log: Vec<Arc<Told>>,
    /// Entries that the host that crashed had to apply again.
    again: usize,
}

/// The model.
pub struct Orders {
    subject: Subject,
}

/// What an entry does to the machine as a function.
struct Step {
    after: Transition,
    commands: Vec<Command>,
    /// What is wrong with a batch.
    batch: Option<String>,
}

impl Orders {
    /// Every order of the subject's commands.
    pub fn new(subject: Subject) -> Orders {
        Orders { subject }
    }

    fn session(&self, client: usize) -> u64 {
        1 << 16 | client as u64
    }

    fn payload(&self, state: &State, client: usize) -> Option<&[u8]> {
        self.subject.clients[client].get(state.done[client]).map(Vec::as_slice)
    }

    fn command(&self, client: usize, seq: usize) -> Command {
        let payload = self.subject.clients[client][seq - 1].clone();
        Command::Machine {
            machine: self.subject.function.name().to_owned(),
            principal: "model".to_owned(),
            session: self.session(client),
            seq: seq as u64,
            acked_below: seq as u64,
            payload: payload.into(),
        }
    }

    /// The next command of each of `clients`, in one entry.
    fn next(&self, state: &State, turn: &Turn, clients: &[usize]) -> Result<Step, Fault> {
        let function = &self.subject.function;
        let payload = |client: &usize| self.payload(state, *client).unwrap_or_default();
        let requests: Vec<_> = clients
            .iter()
            .map(|client| {
                let seq = state.done[*client] as u64 + 1;
                request(payload(client), self.session(*client), seq)
            })
            .collect();
        let mut after = function.apply_all(&state.machine, turn, &requests)?;
        let mut alone = (state.machine.clone(), Vec::new());
        for one in requests.iter().filter(|_| requests.len() > 1) {
            let came = function.apply(&alone.0, turn, *one)?;
            alone.0 = came.state;
            alone.1.extend(came.outcomes);
        }
        if self.subject.mutant == Mutant::LostWrite && clients == [1] && state.done[1] == 0 {
            after.state = state.machine.clone();
        }
        if self.subject.mutant == Mutant::HalfBatch && clients.len() == 2 {
            after.state = function.apply(&state.machine, turn, requests[0])?.state;
        }
        let same = requests.len() < 2 || (&alone.0, &alone.1) == (&after.state, &after.outcomes);
        let batch = (!same).then(|| format!("alone {alone:?}, together {after:?}"));
        let commands =
            clients.iter().map(|client| self.command(*client, state.done[*client] + 1)).collect();
        Ok(Step { after, commands, batch })
    }

    fn step(&self, state: &State, turn: &Turn, action: &Action) -> Result<Step, Fault> {
        let function = &self.subject.function;
        match *action {
            Action::Next(client) => self.next(state, turn, &[client]),
            Action::Both(one, other) => self.next(state, turn, &[one, other]),
            Action::Again(client) => {
                let outcome = state.last[client].clone().expect("it has one to repeat");
                let commands = vec![self.command(client, state.done[client])];
                let (machine, events) = (state.machine.clone(), Vec::new());
                let after = Transition { state: machine, outcomes: vec![outcome], events };
                Ok(Step { after, commands, batch: None })
            }
            Action::Wake => {
                let after = function.wake(&state.machine, turn)?;
                let machine = function.name().to_owned();
                Ok(Step { after, commands: vec![Command::Wake { machine }], batch: None })
            }
        }
    }

    fn after(&self, last: &State, action: &Action) -> Result<State, Fault> {
        let index = last.turn.index.next();
        let wake_ms = last.machine.wake_ms().filter(|_| *action == Action::Wake);
        let time_ms = wake_ms.unwrap_or(0).max(last.turn.time_ms + STEP_MS);
        let entropy = index.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let turn = Turn { index, time_ms, entropy, ..last.turn };
        let Step { after, commands, batch } = self.step(last, &turn, action)?;
        let Transition { state: machine, outcomes, events } = after;
        let mut state = State { machine, turn, ..last.clone() };
        match *action {
            Action::Next(client) => state.answered(client, &outcomes[0]),
            Action::Both(one, other) => {
                state.answered(one, &outcomes[0]);
                state.answered(other, &outcomes[1]);
            }
            Action::Again(_) => state.repeats += 1,
            Action::Wake => state.woken = true,
        }
        let events = events.into_iter().map(|event| (event.topic, event.payload)).collect();
        state.log.push(Arc::new(Told { time_ms, entropy, commands, outcomes, events }));
        state.wrong = batch.map(Wrong::Batch);
        self.look(&mut state);
        Ok(state)
    }

    /// Looks at a state that was just reached.
    fn look(&self, state: &mut State) {
        if state.wrong.is_some() {
            return;
        }
        let Subject { hosts, mutant, .. } = &self.subject;
        let compared = hosts.as_ref().map_or(Ok(0), |hosts| {
            let log: Vec<Told> = state.log.iter().map(|told| Told::clone(told)).collect();
            hosts.compare(&log, state.machine.rows_digest(), *mutant)
        });
        state.again = compared.as_ref().copied().unwrap_or_default();
        if let Err(difference) = compared {
            state.wrong = Some(Wrong::Hosts(difference));
        } else if let Some(says) = self.subject.wrong(&state.machine, &state.turn) {
            state.wrong = Some(Wrong::Invariant(says));
        }
    }
}

impl State {
    fn answered(&mut self, client: usize, outcome: &Outcome) {
        self.done[client] += 1;
        self.last[client] = Some(outcome.clone());
    }
}

impl Model for Orders {
    type State = State;
    type Action = Action;

    /// The sessions are open.
    fn init_states(&self) -> Vec<State> {
        let clients = self.subject.clients.len();
        let (index, time_ms) = (Index(1), STEP_MS);
        let turn = Turn { index, term: 1, time_ms, entropy: 1 };
        let outcomes = (0..clients).map(|client| Ok(self.session(client).to_le_bytes().to_vec()));
        let opened = Told {
            time_ms,
            entropy: 1,
            commands: vec![Command::OpenSession; clients],
            outcomes: outcomes.collect(),
            events: Vec::new(),
        };
        let mut state = State {
            machine: self.subject.initial.clone(),
            done: vec![0; clients],
            last: vec![None; clients],
            turn,
            repeats: 0,
            woken: false,
            wrong: None,
            log: vec![Arc::new(opened)],
            again: 0,
        };
        self.look(&mut state);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.wrong.is_some() {
            return;
        }
        let clients = 0..self.subject.clients.len();
        let ready = |client: &usize| self.payload(state, *client).is_some();
        for one in clients.clone().filter(ready) {
            actions.push(Action::Next(one));
            let others = clients.clone().filter(|other| *other != one && ready(other));
            actions.extend(others.map(|other| Action::Both(one, other)));
        }
        if state.repeats < self.subject.repeats {
            let again = clients.filter(|client| state.last[*client].is_some());
            actions.extend(again.map(Action::Again));
        }
        if state.machine.wake_ms().is_some() {
            actions.push(Action::Wake);
        }
    }

    fn format_action(&self, action: &Action) -> String {
        match action {
            Action::Next(client) => format!("the next command of client {client}"),
            Action::Both(one, other) => {
                format!("the next commands of clients {one} and {other}, in one entry")
            }
            Action::Again(client) => format!("the last command of client {client} once more"),
            Action::Wake => "the wake-up".to_owned(),
        }
    }

    /// # Panics
    /// When the engine fails: no memory, or no instance left.
    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        Some(self.after(last, &action).expect("the engine runs on this machine"))
    }

    fn properties(&self) -> Vec<Property<Orders>> {
        let mut properties = vec![
            Property::always(AGREE, |_, state: &State| {
                !matches!(state.wrong, Some(Wrong::Hosts(_)))
            }),
            Property::always(INVARIANT, |_, state: &State| {
                !matches!(state.wrong, Some(Wrong::Invariant(_)))
            }),
            Property::always(BATCHES, |_, state: &State| {
                !matches!(state.wrong, Some(Wrong::Batch(_)))
            }),
            Property::sometimes("every client is done", |orders: &Orders, state: &State| {
                let lengths = orders.subject.clients.iter().map(Vec::len);
                state.done.iter().copied().eq(lengths)
            }),
        ];
        if self.subject.repeats > 0 {
            let repeated = |_: &Orders, state: &State| state.repeats > 0;
            properties.push(Property::sometimes("a repeated command is answered", repeated));
        }
        if self.subject.hosts.is_some() {
            let again = |_: &Orders, state: &State| state.again > 1;
            properties.push(Property::sometimes("a crash lost entries", again));
        }
        properties
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let State { machine, done, last, turn, repeats, woken, wrong, log: _, again: _ } = self;
        (machine, done, turn, repeats, woken, wrong).hash(hasher);
        for outcome in last.iter().flatten() {
            match outcome {
                Ok(reply) => (0, reply).hash(hasher),
                Err(rejection) => (rejection.code, rejection.message.as_bytes()).hash(hasher),
            }
        }
    }
}

impl PartialEq for State {
    fn eq(&self, other: &State) -> bool {
        let of = |state: &State| (state.turn, state.repeats, state.woken, state.wrong.clone());
        self.machine == other.machine
            && self.done == other.done
            && self.last == other.last
            && of(self) == of(other)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { machine, done, turn, wrong, log, .. } = self;
        writeln!(f, "entry {} at {} ms: {machine:?}, done {done:?}", turn.index, turn.time_ms)?;
        if let Some(told) = log.last() {
            writeln!(f, "last answers {:?}", told.outcomes)?;
        }
        match wrong {
            Some(wrong) => write!(f, "{wrong:?}"),
            None => Ok(()),
        }
    }
}
