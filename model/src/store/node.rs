//! The process: the shipped stores on a simulated disk, used as the shipped driver uses them. The
//! bugs planted here are bugs of that use, or of the disk; the stores are what is shipped.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use pgraft_replica::{
    ConfState, Entry, EntryKind, HardState, Index, NodeId, Persist, SnapshotMeta, Term,
};
use pgraft_sim_disk::SimDisk;
use pgraft_store::{
    Checkpointer, Disk, Fault, Identity, LogStore, Meta, Opened, ReadTables, SinkError,
    SnapshotSink, SnapshotSource, StateStore, remove_other_generations,
};

use super::spec::{Found, FoundLog, Spec};
use super::words::Op;

/// The keyspace of the model's machine.
const MACHINE: u32 = 1;
/// Keys of the machine; every entry overwrites one.
const KEYS: u64 = 2;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    None,
    /// A commit of the log does not sync: what `synchronous=NORMAL` does.
    SynchronousNormal,
    /// An operation is taken for done before it is.
    EarlyAcknowledgement,
    /// Rows first, and how far they are applied in a transaction after it.
    AppliedOutside,
    /// The log may go up to what is applied, durable or not.
    TruncatesAboveDurable,
    /// The log points to the snapshot's state before that is complete.
    InstalledTooEarly,
    /// Not a bug of the store: the specification is one too high.
    SpecOffByOne,
}

/// Why an operation did not end well.
#[derive(Debug)]
pub(super) enum Stop {
    /// There was no space; the process goes on.
    Full(String),
    /// The process must end.
    Fault(String),
    /// Something that is never allowed.
    Wrong(String),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        let text = format!("{fault:?}");
        if fault.is_full() { Stop::Full(text) } else { Stop::Fault(text) }
    }
}

/// The stores of a running node.
pub(super) struct Node {
    disk: Disk,
    log: LogStore,
    /// Closed only while a snapshot takes its place.
    state: Option<(StateStore, Checkpointer)>,
    bug: Bug,
}

/// What an entry holds.
pub(super) fn data(index: u64, term: u64) -> Vec<u8> {
    format!("entry {index} of term {term}").into_bytes()
}

fn entry(index: u64, term: u64) -> Entry {
    let data = Bytes::from(data(index, term));
    Entry { index: Index(index), term: Term(term), kind: EntryKind::Normal, data }
}

fn node(id: u64) -> NodeId {
    NodeId::new(id).expect("ids of the model are not 0")
}

/// What the state knows of itself after an entry. The configuration changes with every entry, so
/// that an old one is noticed.
fn meta(index: u64, term: u64) -> Meta {
    let voters = [1, 2, 3 + index].into_iter().map(node).collect();
    let conf = ConfState { voters, ..ConfState::default() };
    Meta { applied: Index(index), term: Term(term), time_ms: index * 10, conf }
}

/// The rows after the first `applied` entries: a function of the history alone.
fn rows(history: &[u64], applied: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let entries = (1..).zip(history).take(applied as usize);
    entries.map(|(index, term)| (key(index), data(index, *term))).collect()
}

fn key(index: u64) -> Vec<u8> {
    vec![b'k', (index % KEYS) as u8]
}

fn store_disk(sim: &SimDisk) -> Disk {
    Disk { dir: "/node".into(), vfs: Some(sim.vfs()) }
}

/// Creates what [`Spec::new`] says.
pub(super) fn create(sim: &SimDisk) {
    let disk = store_disk(sim);
    let identity =
        Identity { cluster: 7, genesis_hash: [7; 32], node: node(1), incarnation: 1 << 70 };
    LogStore::create(&disk, &identity, b"genesis").expect("the disk is sound");
    let (mut log, _) = LogStore::open(&disk).expect("a new log opens");
    let hard_state = HardState { term: Term(1), vote: NodeId::new(1), commit: Index::ZERO };
    let task =
        Persist { number: 1, hard_state: Some(hard_state), entries: Vec::new(), snapshot: None };
    log.write(&[task]).expect("the disk is sound");
    drop(StateStore::open(&disk, 0).expect("a new state opens"));
}

