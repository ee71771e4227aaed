//! The membership machine: who is in the cluster, and which changes are allowed.

#![warn(missing_docs)]

mod codec;
mod member;

pub use codec::{
    CONF_CHANGE, CodecError, Command, ConfRequest, ConfRequestKind, FORMAT, Genesis, Query, Reply,
    TOPIC,
};
pub use member::{Member, Role};
