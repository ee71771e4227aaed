//! The transport from outside: over an in-memory network with faults and paused time, and over
//! real TCP on the loopback interface.

mod memory;
mod messages;
mod node;
mod refusals;
mod requests;
mod snapshots;
mod tcp;
