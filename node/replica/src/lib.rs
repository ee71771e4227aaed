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
mod canonical;
mod chance;
mod conf;
mod conf_codec;
mod disk;
mod effects;
mod election_timer;
mod heard;
mod input;
pub mod invariants;
mod leadership;
pub mod limits;
mod log;
mod log_view;
mod membership;
mod message;
mod number;
mod proposals;
mod raft_adapter;
mod reads;
mod replica;
mod restore;
mod sanitise;
mod snapshots;
mod transfer;
mod truncation;
mod view;
mod writes;

pub use conf::{ConfChange, ConfChangeKind, ConfError, ConfState};
pub use effects::{Committed, Effects, Fetch, Persist, Refusal, Role, RoleChange, Stop};
pub use input::{Config, Input, Keep, Proposal, Restored, Ticket};
pub use log::{Entry, EntryKind, HardState, SnapshotMeta};
pub use message::{Message, MessageKind};
pub use number::{Index, NodeId, Term};
pub use replica::Replica;
pub use restore::RestoreError;
pub use sanitise::Dropped;
pub use view::{PeerState, PeerView, View};
