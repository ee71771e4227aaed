//! What a run was told, and what a start may find after it.

use std::collections::BTreeMap;

use pgraft_replica::{Entry, HardState, Index};
use pgraft_store::{Meta, Opened};

/// Rows of a state by machine and key.
pub(crate) type Rows = BTreeMap<(u32, Vec<u8>), Vec<u8>>;

/// The log as acknowledged: the whole history up to the last entry, also what is truncated.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) hard_state: HardState,
    pub(crate) generation: u64,
    /// The log begins above at least this entry, because of an installed snapshot.
    pub(crate) floor: u64,
    pub(crate) entries: BTreeMap<u64, Entry>,
}

/// What a start found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) opened: Opened,
    pub(crate) tail: Vec<Entry>,
    pub(crate) meta: Meta,
    pub(crate) rows: Rows,
}

impl Found {
    pub(crate) fn generation(&self) -> u64 {
        self.opened.generation
    }

    pub(crate) fn truncated(&self) -> u64 {
        self.opened.truncated.0.0
    }
}

/// What a run was told.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    created: bool,
    pub(crate) log: Log,
    /// What the log will be when the call under way succeeds; it may, unacknowledged.
    under_way: Option<Log>,
    /// Asked of the log.
    pub(crate) truncate_to: u64,
    /// Vouched for by the checkpointer, in the generation of `log`.
    pub(crate) durable: Index,
}

impl Truth {
    pub(crate) fn created(&self) -> bool {
        self.created
    }

    pub(crate) fn acknowledge_creation(&mut self) {
        self.created = true;
    }

    pub(crate) fn begin(&mut self, after: Log) {
        self.under_way = Some(after);
    }

    pub(crate) fn acknowledge(&mut self) {
        if let Some(after) = self.under_way.take() {
            if after.generation != self.log.generation {
                self.durable = Index(after.floor);
            }
            self.log = after;
        }
    }

    /// A start reported `found`; from here on it must last.
    pub(crate) fn settle(&mut self, found: &Found) {
        if let Some(after) = self.under_way.take()
            && matches(&after, found).is_ok()
        {
            self.under_way = Some(after);
            self.acknowledge();
        }
        self.created = true;
        self.log.floor = self.log.floor.max(found.truncated());
    }

    /// Compares what a start found with what the run was told.
    pub(crate) fn check(&self, found: &Found) -> Result<(), String> {
        let acknowledged = matches(&self.log, found);
        let log = match &self.under_way {
            Some(after) if acknowledged.is_err() && matches(after, found).is_ok() => after,
            _ => {
                acknowledged?;
                &self.log
            }
        };
        self.check_state(log, found)
    }

    fn check_state(&self, log: &Log, found: &Found) -> Result<(), String> {
        let (applied, truncated) = (found.meta.applied, found.opened.truncated.0);
        if truncated.0 > log.floor.max(self.truncate_to) {
            return Err(format!("truncated at {truncated}, nobody asked for that"));
        }
        if applied < truncated {
            return Err(format!("truncated at {truncated}, the state has only {applied}"));
        }
        if applied > found.opened.last {
            let last = found.opened.last;
            return Err(format!("the state has applied {applied}, the log ends at {last}"));
        }
        if log.generation == self.log.generation && applied < self.durable {
            return Err(format!("the state has {applied}, {} was vouched for", self.durable));
        }
        let expected = expected_rows(&log.entries, applied.0);
        if found.rows != expected {
            return Err(format!("rows {:?} instead of {expected:?}", found.rows));
        }
        if found.meta.applied.0 > 0 && found.meta.term != log.entries[&applied.0].term {
            return Err(format!("applied term {}", found.meta.term));
        }
        Ok(())
    }
}

fn matches(log: &Log, found: &Found) -> Result<(), String> {
    let Found { opened, tail, .. } = found;
    if opened.hard_state != log.hard_state {
        let told = log.hard_state;
        return Err(format!("hard state {:?} instead of {told:?}", opened.hard_state));
    }
    if opened.generation != log.generation {
        let told = log.generation;
        return Err(format!("generation {} instead of {told}", opened.generation));
    }
    let (truncated, term) = opened.truncated;
    if truncated.0 < log.floor {
        return Err(format!("truncated at {truncated}, below {}", log.floor));
    }
    if truncated.0 > 0 && log.entries.get(&truncated.0).map(|entry| entry.term) != Some(term) {
        return Err(format!("truncated at {truncated} with term {term}"));
    }
    let told: Vec<&Entry> = log.entries.range(truncated.0 + 1..).map(|(_, entry)| entry).collect();
    if tail.iter().collect::<Vec<_>>() != told {
        return Err(format!("entries {tail:?} instead of {told:?}"));
    }
    Ok(())
}

/// The machine of these tests: each entry overwrites one of seven rows, and every fourth removes
/// one.
pub(crate) fn effect(entry: &Entry) -> (Vec<u8>, Option<Vec<u8>>) {
    let index = entry.index.0;
    let key = vec![b'k', (index % 7) as u8];
    (key, (!index.is_multiple_of(4)).then(|| entry.data.to_vec()))
}

fn expected_rows(entries: &BTreeMap<u64, Entry>, applied: u64) -> Rows {
    let mut rows = Rows::new();
    for entry in entries.range(..=applied).map(|(_, entry)| entry) {
        match effect(entry) {
            (key, Some(value)) => rows.insert((1, key), value),
            (key, None) => rows.remove(&(1, key)),
        };
    }
    rows
}
