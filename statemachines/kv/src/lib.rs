//! The key-value machine: etcd's data model over the machine's ordered keyspace.
//!
//! Revisions, create and mod revisions, versions, leases, transactions, ranges at older
//! revisions, compaction, and an event per change; docs/KV.md says what they mean to users.
//! Not here: watching (the node's gateways do it with the events and [`Query::History`]),
//! linearizability of reads (the node's), and who may ask.
//!
//! As a library the crate is the codec, for gateways and tests.

#![warn(missing_docs)]

mod codec;
mod compaction;
mod history;
mod lease;
mod limits;
mod machine;
mod model;
#[cfg(feature = "next")]
mod next;
mod range;
mod rejection;
mod rows;
#[cfg(all(feature = "script", not(target_arch = "wasm32")))]
pub mod script;
mod store;
mod txn;

pub use codec::{CodecError, FORMAT};
pub use limits::*;
pub use machine::Kv;
pub use model::*;
pub use rejection::Rejection;

pgraft_sdk::export!(Kv);