impl Node {
    /// Starts on what is on the disk: everything that may be damaged is compared with `history`,
    /// of which the log may have any prefix.
    pub(super) fn start(
        sim: &SimDisk,
        history: &[Vec<u64>],
        bug: Bug,
    ) -> Result<(Node, Found), Stop> {
        let disk = store_disk(sim);
        let wrong = |what: String| Stop::Wrong(format!("the node does not start: {what}"));
        let (log, opened) = LogStore::open(&disk).map_err(|error| match error {
            pgraft_store::OpenError::Fault(fault) => Stop::from(fault),
            other => wrong(other.to_string()),
        })?;
        let state = open_state(&disk, opened.generation)?;
        remove_other_generations(&disk, opened.generation)?;
        let mut node = Node { disk, log, state: Some(state), bug };
        node.state().verify_digests()?;
        let found = node.observe(history, Some(&opened))?;
        Ok((node, found))
    }

    /// Whether all stores are open; not so after an installation that failed half-way.
    pub(super) fn running(&self) -> bool {
        self.state.is_some()
    }

    fn state(&mut self) -> &mut StateStore {
        &mut self.state.as_mut().expect("open outside an installation").0
    }

    /// Reads all that the stores hold.
    pub(super) fn observe(
        &mut self,
        histories: &[Vec<u64>],
        opened: Option<&Opened>,
    ) -> Result<Found, Stop> {
        let tail = self.log.tail(Index::ZERO, 0)?;
        for found in &tail {
            if *found != entry(found.index.0, found.term.0) {
                return Err(Stop::Wrong(format!("entry {found:?} is none that was written")));
            }
        }
        let state = &self.state.as_ref().expect("open outside an installation").0;
        let applied = state.meta().applied.0;
        let page = state.scan(MACHINE, b"", b"", 1_000, 1 << 20, false, false)?;
        let found_rows = unpack(&page.rows);
        let fits = |history: &Vec<u64>| {
            applied <= history.len() as u64 && rows(history, applied) == found_rows
        };
        if !histories.iter().any(fits) {
            let text: Vec<String> = found_rows
                .values()
                .map(|value| String::from_utf8_lossy(value).into_owned())
                .collect();
            let what = format!("the state says it has applied {applied} and its rows are {text:?}");
            return Err(Stop::Wrong(what));
        }
        let known = state.meta();
        if applied > 0 && *known != meta(applied, known.term.0) {
            return Err(Stop::Wrong(format!("the state's meta row is {known:?}")));
        }
        let log = opened.map(|opened| FoundLog {
            term: opened.hard_state.term.0,
            vote: opened.hard_state.vote.map_or(0, NodeId::get),
            commit: opened.hard_state.commit.0,
            generation: opened.generation,
            truncated: (opened.truncated.0.0, opened.truncated.1.0),
        });
        let tail = tail.iter().map(|entry| (entry.index.0, entry.term.0)).collect();
        Ok(Found { log, tail, applied: (applied, known.term.0) })
    }

    /// Does what takes `before` to `after`. Everything but [`Op::Restart`].
    pub(super) fn carry_out(&mut self, op: Op, before: &Spec, after: &Spec) -> Result<(), Stop> {
        let hard_state = Some(HardState {
            term: Term(after.term),
            vote: NodeId::new(after.vote),
            commit: Index(after.commit),
        });
        let entries = |first: u64| {
            (first..=after.last()).map(|index| entry(index, after.term_at(index))).collect()
        };
        let none = Vec::new;
        match op {
            Op::Append => self.write(hard_state, entries(before.last() + 1)),
            Op::Extend => self.write(None, entries(before.last() + 1)),
            Op::Overwrite => self.write(hard_state, entries(before.commit + 1)),
            Op::Vote | Op::Commit => self.write(hard_state, none()),
            Op::Apply => self.apply(before, after.applied),
            Op::Checkpoint => {
                let (_, checkpointer) = self.state.as_mut().expect("open");
                let durable = checkpointer.run()?;
                if durable != Index(after.durable) {
                    return Err(Stop::Wrong(format!("{durable} is said to be durable")));
                }
                self.log.truncate_below(durable);
                Ok(())
            }
            Op::Idle => {
                while self.log.idle()? {}
                Ok(())
            }
            Op::Install => self.install(after),
            Op::Restart => unreachable!("a process does not restart itself"),
        }
    }

    fn write(&mut self, hard_state: Option<HardState>, entries: Vec<Entry>) -> Result<(), Stop> {
        Ok(self.log.write(&[Persist { number: 1, hard_state, entries, snapshot: None }])?)
    }

