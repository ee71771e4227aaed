//! Lowe's just-in-time linearization: all orders at once. A configuration is a state and which of
//! the open calls were taken already; when a call returns, configurations go on that have taken it,
//! or can now. None left: this very return cannot be explained.
//!
//! An open read whose answer fits is taken at once: whatever can follow without it can follow with
//! it. Otherwise each would double the configurations. (Not so a write of what is there already: it
//! may be needed later.)
//!
//! Work grows with the calls open at the same time, not with the history, and with two to the
//! power of the calls that never returned: those stay open for ever. Not here: going back.

use std::mem;

use super::entry::{INSTEAD_MAX, Moment, Stuck, moments};
use super::hash::QuickSet;
use super::spec::Specification;
use super::table::{INITIAL, Table};

/// Open calls at the same time.
const OPEN_MAX: usize = 128;
/// Configurations at the same time: about 100 MB.
const CONFIGURATIONS_MAX: usize = 1 << 20;

/// What the run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Every return can be explained.
    Fits,
    /// This one cannot.
    Nothing(Stuck),
    /// Too many open calls or configurations.
    TooMany,
}

/// A state, the open calls taken, and the last call that changed the state (for people only).
#[derive(Clone, Copy)]
struct Configuration {
    state: u32,
    mask: u128,
    last: Option<u32>,
}

/// A run, as far as it has come.
pub struct Jit {
    moments: Vec<Moment>,
    at: usize,
    open: Vec<Option<usize>>,
    /// No slot from here on was ever used.
    slots: usize,
    slot: Vec<usize>,
    configurations: Vec<Configuration>,
    advance: Option<Advance>,
}

/// The search from one return for the configurations behind it.
#[derive(Default)]
struct Advance {
    work: Vec<Configuration>,
    seen: QuickSet<(u32, u128)>,
    /// Configurations before the returning call, for the explanation.
    all: Vec<Configuration>,
    out: Vec<Configuration>,
    out_seen: QuickSet<(u32, u128)>,
}

impl Advance {
    fn meet(&mut self, configuration: Configuration) {
        if self.seen.insert((configuration.state, configuration.mask)) {
            self.work.push(configuration);
            self.all.push(configuration);
        }
    }

    fn pass(&mut self, configuration: Configuration) {
        if self.out_seen.insert((configuration.state, configuration.mask)) {
            self.out.push(configuration);
        }
    }
}

impl Jit {
    /// A run that has not begun.
    pub fn new<S: Specification>(table: &Table<'_, S>) -> Jit {
        let entries = table.entries();
        Jit {
            moments: moments(entries, |operation| table.spec().is_read(operation)),
            at: 0,
            open: vec![None; OPEN_MAX],
            slots: 0,
            slot: vec![OPEN_MAX; entries.len()],
            configurations: vec![Configuration { state: INITIAL, mask: 0, last: None }],
            advance: None,
        }
    }

    /// Goes on for at most `steps`; `None`: not finished.
    pub fn run<S: Specification>(
        &mut self,
        table: &mut Table<'_, S>,
        mut steps: u64,
    ) -> Option<Found> {
        while steps > 0 {
            let Some(moment) = self.moments.get(self.at).copied() else { return Some(Found::Fits) };
            if !moment.is_return {
                let Some(slot) = self.open.iter().position(Option::is_none) else {
                    return Some(Found::TooMany);
                };
                self.open[slot] = Some(moment.entry);
                self.slots = self.slots.max(slot + 1);
                self.slot[moment.entry] = slot;
                self.at += 1;
                continue;
            }
            let mut advance = match self.advance.take() {
                Some(advance) => advance,
                None => self.begin(table, moment.entry),
            };
            while let Some(configuration) = advance.work.pop() {
                self.expand(table, &mut advance, configuration, moment.entry);
                if advance.seen.len() + advance.out.len() > CONFIGURATIONS_MAX {
                    return Some(Found::TooMany);
                }
                steps = steps.saturating_sub(1);
                if steps == 0 && !advance.work.is_empty() {
                    self.advance = Some(advance);
                    return None;
                }
            }
            if advance.out.is_empty() {
                return Some(Found::Nothing(self.explain(table, &advance, moment.entry)));
            }
            self.configurations = advance.out;
            self.open[self.slot[moment.entry]] = None;
            self.at += 1;
            steps = steps.saturating_sub(1);
        }
        None
    }

    /// Configurations that have taken the call are through already.
    fn begin<S: Specification>(&mut self, table: &mut Table<'_, S>, entry: usize) -> Advance {
        let bit = 1u128 << self.slot[entry];
        let mut advance = Advance::default();
        for configuration in mem::take(&mut self.configurations) {
            let configuration = self.settled(table, configuration);
            if configuration.mask & bit == 0 {
                advance.meet(configuration);
            } else {
                advance.pass(Configuration { mask: configuration.mask & !bit, ..configuration });
            }
        }
        advance
    }

    fn settled<S: Specification>(
        &self,
        table: &mut Table<'_, S>,
        configuration: Configuration,
    ) -> Configuration {
        self.settled_but(table, configuration, None)
    }

    /// With all open reads taken whose answers fit, except one that is about to be gone.
    fn settled_but<S: Specification>(
        &self,
        table: &mut Table<'_, S>,
        mut configuration: Configuration,
        gone: Option<usize>,
    ) -> Configuration {
        for (slot, open) in self.open[..self.slots].iter().enumerate() {
            let Some(entry) = open.filter(|entry| Some(*entry) != gone) else { continue };
            let taken = configuration.mask >> slot & 1 == 1;
            if !taken && table.is_read(entry) && table.step(configuration.state, entry).is_some() {
                configuration.mask |= 1 << slot;
            }
        }
        configuration
    }

    /// Takes the returning call, or any other open one before it.
    fn expand<S: Specification>(
        &self,
        table: &mut Table<'_, S>,
        advance: &mut Advance,
        from: Configuration,
        entry: usize,
    ) {
        let changed = |to: u32, by: usize| {
            if to == from.state { from.last } else { u32::try_from(by).ok() }
        };
        if let Some(state) = table.step(from.state, entry) {
            let to = Configuration { state, last: changed(state, entry), ..from };
            advance.pass(self.settled_but(table, to, Some(entry)));
        }
        for (slot, open) in self.open[..self.slots].iter().enumerate() {
            let Some(other) = *open else { continue };
            if other == entry || from.mask >> slot & 1 == 1 {
                continue;
            }
            let Some(state) = table.step(from.state, other) else { continue };
            if state == from.state && table.entries()[other].returned.is_none() {
                continue; // it changes nothing and nobody waits for it
            }
            let mask = from.mask | 1 << slot;
            let to = Configuration { state, mask, last: changed(state, other) };
            let to = self.settled(table, to);
            let bit = 1u128 << self.slot[entry];
            if to.mask & bit == 0 {
                advance.meet(to);
            } else {
                advance.pass(Configuration { mask: to.mask & !bit, ..to });
            }
        }
    }

    fn explain<S: Specification>(
        &self,
        table: &Table<'_, S>,
        advance: &Advance,
        at: usize,
    ) -> Stuck {
        let mut instead = Vec::new();
        for configuration in &advance.all {
            let last = configuration.last.map(|last| last as usize);
            let told = (last, table.answer(configuration.state, at));
            if !instead.contains(&told) {
                instead.push(told);
            }
            if instead.len() == INSTEAD_MAX {
                break;
            }
        }
        let concurrent = self.open.iter().flatten().copied().filter(|other| *other != at);
        Stuck { at, concurrent: concurrent.collect(), instead }
    }
}
