//! A log of drawn commands, written by the module as a function: what every other way to run the
//! machine must read the same. Not here: those ways.

use pgraft_chaos::seed::{Chance, Seed};
use pgraft_chaos::workload::{Custom, Operation, Workload};
use pgraft_host::{Command, Fault, Outcome, Request, State, Turn};
use pgraft_judge::history::Call;
use pgraft_judge::machine_spec::reply;
use pgraft_model::machine::hosts::Told;
use pgraft_replica::Index;

use crate::candidate::Candidate;
use crate::operations::Operations;
use crate::outcomes::Outcomes;
use crate::tally::Part;

/// Commands of one entry.
const BATCH_MAX: u64 = 8;
/// Queries after one entry.
const QUERIES_MAX: usize = 100;
/// Between two entries, milliseconds of the log.
const STEP_MS_MAX: u64 = 60_000;
/// Who asks.
pub const PRINCIPAL: &str = "tester";

/// What an entry brings.
#[derive(Clone, Debug)]
pub enum What {
    /// Commands, with words for people.
    Commands(Vec<Operation>),
    /// The wake-up that the machine wanted.
    Wake,
}

/// An entry, and what it does to the machine as a function.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What the log fixes.
    pub turn: Turn,
    /// What it brings.
    pub what: What,
    /// What that comes to: one per command, one for a wake-up.
    pub outcomes: Vec<Outcome>,
    /// Topics and payloads.
    pub events: Vec<(Vec<u8>, Vec<u8>)>,
    /// The state after it.
    pub state: State,
    /// What is asked then, and answered.
    pub answers: Vec<(Operation, Outcome)>,
}

/// A log.
#[derive(Clone, Debug)]
pub struct Log {
    /// The machine's name.
    pub machine: String,
    /// The state before the first entry.
    pub initial: State,
    /// The entries; the first has index 1.
    pub entries: Vec<Entry>,
}

impl Log {
    /// Writes `count` entries of drawn commands.
    ///
    /// # Errors
    /// When the machine refuses to begin, or the engine fails.
    pub fn write(
        candidate: &Candidate,
        operations: &Operations,
        seed: Seed,
        count: u64,
    ) -> Result<Log, Fault> {
        let function = &candidate.function;
        let initial = function.initial(b"", 0)?;
        let mut author =
            Author { chance: seed.stream("test"), templates: operations.templates.clone() };
        let (mut state, mut time_ms, mut entries) = (initial.clone(), 0, Vec::new());
        for index in 1..=count {
            time_ms += author.chance.scaled(1, STEP_MS_MAX);
            let entropy = author.chance.number();
            let turn = Turn { index: Index(index), term: 1, time_ms, entropy };
            let due = state.wake_ms().is_some_and(|wake_ms| wake_ms <= time_ms);
            let (what, queries) = match due {
                true => (What::Wake, Vec::new()),
                false => author.batch(),
            };
            let came = match &what {
                What::Wake => function.wake(&state, &turn)?,
                What::Commands(commands) => {
                    let requests: Vec<Request<'_>> = commands.iter().map(request).collect();
                    function.apply_all(&state, &turn, &requests)?
                }
            };
            state = came.state;
            let mut answers = Vec::new();
            for query in queries {
                let answer = function.query(&state, &turn, &query.payload)?;
                answers.push((query, answer));
            }
            let events = came.events.into_iter().map(|event| (event.topic, event.payload));
            let (outcomes, events) = (came.outcomes, events.collect());
            entries.push(Entry { turn, what, outcomes, events, state: state.clone(), answers });
        }
        Ok(Log { machine: function.name().to_owned(), initial, entries })
    }

    /// What the machine said in it.
    pub fn outcomes(&self) -> Part {
        let mut outcomes = Outcomes::default();
        for entry in &self.entries {
            if let What::Commands(commands) = &entry.what {
                let pairs = commands.iter().zip(&entry.outcomes);
                pairs.for_each(|(command, outcome)| outcomes.note(&command.says, &reply(outcome)));
            }
            for (query, answer) in &entry.answers {
                outcomes.note(&query.says, &reply(answer));
            }
        }
        outcomes.part()
    }

    /// The log as hosts take it.
    pub fn told(&self) -> Vec<Told> {
        self.entries.iter().map(|entry| entry.told(&self.machine)).collect()
    }

    /// Commands in it.
    pub fn commands(&self) -> usize {
        let commands = |entry: &Entry| match &entry.what {
            What::Commands(commands) => commands.len(),
            What::Wake => 0,
        };
        self.entries.iter().map(commands).sum()
    }

    /// Queries in it.
    pub fn queries(&self) -> usize {
        self.entries.iter().map(|entry| entry.answers.len()).sum()
    }

    /// Wake-ups in it.
    pub fn wakes(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.what, What::Wake)).count()
    }

    /// The state at the end.
    pub fn last(&self) -> &State {
        self.entries.last().map_or(&self.initial, |entry| &entry.state)
    }
}

impl Entry {
    fn told(&self, machine: &str) -> Told {
        let command = |operation: &Operation| Command::Machine {
            machine: machine.to_owned(),
            principal: PRINCIPAL.to_owned(),
            session: 0,
            seq: 0,
            acked_below: 0,
            payload: operation.payload.clone().into(),
        };
        let commands = match &self.what {
            What::Commands(commands) => commands.iter().map(command).collect(),
            What::Wake => vec![Command::Wake { machine: machine.to_owned() }],
        };
        Told {
            time_ms: self.turn.time_ms,
            entropy: self.turn.entropy,
            commands,
            outcomes: self.outcomes.clone(),
            events: self.events.clone(),
        }
    }
}

/// Draws entries.
struct Author {
    chance: Chance,
    templates: Custom,
}

impl Author {
    /// The commands of an entry, and the queries drawn between them, which are asked after it.
    fn batch(&mut self) -> (What, Vec<Operation>) {
        let wanted = self.chance.between(1, BATCH_MAX) as usize;
        let (mut commands, mut queries) = (Vec::new(), Vec::new());
        while commands.len() < wanted && queries.len() < QUERIES_MAX {
            let client = self.chance.below(4);
            let Some(drawn) = self.templates.next(client, &mut self.chance) else { break };
            match drawn.call {
                Call::Command => commands.push(drawn),
                Call::Query | Call::StaleQuery => queries.push(drawn),
            }
        }
        (What::Commands(commands), queries)
    }
}

fn request(operation: &Operation) -> Request<'_> {
    Request { principal: PRINCIPAL, ..Request::new(&operation.payload) }
}
