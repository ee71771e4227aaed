//! States by number, and what each call makes of each state: every step of the specification is
//! computed once, however often the engines take it.

use super::entry::Entry;
use super::hash::QuickMap;
use super::spec::Specification;

/// The calls of a specification.
pub type EntryOf<S> = Entry<<S as Specification>::Operation, <S as Specification>::Reply>;

/// Number of the first state.
pub(crate) const INITIAL: u32 = 0;

/// The states that were met, and the steps between them.
pub struct Table<'a, S: Specification> {
    spec: &'a S,
    entries: &'a [EntryOf<S>],
    states: Vec<S::State>,
    numbers: QuickMap<S::State, u32>,
    steps: QuickMap<u64, Option<u32>>,
}

impl<'a, S: Specification> Table<'a, S> {
    /// A table that knows the first state.
    pub fn new(spec: &'a S, entries: &'a [EntryOf<S>]) -> Table<'a, S> {
        let initial = spec.initial();
        let mut numbers = QuickMap::default();
        numbers.insert(initial.clone(), INITIAL);
        Table { spec, entries, states: vec![initial], numbers, steps: QuickMap::default() }
    }

    /// The calls.
    pub fn entries(&self) -> &'a [EntryOf<S>] {
        self.entries
    }

    /// The specification.
    pub fn spec(&self) -> &'a S {
        self.spec
    }

    /// Whether a call never changes anything.
    pub(crate) fn is_read(&self, entry: usize) -> bool {
        self.spec.is_read(&self.entries[entry].operation)
    }

    /// Steps of the specification that were computed.
    pub fn computed(&self) -> usize {
        self.steps.len()
    }

    /// The state after the call, if its answer is the one that was heard.
    pub(crate) fn step(&mut self, state: u32, entry: usize) -> Option<u32> {
        let key = u64::from(state) << 32 | entry as u64;
        if let Some(known) = self.steps.get(&key) {
            return *known;
        }
        let call = &self.entries[entry];
        let (next, reply) = self.spec.step(&self.states[state as usize], &call.operation);
        let agrees = match &call.reply {
            Some(heard) => self.spec.agrees(&call.operation, &reply, heard),
            None => true,
        };
        let number = agrees.then(|| self.number(next));
        self.steps.insert(key, number);
        number
    }

    /// What the specification answers in a state, in words.
    pub(crate) fn answer(&self, state: u32, entry: usize) -> String {
        let operation = &self.entries[entry].operation;
        format!("{:?}", self.spec.step(&self.states[state as usize], operation).1)
    }

    fn number(&mut self, state: S::State) -> u32 {
        if let Some(number) = self.numbers.get(&state) {
            return *number;
        }
        let number = u32::try_from(self.states.len()).expect("memory ends before numbers do");
        self.states.push(state.clone());
        self.numbers.insert(state, number);
        number
    }
}
