//! A driver in small: does with the stores what a node does, in the order a node does it.

use std::collections::BTreeMap;

use bytes::Bytes;
use pgraft_replica::{Entry, HardState, Index, NodeId, Persist, SnapshotMeta, Term};
use pgraft_sim_disk::SimDisk;
use pgraft_store::{
    Checkpointer, Disk, LogStore, Meta, ReadTables, SnapshotSink, SnapshotSource, StateReader,
    StateStore, remove_other_generations,
};

use super::steps::Step;
use super::truth::{Found, Rows, Truth, effect};
use crate::world::{conf, entry, hard, identity, task};

/// The last entry of the peer's snapshot.
pub(crate) const SNAPSHOT_INDEX: u64 = 30;
/// Its term.
pub(crate) const SNAPSHOT_TERM: u64 = 4;

/// A bug planted in the driver or the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    /// What synchronous=NORMAL would do.
    WalNotSynced,
    AcknowledgesBeforeCommit,
    TruncatesAboveDurable,
}

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

fn store_disk(disk: &SimDisk) -> Disk {
    Disk { dir: "/node".into(), vfs: Some(disk.vfs()) }
}

fn written(from: u64, to: u64, term: u64) -> Vec<Entry> {
    (from..=to).map(|index| entry(index, term, format!("{index} in {term}").as_bytes())).collect()
}

fn meta_after(entry: &Entry) -> Meta {
    let (applied, term) = (entry.index, entry.term);
    Meta { applied, term, time_ms: applied.0, conf: conf(&[1, 2, 3]) }
}

fn apply(state: &mut StateStore, entries: &[Entry]) -> Result<(), String> {
    state.begin().map_err(text)?;
    for entry in entries {
        state.savepoint().map_err(text)?;
        match effect(entry) {
            (key, Some(value)) => state.put(1, &key, &value).map_err(text)?,
            (key, None) => state.delete(1, &key).map(|_| ()).map_err(text)?,
        }
        state.release().map_err(text)?;
        state.set_meta(meta_after(entry));
    }
    state.commit().map_err(text)
}

/// Another node, ahead of ours, and its snapshot.
pub(crate) struct Peer {
    entries: BTreeMap<u64, Entry>,
    meta: SnapshotMeta,
    chunks: Vec<Bytes>,
}

impl Peer {
    pub(crate) fn new() -> Peer {
        let sim = SimDisk::new(99);
        let disk = store_disk(&sim);
        let mut state = StateStore::open(&disk, 0).unwrap();
        let entries = written(1, SNAPSHOT_INDEX, SNAPSHOT_TERM);
        apply(&mut state, &entries).unwrap();
        let mut source = SnapshotSource::open(&disk, 0).unwrap();
        let chunks = std::iter::from_fn(|| source.next_chunk().unwrap()).collect();
        let meta = source.meta();
        drop((state, source));
        let entries = entries.into_iter().map(|entry| (entry.index.0, entry)).collect();
        Peer { entries, meta, chunks }
    }
}

/// The stores of one running process.
pub(crate) struct Node<'a> {
    sim: &'a SimDisk,
    disk: Disk,
    bug: Bug,
    stores: Option<Stores>,
}

struct Stores {
    log: LogStore,
    state: StateStore,
    checkpointer: Checkpointer,
}

impl Stores {
    fn open(disk: &Disk) -> Result<Stores, String> {
        let (log, opened) = LogStore::open(disk).map_err(text)?;
        let state = StateStore::open(disk, opened.generation).map_err(text)?;
        let checkpointer = Checkpointer::open(disk, opened.generation).map_err(text)?;
        remove_other_generations(disk, opened.generation).map_err(text)?;
        Ok(Stores { log, state, checkpointer })
    }
}

