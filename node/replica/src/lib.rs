//! The replica: every decision of a node, and no I/O.
//!
//! [`Replica::step`] takes one [`Input`] and returns [`Effects`], a struct whose field order is the
//! order of execution. The driver in `pgraft-node` carries the effects out; the simulation and the
//! model checker do the same over other disks and networks.
//!
//! Absent on purpose: files, sockets, clocks, threads, random numbers, hash-map order, and any
//! knowledge of what a command means. `raft_adapter.rs` alone names raft-rs.
#![warn(missing_docs)]

pub mod body;
mod conf;
mod effects;
mod input;
pub mod limits;
mod log;
mod message;
mod number;

pub use conf::{ConfChange, ConfChangeKind, ConfState};
pub use effects::{Committed, Effects, Fetch, Persist, Refusal, Role, RoleChange, Stop};
pub use input::{Config, Input, Proposal, Restored, Ticket};
pub use log::{Entry, EntryKind, HardState, SnapshotMeta};
pub use message::{Message, MessageKind};
pub use number::{Index, NodeId, Term};
