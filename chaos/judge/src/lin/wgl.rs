//! The search of Wing and Gong with Lowe's memory: take calls in some order until one returns that
//! could not be taken, then go back to the last choice.
//!
//! What is remembered of a choice is not the set of all calls taken but its short form: how many of
//! the calls that returned were taken without a gap (in order of their beginning), a window of bits
//! from there to the highest one taken, a separate mask of the calls that never returned, and the
//! state. The window is as wide as the concurrency, not as the history; calls that never returned
//! would otherwise pin its base for ever.
//!
//! A read whose answer fits is no choice: whatever can follow without it can follow with it, so
//! nobody comes back to leave it out. (A write of what is there already may be needed later.)
//!
//! Not here: the order that the log claims ([`super::certificate`]).

use super::entry::{INSTEAD_MAX, Moment, Stuck, moments};
use super::hash::QuickSet;
use super::spec::Specification;
use super::table::{INITIAL, Table};

/// What the search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An order exists: positions among the entries. Calls that never returned may be missing.
    Order(Vec<usize>),
    /// None exists.
    Nothing(Stuck),
}

/// A search, as far as it has come.
pub struct Wgl {
    moments: Vec<Moment>,
    /// Neighbours in the list of what is not taken yet; 0 is the head, `moments.len() + 1` the end.
    next: Vec<usize>,
    prev: Vec<usize>,
    /// By entry: nodes of its beginning and its end (0: none), and its number among the returned
    /// calls or among the others.
    call_node: Vec<usize>,
    return_node: Vec<usize>,
    ordinal: Vec<usize>,
    returned: usize,
    taken: Taken,
    remaining: usize,
    state: u32,
    cursor: usize,
    stack: Vec<Choice>,
    memo: QuickSet<Key>,
    longest: Longest,
}

/// The longest order so far, and the return that it could not get past.
#[derive(Default)]
struct Longest {
    order: Vec<usize>,
    /// So much of it is also the beginning of the present order.
    shared: usize,
    state: u32,
    at: Option<usize>,
}

/// Which calls are taken.
struct Taken {
    done: Vec<bool>,
    /// All returned calls below are taken.
    base: usize,
    /// No returned call from here on is taken.
    high: usize,
    unknown: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Choice {
    entry: usize,
    state: u32,
    base: usize,
    high: usize,
    /// There is no alternative to it.
    read: bool,
}

/// What became of a call that could be next.
enum Step {
    Taken,
    /// Try the one behind it.
    Next,
    /// Nothing leads on from here.
    DeadEnd,
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    Narrow { base: u32, state: u32, window: u128, unknown: u64 },
    Wide { base: u32, state: u32, words: Box<[u64]> },
}

impl Taken {
    fn key(&self, state: u32) -> Key {
        let base = u32::try_from(self.base).expect("a history has fewer calls");
        let width = self.high - self.base;
        if width <= 128 && self.unknown.len() <= 1 {
            let bits = (self.base..self.high).filter(|at| self.done[*at]);
            let window = bits.fold(0u128, |window, at| window | 1 << (at - self.base));
            let unknown = self.unknown.first().copied().unwrap_or(0);
            return Key::Narrow { base, state, window, unknown };
        }
        let words = width.div_ceil(64);
        let mut key = vec![0u64; words];
        for at in (self.base..self.high).filter(|at| self.done[*at]) {
            key[(at - self.base) / 64] |= 1 << ((at - self.base) % 64);
        }
        key.extend_from_slice(&self.unknown);
        Key::Wide { base, state, words: key.into_boxed_slice() }
    }

    fn take(&mut self, ordinal: usize) {
        self.done[ordinal] = true;
        self.high = self.high.max(ordinal + 1);
        while self.base < self.done.len() && self.done[self.base] {
            self.base += 1;
        }
        self.high = self.high.max(self.base);
    }

    fn flip_unknown(&mut self, ordinal: usize) {
        self.unknown[ordinal / 64] ^= 1 << (ordinal % 64);
    }
}

impl Wgl {
    /// A search that has not begun.
    pub fn new<S: Specification>(table: &Table<'_, S>) -> Wgl {
        let entries = table.entries();
        let moments = moments(entries, |operation| table.spec().is_read(operation));
        let end = moments.len() + 1;
        let (mut call_node, mut return_node) = (vec![0; entries.len()], vec![0; entries.len()]);
        let mut ordinal = vec![0; entries.len()];
        let (mut returned, mut unknown) = (0, 0);
        for (at, moment) in moments.iter().enumerate() {
            if moment.is_return {
                return_node[moment.entry] = at + 1;
                continue;
            }
            call_node[moment.entry] = at + 1;
            let counter = match entries[moment.entry].returned {
                Some(_) => &mut returned,
                None => &mut unknown,
            };
            ordinal[moment.entry] = *counter;
            *counter += 1;
        }
        Wgl {
            next: (1..=end + 1).collect(),
            prev: (0..=end).map(|node| node.saturating_sub(1)).collect(),
            call_node,
            return_node,
            ordinal,
            returned,
            taken: Taken {
                done: vec![false; returned],
                base: 0,
                high: 0,
                unknown: vec![0; usize::div_ceil(unknown, 64)],
            },
            remaining: returned,
            state: INITIAL,
            cursor: 1,
            stack: Vec::new(),
            memo: QuickSet::default(),
            longest: Longest::default(),
            moments,
        }
    }

