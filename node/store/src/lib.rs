//! The node's durable state on SQLite: `raft.db` (log and hard state) and `state-<generation>.db`
//! (the machines' tables). The only folder that names rusqlite.
//!
//! [`LogStore`] is written by one thread, one transaction and one fsync for all that waits.
//! [`StateStore`] is written by one thread without fsync: after a power loss it is consistent but
//! older, and the log is replayed from its own applied index. [`Checkpointer`] makes it durable off
//! the write path and says up to which index, below which alone the log may be truncated.
//! [`StateReader`]s, [`SnapshotSource`] and the checkpointer have connections of their own.
//!
//! The files are described byte by byte in `docs/FORMATS.md`.
//!
//! Absent on purpose: threads, clocks, retries of anything that failed, and what a key means.
#![warn(missing_docs)]

mod ballast;
mod checkpointer;
mod chunk;
mod connection;
mod decode;
mod digest;
mod disk;
mod fault;
pub mod limits;
mod log_rows;
mod log_schema;
mod log_store;
mod meta;
mod rewrite;
mod savepoint;
mod snapshot_sink;
mod snapshot_source;
mod state_reader;
mod state_schema;
mod state_store;
mod tables;

pub use ballast::{Ballast, FullDisk, WhenFull};
pub use checkpointer::Checkpointer;
pub use digest::{AllTotals, RowHasher, RowShare, Totals};
pub use disk::{Disk, remove_older_generations, remove_other_generations};
pub use fault::{Fault, OpenError, SinkError};
pub use log_schema::Identity;
pub use log_store::{LogStore, Opened};
pub use meta::Meta;
pub use snapshot_sink::SnapshotSink;
pub use snapshot_source::SnapshotSource;
pub use state_reader::StateReader;
pub use state_store::StateStore;
pub use tables::{Page, ReadTables};
