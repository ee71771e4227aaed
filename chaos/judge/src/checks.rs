//! The checkers, each for one thing. All but linearizability trust no machine's code: they look at
//! the log's bytes and at the [`crate::history::Fact`]s that workloads tell. Every one says
//! *unknown* when there was nothing to look at, and has canaries: planted defects it must refuse.

pub mod append;
pub mod bank;
pub mod divergence;
pub mod durability;
pub mod event_order;
pub mod exactly_once;
mod keys;
pub mod kv_revisions;
pub mod leases;
pub mod linearizability;
pub mod liveness;
pub mod progress;
pub mod sessions;
pub mod sometimes;
pub mod violations;
