//! Tests of the store through its public interface, on real files and on a simulated disk.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod crash;
mod faults;
mod log;
mod refusal;
mod snapshot;
mod state;
mod together;
mod world;

/// Each belongs to one thread, and not always the one that opened it.
const _: () = {
    const fn sent<T: Send>() {}
    sent::<pgraft_store::LogStore>();
    sent::<pgraft_store::StateStore>();
    sent::<pgraft_store::StateReader>();
    sent::<pgraft_store::Checkpointer>();
    sent::<pgraft_store::SnapshotSource>();
    sent::<pgraft_store::SnapshotSink>();
};
