//! The membership machine: who is in the cluster, and which changes are allowed.
//!
//! It owns the member list; the Raft configuration follows it. A command that is accepted leaves
//! a `conf-change` effect; the leader carries it out, and its outcome comes back and ends the
//! change. So a crash at any point leaves either the old list, or a change that the next leader
//! picks up. Not here: catching a learner up, dialling, and who may ask (the gateway's).
//!
//! As a library the crate is the codec, for the node and for gateways.

#![warn(missing_docs)]

mod codec;
mod list;
mod machine;
mod member;
mod rejection;
#[cfg(all(feature = "script", not(target_arch = "wasm32")))]
pub mod script;

pub use codec::{
    CONF_CHANGE, CodecError, Command, ConfRequest, ConfRequestKind, FORMAT, Genesis, Query, Reply,
    TOPIC,
};
pub use list::{Decision, HOST_BYTES_MAX, ID_MAX, List, MEMBERS_MAX, NAME_BYTES_MAX};
pub use machine::Membership;
pub use member::{Member, Role};
pub use rejection::Rejection;

pgraft_sdk::export!(Membership);
