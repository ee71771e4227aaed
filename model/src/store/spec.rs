//! The specification: what a log with hard state and a state beside it must be after each
//! operation, and what a start may find after a crash. The whole of it is a few numbers and a list
//! of terms, for what an entry holds and does follows from its index and term.

use std::fmt;
use std::ops::RangeInclusive;

use super::words::Op;

/// What the store should hold.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Spec {
    pub(super) term: u64,
    /// 0 is nobody.
    pub(super) vote: u64,
    pub(super) commit: u64,
    /// The term of every entry since the first, those that are truncated or came in a snapshot too.
    pub(super) history: Vec<u64>,
    /// Which state.db is the log's.
    pub(super) generation: u64,
    /// The last entry that is not in the log any more is at least this one,
    pub(super) floor: u64,
    /// and at most this one.
    pub(super) asked: u64,
    /// The state has applied this far at least, whatever happens,
    pub(super) durable: u64,
    /// and this far while the process lives.
    pub(super) applied: u64,
}

/// What a start found, or what a running process sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Term, vote, commit index, generation and truncated entry; a running store does not say.
    pub(super) log: Option<FoundLog>,
    /// Index and term of the entries in the log, their contents compared already.
    pub(super) tail: Vec<(u64, u64)>,
    /// The last applied entry and its term; rows and configuration are compared already.
    pub(super) applied: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FoundLog {
    pub(super) term: u64,
    pub(super) vote: u64,
    pub(super) commit: u64,
    pub(super) generation: u64,
    pub(super) truncated: (u64, u64),
}

impl Spec {
    /// A node that was created, voted once and has no entries.
    pub(super) fn new() -> Spec {
        Spec {
            term: 1,
            vote: 1,
            commit: 0,
            history: Vec::new(),
            generation: 0,
            floor: 0,
            asked: 0,
            durable: 0,
            applied: 0,
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.history.len() as u64
    }

    /// The term of an entry; 0 before the first and after the last.
    pub(super) fn term_at(&self, index: u64) -> u64 {
        let place = index.checked_sub(1).and_then(|place| self.history.get(place as usize));
        place.copied().unwrap_or(0)
    }

    /// What holds once `op` has succeeded.
    pub(super) fn after(&self, op: Op) -> Spec {
        let mut next = self.clone();
        match op {
            Op::Append => {
                next.commit = self.last();
                next.history.push(self.term);
            }
            Op::Extend => next.history.extend([self.term; 2]),
            Op::Overwrite => {
                (next.term, next.vote) = (self.term + 1, 0);
                next.history.truncate(self.commit as usize);
                next.history.push(next.term);
            }
            Op::Vote => (next.term, next.vote) = (self.term + 1, 2),
            Op::Commit => next.commit = self.last(),
            Op::Apply => next.applied = self.commit,
            Op::Checkpoint => {
                next.durable = self.applied;
                next.asked = self.asked.max(self.applied);
            }
            Op::Idle => {}
            Op::Install => {
                let index = self.commit + 2;
                next.history.truncate(self.commit as usize);
                next.history.extend([self.term; 2]);
                (next.commit, next.applied, next.durable) = (index, index, index);
                (next.floor, next.asked) = (index, index);
                next.generation += 1;
            }
            // What a start reports must last, and what was asked for is forgotten.
            Op::Restart => (next.durable, next.asked) = (self.applied, self.floor),
        }
        if op.writes_log() {
            next.floor = next.floor.max(next.asked.min(next.commit));
        }
        next
    }

    /// Whether a node may do `op` now, within the bounds of the model.
    pub(super) fn allows(&self, op: Op, entries_max: u64, term_max: u64) -> bool {
        let last = self.last();
        match op {
            Op::Append => last < entries_max,
            Op::Extend => last + 1 < entries_max,
            Op::Overwrite => last > self.commit && self.term < term_max,
            Op::Vote => self.term < term_max,
            Op::Commit => last > self.commit,
            Op::Apply => self.commit > self.applied,
            Op::Checkpoint => self.applied > self.durable,
            Op::Idle => self.asked.min(self.commit) > self.floor,
            Op::Install => self.generation == 0 && self.commit + 2 <= entries_max,
            Op::Restart => true,
        }
    }

    /// Compares what was found with what is allowed, and returns what holds from there on.
    pub(super) fn check(&self, found: &Found) -> Result<Spec, String> {
        let floor = match &found.log {
            Some(log) => {
                self.check_log(log)?;
                log.truncated.0
            }
            None => self.floor,
        };
        let told: Vec<(u64, u64)> =
            (floor + 1..=self.last()).map(|index| (index, self.term_at(index))).collect();
        if found.tail != told {
            return Err(format!("entries {:?} instead of {told:?}", found.tail));
        }
        let (applied, term) = found.applied;
        let allowed: RangeInclusive<u64> = match &found.log {
            Some(_) => self.durable..=self.applied,
            None => self.applied..=self.applied,
        };
        if !allowed.contains(&applied) {
            return Err(format!("the state has applied {applied}, allowed is {allowed:?}"));
        }
        if applied < floor {
            return Err(format!("the log begins after {floor}, the state has only {applied}"));
        }
        if term != self.term_at(applied) {
            return Err(format!("applied {applied} with term {term}"));
        }
        let durable = if found.log.is_some() { applied } else { self.durable };
        let asked = if found.log.is_some() { floor } else { self.asked };
        Ok(Spec { floor, asked, durable, applied, ..self.clone() })
    }

    fn check_log(&self, log: &FoundLog) -> Result<(), String> {
        let FoundLog { term, vote, commit, generation, truncated } = *log;
        if (term, vote, commit) != (self.term, self.vote, self.commit) {
            return Err(format!("hard state t{term} v{vote} c{commit} instead of {self:?}"));
        }
        if generation != self.generation {
            return Err(format!("generation {generation} instead of {}", self.generation));
        }
        let (index, of) = truncated;
        if !(self.floor..=self.asked).contains(&index) || of != self.term_at(index) {
            return Err(format!("truncated at {index} in term {of} instead of {self:?}"));
        }
        Ok(())
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spec { term, vote, commit, history, generation, floor, asked, durable, applied } = self;
        write!(
            f,
            "t{term} v{vote} c{commit} log {history:?} cut {floor}..={asked} applied \
             {durable}..={applied} gen {generation}"
        )
    }
}
