//! The transport from outside: over an in-memory network with faults and paused time, and over
//! real TCP on the loopback interface.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod memory;
mod messages;
mod node;
mod refusals;
mod requests;
mod snapshots;
mod tcp;
