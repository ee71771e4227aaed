//! The key-value machine: etcd's data model over the machine's ordered keyspace.

#![warn(missing_docs)]

mod codec;
mod limits;
mod model;

pub use codec::{CodecError, FORMAT};
pub use limits::*;
pub use model::*;
