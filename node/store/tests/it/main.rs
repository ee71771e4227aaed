//! Tests of the store through its public interface, on real files and on a simulated disk.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod crash;
mod faults;
mod log;
mod refusal;
mod snapshot;
mod state;
mod together;
mod world;
