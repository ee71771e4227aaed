//! The transport: frames between nodes, over TCP or over whatever [`Net`] stands for.
//!
//! Per peer there is one outbound connection for messages between replicas, one for requests, and
//! one for each snapshot. [`Transport`] is the handle; everything that comes in reaches the driver
//! as an [`Event`].
//!
//! Absent on purpose: decisions (a message's contents are judged by `pgraft-replica`), disks,
//! threads, clocks other than tokio's, and chance other than the seed in [`Local`].
#![warn(missing_docs)]

mod any_net;
mod backoff;
mod chance;
pub mod codec;
mod connection;
mod directory;
mod fields;
pub mod frame;
pub mod handshake;
mod inbound;
mod inbox;
mod join;
pub mod limits;
mod net;
mod outbox;
mod peer;
mod reports;
mod rpc;
mod snapshot;
mod transport;

pub use any_net::{AnyListener, AnyNet, Stream};
pub use directory::Peer;
pub use handshake::Refusal;
pub use join::{JoinError, join};
pub use limits::Timing;
pub use net::{Net, Tcp};
pub use rpc::RpcError;
pub use snapshot::{ChunkSource, SnapshotError, SnapshotPart};
pub use transport::{Event, Local, PeerStatus, Transport};
