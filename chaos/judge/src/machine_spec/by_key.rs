//! Whether a machine that calls itself keyed is: its part of a replayed log is run again for each
//! key alone, from genesis on, and every answer must be what it was when all keys were there. So a
//! claim that a checker rests on (judging key by key) is not believed but looked at.
//!
//! A command that names no key may touch all: it takes part in every run, and its own answer is not
//! compared. Wake-ups come to every run; what has nothing to do at that time does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pgraft_host::{Request, Specification, State};

use super::replayed_log::{Given, Input, Origin, ReplayedLog, What, request};
use super::{Difference, reply};
use crate::history::Reply;

/// What was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Keys that commands and queries name.
    pub keys: usize,
    /// Answers to commands.
    pub commands: u64,
    /// Answers to queries.
    pub queries: u64,
}

/// A key's answer that depends on other keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lie {
    /// The machine.
    pub machine: String,
    /// The key, as the module names it.
    pub key: Vec<u8>,
    /// After which entry.
    pub index: u64,
    /// What was asked.
    pub payload: Vec<u8>,
    /// Whether it was a query.
    pub is_query: bool,
    /// The answer among all keys.
    pub together: Reply,
    /// The answer among this key's commands only.
    pub alone: Reply,
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lie { machine, key, index, payload, is_query, together, alone } = self;
        let what = if *is_query { "query" } else { "command" };
        write!(
            f,
            "{machine} calls itself keyed, but at index {index} the {what} \"{}\" of key \"{}\" \
             is answered {together:?} among all keys and {alone:?} among its own",
            payload.escape_ascii(),
            key.escape_ascii()
        )
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The machine does not call itself keyed.
    NotMade,
    /// Nothing speaks against it.
    Held(Compared),
    /// It is not so.
    Refuted(Box<Lie>),
    /// It cannot be told, for this reason.
    Open(&'static str),
}

/// Looks at the claim of one machine; `queries`: what clients asked of it, each with the index at
/// which it was answered.
///
/// # Errors
/// [`Difference::Engine`].
pub fn claim(
    origin: &Origin,
    log: &ReplayedLog,
    queries: &[(u64, Vec<u8>)],
) -> Result<Claim, Difference> {
    let module = origin.module.clone().numbered(origin.number);
    let Some(machine) = log.machine(module.name()).filter(|_| module.manifest().keyed) else {
        return Ok(Claim::NotMade);
    };
    if log.has_changed(module.name()) {
        return Ok(Claim::Open("its module changed"));
    }
    if machine.inputs.iter().any(|input| matches!(input.what, What::Done)) {
        return Ok(Claim::Open("it was told outcomes of effects, whose keys nobody knows"));
    }
    let mut keys = Keys { module: &module, known: BTreeMap::new() };
    let mut all: BTreeSet<Vec<u8>> = BTreeSet::new();
    for (given, _) in machine.inputs.iter().flat_map(commands) {
        all.extend(keys.of_command(&given.payload)?);
    }
    let mut asked: BTreeMap<Vec<u8>, Vec<(u64, &[u8])>> = BTreeMap::new();
    for (index, payload) in queries {
        if let Some(key) = module.query_key(payload)? {
            all.insert(key.clone());
            asked.entry(key).or_default().push((*index, payload));
        }
    }
    let mut compared = Compared { keys: all.len(), ..Compared::default() };
    for key in all {
        let mut queries = asked.remove(&key).unwrap_or_default();
        queries.sort_unstable();
        let initial = module.initial(&origin.config, log.turn(0).map_or(0, |turn| turn.time_ms))?;
        let mut run = Run { keys: &mut keys, key, state: initial, log, compared: &mut compared };
        if let Some(lie) = run.through(&machine.inputs, &queries)? {
            return Ok(Claim::Refuted(Box::new(lie)));
        }
    }
    Ok(Claim::Held(compared))
}

/// The keys of payloads, each asked for once.
struct Keys<'a> {
    module: &'a Specification,
    known: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Keys<'_> {
    fn of_command(&mut self, payload: &[u8]) -> Result<Option<Vec<u8>>, Difference> {
        if let Some(known) = self.known.get(payload) {
            return Ok(known.clone());
        }
        let key = self.module.command_key(payload)?;
        self.known.insert(payload.to_vec(), key.clone());
        Ok(key)
    }
}

/// The run of one key.
struct Run<'a, 'b> {
    keys: &'b mut Keys<'a>,
    key: Vec<u8>,
    state: State,
    log: &'b ReplayedLog,
    compared: &'b mut Compared,
}

impl Run<'_, '_> {
    fn through(
        &mut self,
        inputs: &[Input],
        queries: &[(u64, &[u8])],
    ) -> Result<Option<Lie>, Difference> {
        let mut queries = queries.iter().peekable();
        for input in inputs {
            while let Some((index, payload)) =
                queries.next_if(|(index, _)| *index < input.turn.index.0)
            {
                if let Some(lie) = self.ask(*index, payload)? {
                    return Ok(Some(lie));
                }
            }
            if let Some(lie) = self.give(input)? {
                return Ok(Some(lie));
            }
        }
        for (index, payload) in queries {
            if let Some(lie) = self.ask(*index, payload)? {
                return Ok(Some(lie));
            }
        }
        Ok(None)
    }

    fn ask(&mut self, index: u64, payload: &[u8]) -> Result<Option<Lie>, Difference> {
        let machine = self.keys.module.name();
        let Some(together) = self.log.query(machine, index, payload)? else { return Ok(None) };
        let Some(turn) = self.log.turn(index) else { return Ok(None) };
        let alone = reply(&self.keys.module.query(&self.state, turn, payload)?);
        self.compared.queries += 1;
        Ok(self.lie(index, payload, (together, alone), true))
    }

    fn give(&mut self, input: &Input) -> Result<Option<Lie>, Difference> {
        let module = self.keys.module;
        let mut own = Vec::new();
        match &input.what {
            What::Wake => {
                self.state = module.wake(&self.state, &input.turn)?.state;
                return Ok(None);
            }
            What::Done => return Ok(None),
            What::Commands(all) => {
                for (given, told) in all {
                    let key = self.keys.of_command(&given.payload)?;
                    let is_mine = key.as_deref() == Some(&self.key);
                    if is_mine || key.is_none() {
                        own.push((given, told, is_mine));
                    }
                }
            }
        }
        if own.is_empty() {
            return Ok(None);
        }
        let requests: Vec<Request<'_>> = own.iter().map(|(given, ..)| request(given)).collect();
        let came = module.apply_all(&self.state, &input.turn, &requests)?;
        self.state = came.state;
        for ((given, told, is_mine), outcome) in own.into_iter().zip(&came.outcomes) {
            if is_mine {
                self.compared.commands += 1;
                let answers = (told.clone(), reply(outcome));
                if let Some(lie) = self.lie(input.turn.index.0, &given.payload, answers, false) {
                    return Ok(Some(lie));
                }
            }
        }
        Ok(None)
    }

    fn lie(
        &self,
        index: u64,
        payload: &[u8],
        (together, alone): (Reply, Reply),
        is_query: bool,
    ) -> Option<Lie> {
        let (machine, key) = (self.keys.module.name().to_owned(), self.key.clone());
        let payload = payload.to_vec();
        (together != alone).then_some(Lie {
            machine,
            key,
            index,
            payload,
            is_query,
            together,
            alone,
        })
    }
}

fn commands(input: &Input) -> &[(Given, Reply)] {
    match &input.what {
        What::Commands(all) => all,
        What::Wake | What::Done => &[],
    }
}
