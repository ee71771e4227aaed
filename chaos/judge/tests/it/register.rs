//! Registers as a specification, random histories of them, and a checker that tries every order.
//! Shared by the tests and the example `speed`.

use std::collections::BTreeMap;

use pgraft_judge::lin::{Entry, Place, Specification};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// What a register can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Read,
    Write(u32),
    /// From, to.
    Cas(u32, u32),
}

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Value(u32),
    Written,
    Swapped(bool),
}

/// One register that begins with 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Register;

impl Specification for Register {
    type State = u32;
    type Operation = Ask;
    type Reply = Answer;

    fn initial(&self) -> u32 {
        0
    }

    fn step(&self, state: &u32, operation: &Ask) -> (u32, Answer) {
        match *operation {
            Ask::Read => (*state, Answer::Value(*state)),
            Ask::Write(value) => (value, Answer::Written),
            Ask::Cas(from, to) if from == *state => (to, Answer::Swapped(true)),
            Ask::Cas(..) => (*state, Answer::Swapped(false)),
        }
    }

    fn is_read(&self, operation: &Ask) -> bool {
        *operation == Ask::Read
    }
}

pub(crate) type Calls = Vec<Entry<Ask, Answer>>;

/// How a random history is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) operations: u64,
    pub(crate) clients: u64,
    pub(crate) keys: u64,
    pub(crate) values: u32,
    /// Calls that nobody hears of again, percent.
    pub(crate) unknown: u32,
}

/// A client in the middle of a call.
#[derive(Clone, Copy)]
struct Pending {
    op: u64,
    called: u64,
    key: u64,
    ask: Ask,
    /// When it took effect, and the answer.
    done: Option<(u64, Answer)>,
}

/// A history as a correct object would give it, by key. Each client calls, the call takes effect,
/// the client hears of it; whose turn it is, is chance.
pub(crate) fn correct(rng: &mut ChaCha8Rng, shape: Shape) -> Vec<Calls> {
    let mut states: BTreeMap<u64, u32> = BTreeMap::new();
    let mut pending: Vec<Option<Pending>> = vec![None; shape.clients as usize];
    let mut keys: BTreeMap<u64, Calls> = BTreeMap::new();
    let (mut clock, mut op, mut effects) = (0, 0, 0);
    while op < shape.operations || pending.iter().any(Option::is_some) {
        clock += 1;
        let client = rng.random_range(0..pending.len());
        match pending[client] {
            None if op < shape.operations => {
                let key = rng.random_range(0..shape.keys);
                op += 1;
                pending[client] =
                    Some(Pending { op, called: clock, key, ask: ask(rng, shape, op), done: None });
            }
            None => {}
            Some(call) if call.done.is_none() && rng.random_range(0..100) >= shape.unknown / 2 => {
                let state = states.entry(call.key).or_insert(0);
                let (next, answer) = Register.step(state, &call.ask);
                *state = next;
                effects += 1;
                pending[client] = Some(Pending { done: Some((effects, answer)), ..call });
            }
            Some(call) => {
                let lost = call.done.is_none() || rng.random_range(0..100) < shape.unknown / 2;
                keys.entry(call.key).or_default().push(ended(call, clock, lost));
                pending[client] = None;
            }
        }
    }
    keys.into_values().collect()
}

fn ask(rng: &mut ChaCha8Rng, shape: Shape, op: u64) -> Ask {
    // Few values: chance picks one; none: each is its own.
    let mut value = || match shape.values {
        0 => op as u32,
        values => rng.random_range(0..values),
    };
    let (one, other) = (value(), value());
    match rng.random_range(0..10) {
        0..4 => Ask::Read,
        4..8 => Ask::Write(one),
        _ => Ask::Cas(one, other),
    }
}

fn ended(call: Pending, clock: u64, lost: bool) -> Entry<Ask, Answer> {
    let Pending { op, called, ask, done, .. } = call;
    let heard = done.filter(|_| !lost);
    Entry {
        op,
        called,
        returned: heard.map(|_| clock),
        place: done.map(|(index, _)| Place { index, position: 0 }),
        operation: ask,
        reply: heard.map(|(_, answer)| answer),
    }
}

/// Changes what one client heard.
pub(crate) fn mutate(rng: &mut ChaCha8Rng, calls: &mut Calls, values: u32) {
    if calls.is_empty() {
        return;
    }
    let at = rng.random_range(0..calls.len());
    calls[at].reply = calls[at].reply.map(|answer| match answer {
        Answer::Value(_) => Answer::Value(rng.random_range(0..values)),
        Answer::Written => Answer::Written,
        Answer::Swapped(done) => Answer::Swapped(!done),
    });
}

/// The small history with this number, as in the fuzz run of the prototype: 2 to 8 calls of 2 to 4
/// clients, 15 % of them unknown, half of the histories with one answer changed.
pub(crate) fn small(seed: u64) -> Calls {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shape = Shape {
        operations: rng.random_range(2..=8),
        clients: rng.random_range(2..=4),
        keys: 1,
        values: 3,
        unknown: 15,
    };
    let mut calls = correct(&mut rng, shape).pop().unwrap_or_default();
    if rng.random_range(0..2) == 0 {
        mutate(&mut rng, &mut calls, shape.values);
    }
    calls
}

/// Whether some order explains the calls, by trying all of them.
pub(crate) fn brute<S: Specification>(spec: &S, calls: &[Entry<S::Operation, S::Reply>]) -> bool {
    fn go<S: Specification>(
        spec: &S,
        calls: &[Entry<S::Operation, S::Reply>],
        used: u32,
        state: &S::State,
    ) -> bool {
        let free = |at: &usize| used >> at & 1 == 0;
        let mut waiting = (0..calls.len()).filter(free);
        if waiting.all(|at| calls[at].returned.is_none()) {
            return true;
        }
        (0..calls.len()).filter(free).any(|at| {
            let called = calls[at].called;
            let late = |other: usize| calls[other].returned.is_some_and(|time| time < called);
            if (0..calls.len()).filter(free).any(|other| other != at && late(other)) {
                return false;
            }
            let (next, reply) = spec.step(state, &calls[at].operation);
            let heard = calls[at].reply.as_ref();
            let right = heard.is_none_or(|heard| spec.agrees(&calls[at].operation, &reply, heard));
            right && go(spec, calls, used | 1 << at, &next)
        })
    }
    go(spec, calls, 0, &spec.initial())
}