    /// Goes on for at most `steps`; `None`: not finished.
    pub fn run<S: Specification>(&mut self, table: &mut Table<'_, S>, steps: u64) -> Option<Found> {
        for _ in 0..steps {
            if self.remaining == 0 {
                return Some(Found::Order(self.stack.iter().map(|choice| choice.entry).collect()));
            }
            // Some call has not returned in the order yet, so its end is still in the list.
            let moment = self.moments[self.cursor - 1];
            let step =
                if moment.is_return { Step::DeadEnd } else { self.take(table, moment.entry) };
            match step {
                Step::Taken => {}
                Step::Next => self.cursor = self.next[self.cursor],
                Step::DeadEnd => {
                    if moment.is_return {
                        self.note_dead_end(moment.entry);
                    }
                    if !self.go_back() {
                        return Some(Found::Nothing(self.explain(table)));
                    }
                }
            }
        }
        None
    }

    /// Takes a call next, unless its answer does not fit or all that follows was tried before.
    fn take<S: Specification>(&mut self, table: &mut Table<'_, S>, entry: usize) -> Step {
        let Some(state) = table.step(self.state, entry) else { return Step::Next };
        let returns = self.return_node[entry] != 0;
        if !returns && state == self.state {
            return Step::Next; // it changes nothing and nobody waits for it
        }
        let read = table.is_read(entry);
        let (base, high) = (self.taken.base, self.taken.high);
        let choice = Choice { entry, state: self.state, base, high, read };
        if returns {
            self.taken.take(self.ordinal[entry]);
        } else {
            self.taken.flip_unknown(self.ordinal[entry]);
        }
        if !self.memo.insert(self.taken.key(state)) {
            self.untake(&choice);
            return if read { Step::DeadEnd } else { Step::Next };
        }
        self.stack.push(choice);
        self.state = state;
        self.lift(self.call_node[entry]);
        if returns {
            self.remaining -= 1;
            self.lift(self.return_node[entry]);
        }
        self.cursor = self.next[0];
        Step::Taken
    }

    fn untake(&mut self, choice: &Choice) {
        if self.return_node[choice.entry] != 0 {
            self.taken.done[self.ordinal[choice.entry]] = false;
        } else {
            self.taken.flip_unknown(self.ordinal[choice.entry]);
        }
        self.taken.base = choice.base;
        self.taken.high = choice.high;
    }

    /// Undoes everything up to the last choice, and looks behind it.
    fn go_back(&mut self) -> bool {
        loop {
            let Some(choice) = self.stack.pop() else { return false };
            self.longest.shared = self.longest.shared.min(self.stack.len());
            let entry = choice.entry;
            self.untake(&choice);
            self.state = choice.state;
            if self.return_node[entry] != 0 {
                self.remaining += 1;
                self.unlift(self.return_node[entry]);
            }
            self.unlift(self.call_node[entry]);
            self.cursor = self.next[self.call_node[entry]];
            if !choice.read {
                return true;
            }
        }
    }

    fn lift(&mut self, node: usize) {
        let (before, after) = (self.prev[node], self.next[node]);
        self.next[before] = after;
        self.prev[after] = before;
    }

    fn unlift(&mut self, node: usize) {
        let (before, after) = (self.prev[node], self.next[node]);
        self.next[before] = node;
        self.prev[after] = node;
    }

    fn note_dead_end(&mut self, entry: usize) {
        let longest = &mut self.longest;
        if longest.at.is_none() || self.stack.len() > longest.order.len() {
            longest.order.truncate(longest.shared);
            longest.order.extend(self.stack[longest.shared..].iter().map(|choice| choice.entry));
            longest.shared = self.stack.len();
            longest.state = self.state;
            longest.at = Some(entry);
        }
    }

    fn explain<S: Specification>(&self, table: &mut Table<'_, S>) -> Stuck {
        let Longest { order, state, at, .. } = &self.longest;
        let at = at.expect("a dead end was met");
        let ended = table.entries()[at].returned.unwrap_or(u64::MAX);
        let mut taken = vec![false; table.entries().len()];
        order.iter().for_each(|entry| taken[*entry] = true);
        let overlaps = |moment: &&Moment| {
            !moment.is_return && moment.at <= ended && moment.entry != at && !taken[moment.entry]
        };
        let concurrent = self.moments.iter().filter(overlaps).map(|moment| moment.entry);
        let last = last_change(table, order);
        let instead = vec![(last, table.answer(*state, at))];
        Stuck { at, concurrent: concurrent.take(4 * INSTEAD_MAX).collect(), instead }
    }

    /// Calls that were taken with an end: how far the search is.
    pub fn returned(&self) -> usize {
        self.returned
    }
}

/// The last call of an order that changed the state.
fn last_change<S: Specification>(table: &mut Table<'_, S>, order: &[usize]) -> Option<usize> {
    let mut state = INITIAL;
    let mut last = None;
    for entry in order {
        let next = table.step(state, *entry).expect("this order was taken before");
        last = if next == state { last } else { Some(*entry) };
        state = next;
    }
    last
}