    fn apply(&mut self, spec: &Spec, to: u64) -> Result<(), Stop> {
        let first = spec.applied + 1;
        let outside = self.bug == Bug::AppliedOutside;
        let state = self.state();
        let mut transaction = || -> Result<(), Fault> {
            state.begin()?;
            for index in first..=to {
                state.savepoint()?;
                state.put(MACHINE, &key(index), &data(index, spec.term_at(index)))?;
                state.release()?;
                if !outside {
                    state.set_meta(meta(index, spec.term_at(index)));
                }
            }
            state.commit()?;
            if outside {
                state.begin()?;
                state.set_meta(meta(to, spec.term_at(to)));
                state.commit()?;
            }
            Ok(())
        };
        let outcome = transaction();
        if outcome.as_ref().is_err_and(Fault::is_full) {
            state.rollback()?;
        }
        outcome?;
        if self.bug == Bug::TruncatesAboveDurable {
            self.log.truncate_below(Index(to));
        }
        Ok(())
    }

    fn install(&mut self, after: &Spec) -> Result<(), Stop> {
        let Spec { generation, commit, .. } = *after;
        let snapshot = meta(commit, after.term_at(commit)).snapshot();
        let hard_state = Some(HardState {
            term: Term(after.term),
            vote: NodeId::new(after.vote),
            commit: Index(commit),
        });
        let task = Persist {
            number: 1,
            hard_state,
            entries: Vec::new(),
            snapshot: Some(snapshot.clone()),
        };
        if self.bug == Bug::InstalledTooEarly {
            self.log.install(&task, generation)?;
            receive(&self.disk, generation, &after.history, &snapshot)?;
        } else {
            receive(&self.disk, generation, &after.history, &snapshot)?;
            self.log.install(&task, generation)?;
        }
        self.state = None;
        self.state = Some(open_state(&self.disk, generation)?);
        Ok(remove_other_generations(&self.disk, generation)?)
    }
}

fn open_state(disk: &Disk, generation: u64) -> Result<(StateStore, Checkpointer), Stop> {
    let refused = |error: pgraft_store::OpenError| match error {
        pgraft_store::OpenError::Fault(fault) => Stop::from(fault),
        other => Stop::Wrong(format!("the state does not open: {other}")),
    };
    let state = StateStore::open(disk, generation).map_err(refused)?;
    let checkpointer = Checkpointer::open(disk, generation).map_err(refused)?;
    Ok((state, checkpointer))
}

fn receive(
    disk: &Disk,
    generation: u64,
    history: &[u64],
    expected: &SnapshotMeta,
) -> Result<(), Stop> {
    let refused = |error: SinkError| match error {
        SinkError::Fault(fault) => Stop::from(fault),
        other => Stop::Wrong(format!("the snapshot is refused: {other}")),
    };
    let mut sink = SnapshotSink::create(disk, generation)?;
    for chunk in snapshot(history) {
        sink.write(&chunk).map_err(refused)?;
    }
    sink.finish(expected).map_err(refused)
}

/// The chunks a peer with this history sends.
fn snapshot(history: &[u64]) -> Vec<Bytes> {
    static SENT: Mutex<BTreeMap<Vec<u64>, Vec<Bytes>>> = Mutex::new(BTreeMap::new());
    let mut sent = SENT.lock().unwrap_or_else(PoisonError::into_inner);
    sent.entry(history.to_vec()).or_insert_with(|| chunks(history)).clone()
}

fn chunks(history: &[u64]) -> Vec<Bytes> {
    const SOUND: &str = "the peer's disk is sound";
    let sim = SimDisk::new(0);
    let disk = store_disk(&sim);
    let mut state = StateStore::open(&disk, 0).expect(SOUND);
    let applied = history.len() as u64;
    state.begin().expect(SOUND);
    for (key, value) in rows(history, applied) {
        state.put(MACHINE, &key, &value).expect(SOUND);
    }
    state.set_meta(meta(applied, *history.last().expect("a snapshot of something")));
    state.commit().expect(SOUND);
    let mut source = SnapshotSource::open(&disk, 0).expect(SOUND);
    std::iter::from_fn(|| source.next_chunk().expect(SOUND)).collect()
}

/// Key length u32 LE, value length u32 LE, key, value; repeated.
fn unpack(mut page: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    while let Some((lengths, rest)) = page.split_first_chunk::<8>() {
        let length = |at: usize| {
            let bytes = lengths[at..at + 4].try_into().expect("four bytes");
            u32::from_le_bytes(bytes) as usize
        };
        let (key, rest) = rest.split_at(length(0));
        let (value, rest) = rest.split_at(length(4));
        rows.insert(key.to_vec(), value.to_vec());
        page = rest;
    }
    rows
}
