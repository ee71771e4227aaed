//! The log of a node on a simulated disk, and what its clients were told.

use bytes::Bytes;
use pgraft_replica::{Entry, EntryKind, HardState, Index, NodeId, Persist, Term};
use pgraft_sim_disk::SimDisk;
use pgraft_store::{Disk, Fault, Identity, LogStore, OpenError, Opened};

/// The directory of the node.
pub(crate) fn on(sim: &SimDisk) -> Disk {
    Disk { dir: "/node".into(), vfs: Some(sim.vfs()) }
}

pub(crate) fn entry(index: u64) -> Entry {
    let data = Bytes::from(format!("entry {index}").repeat(40));
    Entry { index: Index(index), term: Term(1), kind: EntryKind::Normal, data }
}

/// Creates a log without entries.
pub(crate) fn create(sim: &SimDisk) -> LogStore {
    let node = NodeId::new(1).unwrap();
    let identity = Identity { cluster: 1, genesis_hash: [0; 32], node, incarnation: 1 };
    LogStore::create(&on(sim), &identity, b"").unwrap();
    LogStore::open(&on(sim)).unwrap().0
}

/// Appends one entry; a success is an acknowledgement.
pub(crate) fn append(store: &mut LogStore, index: u64) -> Result<(), Fault> {
    let hard_state = HardState { term: Term(1), vote: None, commit: Index(index - 1) };
    let entries = vec![entry(index)];
    store.write(&[Persist { number: index, hard_state: Some(hard_state), entries, snapshot: None }])
}

/// Appends entries `1..=last`, all of them acknowledged.
pub(crate) fn appended(sim: &SimDisk, last: u64) -> LogStore {
    let mut store = create(sim);
    (1..=last).for_each(|index| append(&mut store, index).unwrap());
    store
}

/// What a start finds: the last entry. All entries are compared with those that were written.
pub(crate) fn recover(sim: &SimDisk) -> Result<u64, OpenError> {
    let (mut store, Opened { last, .. }) = LogStore::open(&on(sim))?;
    let expected: Vec<Entry> = (1..=last.0).map(entry).collect();
    assert_eq!(store.tail(Index::ZERO, 0)?, expected, "what is found is what was written");
    Ok(last.0)
}