impl<'a> Node<'a> {
    pub(crate) fn create(
        sim: &'a SimDisk,
        bug: Bug,
        truth: &mut Truth,
    ) -> Result<Node<'a>, String> {
        let disk = store_disk(sim);
        assert!(!LogStore::exists(&disk));
        LogStore::create(&disk, &identity(), b"genesis").map_err(text)?;
        truth.acknowledge_creation();
        let stores = Some(Stores::open(&disk)?);
        Ok(Node { sim, disk, bug, stores })
    }

    fn stores(&mut self) -> &mut Stores {
        self.stores.as_mut().unwrap()
    }

    pub(crate) fn carry_out(
        &mut self,
        step: &Step,
        peer: &Peer,
        truth: &mut Truth,
    ) -> Result<(), String> {
        match *step {
            Step::Write { from, to, term, commit } => {
                let held = truth.log.hard_state;
                let vote = if held.term == Term(term) { held.vote } else { None };
                let hard_state = HardState { vote, ..hard(term, 0, commit) };
                self.persist(&task(written(from, to, term), Some(hard_state)), truth)
            }
            Step::Vote { term, vote } => {
                let vote = NodeId::new(vote);
                let hard_state = HardState { term: Term(term), vote, ..truth.log.hard_state };
                self.persist(&task(Vec::new(), Some(hard_state)), truth)
            }
            Step::Apply { to } => self.apply(to, truth),
            Step::Checkpoint => self.checkpoint(truth),
            Step::Idle => {
                while self.stores().log.idle().map_err(text)? {}
                Ok(())
            }
            Step::Install => self.install(peer, truth),
            Step::Restart => {
                self.stores = None;
                self.sim.process_crash();
                self.stores = Some(Stores::open(&self.disk)?);
                Ok(())
            }
        }
    }

    fn persist(&mut self, task: &Persist, truth: &mut Truth) -> Result<(), String> {
        let mut after = truth.log.clone();
        after.hard_state = task.hard_state.unwrap_or(after.hard_state);
        if let Some(first) = task.entries.first() {
            after.entries.split_off(&first.index.0);
        }
        after.entries.extend(task.entries.iter().map(|entry| (entry.index.0, entry.clone())));
        truth.begin(after);
        if self.bug == Bug::AcknowledgesBeforeCommit {
            truth.acknowledge();
        }
        self.stores().log.write(std::slice::from_ref(task)).map_err(text)?;
        truth.acknowledge();
        Ok(())
    }

    fn apply(&mut self, to: u64, truth: &Truth) -> Result<(), String> {
        let bug = self.bug;
        let stores = self.stores();
        let from = stores.state.meta().applied.0 + 1;
        let entries: Vec<Entry> =
            truth.log.entries.range(from..to.max(from - 1) + 1).map(|(_, e)| e.clone()).collect();
        if !entries.is_empty() {
            apply(&mut stores.state, &entries)?;
        }
        if bug == Bug::TruncatesAboveDurable {
            stores.log.truncate_below(stores.state.meta().applied);
        }
        Ok(())
    }

    fn checkpoint(&mut self, truth: &mut Truth) -> Result<(), String> {
        let stores = self.stores();
        let durable = stores.checkpointer.run().map_err(text)?;
        truth.durable = durable;
        truth.truncate_to = truth.truncate_to.max(durable.0);
        stores.log.truncate_below(durable);
        Ok(())
    }

    fn install(&mut self, peer: &Peer, truth: &mut Truth) -> Result<(), String> {
        let generation = truth.log.generation + 1;
        let mut sink = SnapshotSink::create(&self.disk, generation).map_err(text)?;
        for chunk in &peer.chunks {
            sink.write(chunk).map_err(text)?;
        }
        sink.finish(&peer.meta).map_err(text)?;
        let mut after = truth.log.clone();
        after.hard_state.commit = peer.meta.index;
        after.generation = generation;
        after.floor = peer.meta.index.0;
        after.entries.clone_from(&peer.entries);
        let hard_state = Some(after.hard_state);
        let snapshot = Some(peer.meta.clone());
        let task = Persist { number: 1, hard_state, entries: Vec::new(), snapshot };
        truth.begin(after);
        self.stores().log.install(&task, generation).map_err(text)?;
        truth.acknowledge();
        let Stores { log, state, checkpointer } = self.stores.take().unwrap();
        drop((state, checkpointer));
        let state = StateStore::open(&self.disk, generation).map_err(text)?;
        let checkpointer = Checkpointer::open(&self.disk, generation).map_err(text)?;
        self.stores = Some(Stores { log, state, checkpointer });
        remove_other_generations(&self.disk, generation).map_err(text)
    }
}

/// What a new start finds; `None` when there never was a log.
pub(crate) fn recover(sim: &SimDisk) -> Result<Option<Found>, String> {
    let disk = store_disk(sim);
    if !LogStore::exists(&disk) {
        return Ok(None);
    }
    let (mut log, opened) = LogStore::open(&disk).map_err(text)?;
    let tail = log.tail(Index::ZERO, 0).map_err(text)?;
    let state = StateStore::open(&disk, opened.generation).map_err(text)?;
    state.verify_digests().map_err(text)?;
    let page = state.scan(1, b"", b"", 1_000, 1 << 20, false, false).map_err(text)?;
    remove_other_generations(&disk, opened.generation).map_err(text)?;
    let databases: Vec<String> =
        sim.files().into_iter().filter(|name| name.ends_with(".db")).collect();
    if databases.len() != 2 {
        return Err(format!("{databases:?} instead of one log and one state"));
    }
    StateReader::open(&disk, opened.generation)
        .and_then(|mut reader| Ok(reader.verify()?))
        .map_err(text)?;
    let meta = state.meta().clone();
    drop((log, state));
    Ok(Some(Found { opened, tail, meta, rows: rows(&page.rows) }))
}

fn rows(mut page: &[u8]) -> Rows {
    let mut rows = Rows::new();
    while !page.is_empty() {
        let length = |at: usize| u32::from_le_bytes(page[at..at + 4].try_into().unwrap()) as usize;
        let (key, value) = (length(0), length(4));
        rows.insert((1, page[8..8 + key].to_vec()), page[8 + key..8 + key + value].to_vec());
        page = &page[8 + key + value..];
    }
    rows
}
